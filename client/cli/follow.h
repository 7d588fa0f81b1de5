// Following a job: its output as it is written, without a gap where the daemon has what is missing.
#pragma once

#include <cstdint>

#include "futured/client.h"

namespace futured::cli {

struct Followed {
  client::Outcome outcome;
  std::uint64_t missed_bytes = 0;  // of its output: neither shown live nor kept
};

// Prints what the job writes until it has ended, or `json`: its outcome then, as one object. Where live output has a
// gap, the rest waits for the job's end and comes from its result: late, but whole and in order. Throws WriteError when
// a standard stream takes no more.
[[nodiscard]] Followed follow_job(const client::Client& client, const client::Future& future, bool json);

// The whole outcome, with a result that was too large to come by itself.
[[nodiscard]] client::Outcome whole_outcome(const client::Client& client, const client::Future& future);

// Says what the command could not say itself, and returns the exit code: the command's own, as a shell would give it.
[[nodiscard]] int conclude(const client::Outcome& outcome, std::uint64_t missed_bytes);

}  // namespace futured::cli
