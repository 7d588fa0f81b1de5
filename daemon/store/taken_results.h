// Payloads that name results of other jobs: the parts are put in when a job is read to be run. What is stored of it
// stays as it was submitted.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "daemon/core/rows.h"

namespace futured {

// The result of a job, encoded; nothing: it has none yet. kNotFound: it has gone. Any other error: nothing can be read.
using ResultOf = std::function<Result<std::optional<std::string>>(JobId)>;

// `job` has a payload that names results. It stays as it is when one of them is not there yet, or when all together are
// no payload; `unfit` says so then.
[[nodiscard]] Status put_results(StoredJob& job, const ResultOf& result_of);

}  // namespace futured
