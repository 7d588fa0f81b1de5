// Which errors a job is tried again after: JobSpec::retry_only and retry_except.
//
// An entry is an error class, word for word ("std::out_of_range"), or the API's name of a cause ("COMMAND_EXIT",
// "TIMEOUT"), or for a command its end: "exit:75", "signal:9".
#pragma once

#include <string_view>

#include "daemon/core/types.h"

namespace futured {

[[nodiscard]] bool allows_retry(const JobSpec& spec, const Cause& cause);

// The API's name of a cause that max_attempts is for; empty for every other. Workers that die spend crashes_max
// instead, and no class keeps them from it.
[[nodiscard]] std::string_view retried_cause(CauseKind kind);

}  // namespace futured
