#include "daemon/core/types.h"

#include <functional>

namespace futured {

std::size_t JobSpecHash::operator()(const JobSpec& spec) const noexcept {
  const auto mix = [](std::size_t seed, std::size_t value) {
    return seed ^ (value + 0x9e3779b97f4a7c15ULL + (seed << 6) + (seed >> 2));
  };
  std::size_t hash = std::hash<std::string>{}(spec.queue);
  hash = mix(hash, std::hash<std::string>{}(spec.task));
  hash = mix(hash, std::hash<std::string>{}(spec.name));
  hash = mix(hash, static_cast<std::size_t>(spec.priority));
  hash = mix(hash, spec.max_attempts);
  hash = mix(hash, spec.retry_memory_bytes_max);
  hash = mix(hash, static_cast<std::uint64_t>(spec.retention.count()));
  hash = mix(hash, static_cast<std::size_t>(spec.soft_timeout.count()));
  hash = mix(hash, static_cast<std::size_t>(spec.run_timeout.count()));
  hash = mix(hash, static_cast<std::size_t>(spec.heartbeat_timeout.count()));
  hash = mix(hash, static_cast<std::size_t>(spec.front));
  hash = mix(hash, std::hash<std::string>{}(spec.fairness_key));
  hash = mix(hash, std::hash<std::string>{}(spec.limit_key));
  hash = mix(hash, static_cast<std::size_t>(spec.cache.enabled));
  hash = mix(hash, static_cast<std::uint64_t>(spec.cache.ttl.count()));
  hash = mix(hash, std::hash<std::string>{}(spec.cache.key));
  for (const Need& need : spec.needs) {
    hash = mix(mix(hash, std::hash<std::string>{}(need.semaphore)), need.permits);
  }
  return hash;
}

std::string_view to_string(JobState state) {
  switch (state) {
    case JobState::kScheduled:
      return "SCHEDULED";
    case JobState::kBlocked:
      return "BLOCKED";
    case JobState::kQueued:
      return "QUEUED";
    case JobState::kRunning:
      return "RUNNING";
    case JobState::kSucceeded:
      return "SUCCEEDED";
    case JobState::kFailed:
      return "FAILED";
    case JobState::kCancelled:
      return "CANCELLED";
    case JobState::kTimedOut:
      return "TIMED_OUT";
  }
  return "UNKNOWN";
}

std::string_view to_string(CauseKind kind) {
  switch (kind) {
    case CauseKind::kNone:
      return "NONE";
    case CauseKind::kTaskError:
      return "TASK_ERROR";
    case CauseKind::kExitCode:
      return "EXIT_CODE";
    case CauseKind::kSignal:
      return "SIGNAL";
    case CauseKind::kWorkerCrashed:
      return "WORKER_CRASHED";
    case CauseKind::kMayHaveRun:
      return "MAY_HAVE_RUN";
    case CauseKind::kQueueTimeout:
      return "QUEUE_TIMEOUT";
    case CauseKind::kRunTimeout:
      return "RUN_TIMEOUT";
    case CauseKind::kTotalTimeout:
      return "TOTAL_TIMEOUT";
    case CauseKind::kCancelled:
      return "CANCELLED";
    case CauseKind::kPayloadLost:
      return "PAYLOAD_LOST";
    case CauseKind::kNotStarted:
      return "NOT_STARTED";
    case CauseKind::kUnknownTask:
      return "UNKNOWN_TASK";
    case CauseKind::kBrokenWorker:
      return "BROKEN_WORKER";
    case CauseKind::kBadPayload:
      return "BAD_PAYLOAD";
    case CauseKind::kOutOfMemory:
      return "OUT_OF_MEMORY";
    case CauseKind::kResultTooLarge:
      return "RESULT_TOO_LARGE";
    case CauseKind::kQuarantined:
      return "QUARANTINED";
    case CauseKind::kSoftTimeout:
      return "SOFT_TIMEOUT";
    case CauseKind::kHeartbeatTimeout:
      return "HEARTBEAT_TIMEOUT";
    case CauseKind::kDependency:
      return "DEPENDENCY";
  }
  return "UNKNOWN";
}

std::string_view to_string(Discipline discipline) {
  switch (discipline) {
    case Discipline::kFifo:
      return "fifo";
    case Discipline::kLifo:
      return "lifo";
    case Discipline::kPriority:
      return "priority";
  }
  return "unknown";
}

}  // namespace futured
