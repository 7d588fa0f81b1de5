// Following a job: its output as it is written, and how far its task says it is.
#pragma once

#include <cstdint>
#include <functional>

#include "futured/client.h"

namespace futured::cli {

struct Followed {
  client::Outcome outcome;
  std::uint64_t missed_bytes = 0;  // of its output: neither shown live nor kept
};

// Prints what the job writes until it has ended, or `json`: its outcome then, as one object. What cannot be had while
// it runs comes at its end, before all that lies behind it: late, but whole and in order. Throws WriteError when a
// standard stream takes no more.
[[nodiscard]] Followed follow_job(const client::Client& client, const client::Future& future, bool json);

// Output onto the stream that it is of: a task's log is for people, as standard error is.
void print_chunk(const client::OutputChunk& chunk);

// Reads a job's output as `how` says, and `print`s it. While it is followed, what its task reports of its progress is
// drawn at a terminal, out of the way of the output.
void read_output(const client::Client& client, std::uint64_t job, client::OutputOptions how,
                 const std::function<void(const client::OutputChunk&)>& print);

// The whole outcome, with a result that was too large to come by itself.
[[nodiscard]] client::Outcome whole_outcome(const client::Client& client, const client::Future& future);

// Says what the command could not say itself, and returns the exit code: the command's own, as a shell would give it.
[[nodiscard]] int conclude(const client::Outcome& outcome, std::uint64_t missed_bytes);

// On standard error, if --cache-explain asked for it.
void tell_cache_note(const client::JobOptions& asked, const client::Outcome& outcome);

}  // namespace futured::cli
