#include "client/cli/follow.h"

#include "client/cli/cli.h"
#include "client/cli/output.h"
#include "client/cli/task_progress.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

void print_parts(const client::Outcome& outcome) {
  for (const client::Part& part : outcome.result) {
    if (is_stderr(part)) {
      print_to_stderr(part.bytes);
    } else {
      print(part.bytes);
    }
  }
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
  // Of a command over its memory_max, or of the worker that ended with it.
  const bool is_kill = cause.kind == client::CauseKind::kOutOfMemory && cause.signal != 0;
  if (is_kill || cause.kind == client::CauseKind::kCommandSignal) return 128 + cause.signal;
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
  std::uint64_t missed_bytes = 0;
  try {
    read_output(client, future.id(), {.follow = true}, [&](const client::OutputChunk& chunk) {
      missed_bytes += chunk.dropped_bytes;
      print_chunk(chunk);
    });
  } catch (const client::Error& error) {
    if (error.kind() != client::ErrorKind::kUnimplemented) throw;
    const client::Outcome outcome = whole_outcome(client, future);
    print_parts(outcome);
    return {outcome, dropped_bytes(outcome)};
  }
  return {future.outcome(), missed_bytes};
}

void print_chunk(const client::OutputChunk& chunk) {
  if (chunk.kind == client::OutputKind::kStderr || chunk.kind == client::OutputKind::kLog) {
    print_to_stderr(chunk.bytes);
  } else {
    print(chunk.bytes);
  }
}

void read_output(const client::Client& client, std::uint64_t job, client::OutputOptions how,
                 const std::function<void(const client::OutputChunk&)>& print) {
  TaskProgress progress;
  if (how.follow && progress.is_shown()) {
    if (!how.on_progress) how.on_progress = [&](const client::ProgressReport& report) { progress.draw(report); };
    if (!how.on_heartbeat) how.on_heartbeat = [&](const client::Heartbeat& heartbeat) { progress.draw(heartbeat); };
  }
  static_cast<void>(client.read_output(job, how, [&](const client::OutputChunk& chunk) {
    progress.make_room_for(chunk.bytes);
    print(chunk);
    return true;
  }));
}

client::Outcome whole_outcome(const client::Client& client, const client::Future& future) {
  client::Outcome outcome = future.outcome();
  return outcome.result_elided ? client.result(outcome.id) : outcome;
}

void tell_cache_note(const client::JobOptions& asked, const client::Outcome& outcome) {
  if (asked.caching.explain && !outcome.cache_note.empty())
    complain("job " + std::to_string(outcome.id) + ": cache " + outcome.cache_note);
}

int conclude(const client::Outcome& outcome, std::uint64_t missed_bytes) {
  if (outcome.succeeded() && !outcome.cause.message.empty()) {  // all went well but for its output
    complain("job " + std::to_string(outcome.id) + ": " + outcome.cause.message);
  }
  const bool said_by_itself = outcome.cause.kind == client::CauseKind::kCommandExit;
  if (!outcome.succeeded() && !said_by_itself) complain(ended_text(outcome));
  const int code = exit_code_of(outcome);
  return code == kOk && missed_bytes != 0 ? kJobFailed : code;
}

}  // namespace futured::cli
