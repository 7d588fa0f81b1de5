#include "daemon/core/retry_classes.h"

#include <algorithm>
#include <string>

namespace futured {

namespace {

bool names(const std::vector<std::string>& classes, const Cause& cause) {
  const auto is_it = [&](const std::string& entry) {
    if (entry == cause.error_class || entry == retried_cause(cause.kind)) return true;
    if (cause.kind == CauseKind::kExitCode) return entry == "exit:" + std::to_string(cause.exit_code);
    if (cause.signal != 0) return entry == "signal:" + std::to_string(cause.signal);
    return false;
  };
  return std::ranges::any_of(classes, is_it);
}

}  // namespace

bool allows_retry(const JobSpec& spec, const Cause& cause) {
  if (!spec.retry_only.empty() && !names(spec.retry_only, cause)) return false;
  return spec.retry_except.empty() || !names(spec.retry_except, cause);
}

std::string_view retried_cause(CauseKind kind) {
  switch (kind) {
    case CauseKind::kTaskError:
      return "TASK_ERROR";
    case CauseKind::kExitCode:
      return "COMMAND_EXIT";
    case CauseKind::kSignal:
      return "COMMAND_SIGNAL";
    case CauseKind::kOutOfMemory:
      return "OUT_OF_MEMORY";
    case CauseKind::kSoftTimeout:
    case CauseKind::kRunTimeout:
    case CauseKind::kHeartbeatTimeout:
      return "TIMEOUT";
    case CauseKind::kNone:
    case CauseKind::kWorkerCrashed:
    case CauseKind::kMayHaveRun:
    case CauseKind::kQueueTimeout:
    case CauseKind::kTotalTimeout:
    case CauseKind::kCancelled:
    case CauseKind::kPayloadLost:
    case CauseKind::kNotStarted:
    case CauseKind::kUnknownTask:
    case CauseKind::kBrokenWorker:
    case CauseKind::kBadPayload:
    case CauseKind::kResultTooLarge:
    case CauseKind::kDependency:
    case CauseKind::kQuarantined:
      break;
  }
  return {};
}

}  // namespace futured
