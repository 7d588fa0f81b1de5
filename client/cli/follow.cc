#include "client/cli/follow.h"

#include <unistd.h>

#include "base/limits.h"
#include "client/cli/cli.h"
#include "client/cli/output.h"
#include "client/cli/task_progress.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

constexpr client::Milliseconds kHoldAtTerminal(2'000);

// A task's log is for people, as standard error is.
bool is_error(const client::OutputChunk& chunk) {
  return chunk.kind == client::OutputKind::kStderr || chunk.kind == client::OutputKind::kLog;
}

std::uint64_t& offset_of(client::OutputOptions& options, client::OutputKind kind) {
  switch (kind) {
    case client::OutputKind::kStderr:
      return options.stderr_offset;
    case client::OutputKind::kEmitted:
      return options.emitted_offset;
    case client::OutputKind::kLog:
      return options.log_offset;
    case client::OutputKind::kAll:
    case client::OutputKind::kStdout:
      break;
  }
  return options.stdout_offset;
}

void print_chunk(const client::OutputChunk& chunk) {
  if (is_error(chunk)) {
    print_to_stderr(chunk.bytes);
  } else {
    print(chunk.bytes);
  }
}

void print_parts(const client::Outcome& outcome) {
  for (const client::Part& part : outcome.result) {
    if (is_stderr(part)) {
      print_to_stderr(part.bytes);
    } else {
      print(part.bytes);
    }
  }
}

// Notes in `next` what has been printed, so that another read goes on there.
void advance(client::OutputOptions& next, const client::OutputChunk& chunk) {
  if (chunk.attempt != next.attempt) {
    next.attempt = chunk.attempt;
    next.stdout_offset = next.stderr_offset = next.emitted_offset = next.log_offset = 0;
  }
  offset_of(next, chunk.kind) = chunk.offset + chunk.bytes.size();
}

void wait_for_end(const client::Future& future) {
  try {
    static_cast<void>(future.outcome(kHoldAtTerminal));
  } catch (const client::WaitTimeout&) {
    return;  // it goes on, and so do we
  }
}

// False: it came to a gap, printed nothing from there on, and waited for the job's end, when what is missing comes from
// the result; but no longer than the result can be whole, and at a terminal not so long that it seems to hang.
bool print_live(const client::Client& client, const client::Future& future, client::OutputOptions& next) {
  const bool terminal = ::isatty(STDOUT_FILENO) != 0;
  bool held = false;
  TaskProgress progress;
  client::OutputOptions all{.follow = true};
  if (progress.is_shown()) all.on_progress = [&](const client::ProgressReport& report) { progress.draw(report); };
  static_cast<void>(client.read_output(future.id(), all, [&](const client::OutputChunk& chunk) {
    held = held || chunk.dropped_bytes != 0;
    if (held) return !terminal && chunk.offset + chunk.bytes.size() <= limits::kOutputBytesMax;
    progress.clear();
    print_chunk(chunk);
    advance(next, chunk);
    return true;
  }));
  if (held && terminal) wait_for_end(future);
  return !held;
}

// From there until the job has ended. What is missing now is missing for good: returns how much that is.
std::uint64_t print_rest(const client::Client& client, std::uint64_t job, const client::OutputOptions& from) {
  std::uint64_t missed_bytes = 0;
  static_cast<void>(client.read_output(job, from, [&](const client::OutputChunk& chunk) {
    missed_bytes += chunk.dropped_bytes;
    print_chunk(chunk);
    return true;
  }));
  return missed_bytes;
}

// The code that a shell would give.
int exit_code_of(const client::Outcome& outcome) {
  const client::Cause& cause = outcome.cause;
  switch (outcome.state) {
    case client::JobState::kSucceeded:
      return kOk;
    case client::JobState::kTimedOut:
      return kTimedOut;
    case client::JobState::kCancelled:
      return kInterrupted;
    case client::JobState::kUnknown:
    case client::JobState::kScheduled:
    case client::JobState::kBlocked:
    case client::JobState::kQueued:
    case client::JobState::kRunning:
    case client::JobState::kFailed:
      break;
  }
  if (cause.kind == client::CauseKind::kCommandNotStarted) return kNotStarted;
  if (cause.kind == client::CauseKind::kCommandSignal) return 128 + cause.signal;
  if (cause.kind == client::CauseKind::kCommandExit && cause.exit_code != 0) return cause.exit_code;
  return kJobFailed;
}

}  // namespace

Followed follow_job(const client::Client& client, const client::Future& future, bool json) {
  if (json) {
    const client::Outcome outcome = whole_outcome(client, future);
    print_json(to_json(outcome));
    return {outcome, dropped_bytes(outcome)};
  }
  client::OutputOptions next{.follow = true};
  std::uint64_t missed_bytes = 0;
  try {
    if (!print_live(client, future, next)) missed_bytes = print_rest(client, future.id(), next);
  } catch (const client::Error& error) {
    if (error.kind() != client::ErrorKind::kUnimplemented) throw;
    const client::Outcome outcome = whole_outcome(client, future);
    print_parts(outcome);
    return {outcome, dropped_bytes(outcome)};
  }
  return {future.outcome(), missed_bytes};
}

client::Outcome whole_outcome(const client::Client& client, const client::Future& future) {
  client::Outcome outcome = future.outcome();
  return outcome.result_elided ? client.result(outcome.id) : outcome;
}

int conclude(const client::Outcome& outcome, std::uint64_t missed_bytes) {
  const std::string job = "job " + std::to_string(outcome.id);
  if (outcome.succeeded() && !outcome.cause.message.empty()) {  // all went well but for its output
    complain(job + ": " + outcome.cause.message);
  }
  const bool said_by_itself = outcome.cause.kind == client::CauseKind::kCommandExit;
  if (!outcome.succeeded() && !said_by_itself) {
    complain(job + " " + std::string(client::to_string(outcome.state)) + ": " + describe(outcome.cause));
  }
  const int code = exit_code_of(outcome);
  return code == kOk && missed_bytes != 0 ? kJobFailed : code;
}

}  // namespace futured::cli
