#include "daemon/loop/causes.h"

#include <string>

namespace futured {

namespace {

CauseKind kind_of(const channel::Done& done) {
  switch (done.status) {
    case channel::DoneStatus::kSucceeded:
      return CauseKind::kNone;
    case channel::DoneStatus::kBadPayload:
      return CauseKind::kBadPayload;
    case channel::DoneStatus::kTaskError:
    case channel::DoneStatus::kStopped:
    case channel::DoneStatus::kWorkerError:
      return CauseKind::kTaskError;
    case channel::DoneStatus::kUnknownTask:
      return CauseKind::kUnknownTask;
    case channel::DoneStatus::kCommandFailed:
      return done.signal != 0 ? CauseKind::kSignal : CauseKind::kExitCode;
    case channel::DoneStatus::kStartFailed:
      return CauseKind::kNotStarted;
    case channel::DoneStatus::kResultTooLarge:
      return CauseKind::kResultTooLarge;
    case channel::DoneStatus::kOutOfMemory:
      return CauseKind::kOutOfMemory;
  }
  return CauseKind::kBrokenWorker;
}

}  // namespace

bool tells(const channel::Done& done) {
  return done.status != channel::DoneStatus::kSucceeded || done.peak_rss_bytes != 0 || done.cpu_ns != 0 ||
         !done.error_message.empty();
}

bool is_final(channel::DoneStatus status) {
  return status == channel::DoneStatus::kBadPayload || status == channel::DoneStatus::kUnknownTask ||
         status == channel::DoneStatus::kStartFailed || status == channel::DoneStatus::kResultTooLarge;
}

Cause cause_of(const channel::Done& done) {
  Cause cause;
  cause.kind = kind_of(done);
  cause.exit_code = done.exit_code;
  cause.signal = done.signal;
  cause.peak_memory_bytes = done.peak_rss_bytes;
  cause.cpu_us = static_cast<std::int64_t>(done.cpu_ns / 1000);
  cause.error_class = done.error_class;
  cause.message = done.error_message;
  cause.retry_refused = done.no_retry && cause.kind == CauseKind::kTaskError;
  return cause;
}

Cause cause_of(const pool::WorkerEnded& end) {
  Cause cause;
  cause.exit_code = end.exit_code;
  cause.signal = end.signal;
  cause.peak_memory_bytes = end.peak_rss_bytes;
  cause.cpu_us = end.cpu_us;
  if (end.is_lost) {
    cause.kind = CauseKind::kWorkerCrashed;
    cause.message = end.is_neighbour ? "the worker was brought down by another job that it ran at the same time"
                                     : "the worker ended with its spawner";
    return cause;
  }
  if (!end.broken.empty()) {
    cause.kind = CauseKind::kBrokenWorker;
    cause.message = end.broken;
    return cause;
  }
  cause.kind = end.out_of_memory == pool::OutOfMemory::kNo ? CauseKind::kWorkerCrashed : CauseKind::kOutOfMemory;
  if (!end.over_limit.empty()) {
    cause.message = "the worker was " + end.over_limit;
    return cause;
  }
  if (end.out_of_memory == pool::OutOfMemory::kYes) {
    cause.message = "the worker was killed by the kernel (counted by its control group)";
    return cause;
  }
  cause.message = end.signal != 0
                      ? "the worker was ended by signal " + std::to_string(end.signal)
                      : "the worker exited with code " + std::to_string(end.exit_code) + " in the middle of the job";
  if (end.out_of_memory == pool::OutOfMemory::kLikely) {
    cause.message = "likely: " + cause.message +
                    ", which futured did not send, and the kernel has killed for want of memory since the worker began";
  }
  return cause;
}

}  // namespace futured
