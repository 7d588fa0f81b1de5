#include "futured/types.h"

#include <array>
#include <cctype>

#include "futured/errors.h"

namespace futured::client {

namespace {

constexpr std::array<std::string_view, 9> kStates = {"UNKNOWN",   "SCHEDULED", "BLOCKED",   "QUEUED",   "RUNNING",
                                                     "SUCCEEDED", "FAILED",    "CANCELLED", "TIMED_OUT"};
constexpr std::array<std::string_view, 19> kCauses = {
    "NONE",         "TASK_ERROR",    "BAD_PAYLOAD",  "COMMAND_EXIT", "COMMAND_SIGNAL",   "COMMAND_NOT_STARTED",
    "WORKER_DIED",  "OUT_OF_MEMORY", "TIMEOUT",      "CANCELLED",    "QUARANTINED",      "MAY_HAVE_RUN",
    "PAYLOAD_LOST", "RESULT_LOST",   "UNKNOWN_TASK", "DEPENDENCY",   "RESULT_TOO_LARGE", "PROTOCOL",
    "LEAK"};
constexpr std::array<std::string_view, 6> kTimeouts = {"NONE", "QUEUE", "SOFT", "RUN", "HEARTBEAT", "TOTAL"};

// A newer daemon may know words that we do not.
template <std::size_t N, typename Enum>
std::string_view word(const std::array<std::string_view, N>& words, Enum value) {
  const auto index = static_cast<std::size_t>(value);
  return index < N ? words[index] : std::string_view("UNKNOWN");
}

std::string headline(const Cause& cause) {
  switch (cause.kind) {
    case CauseKind::kNone:
      return {};
    case CauseKind::kTaskError:
      return cause.error_class.empty() ? "the task failed" : cause.error_class;
    case CauseKind::kCommandExit:
      return "exit code " + std::to_string(cause.exit_code);
    case CauseKind::kCommandSignal:
      return "ended by signal " + std::to_string(cause.signal);
    case CauseKind::kTimeout: {
      std::string name(to_string(cause.timeout));
      for (char& letter : name) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
      return name + " timeout";
    }
    case CauseKind::kBadPayload:
      return "the task could not read its arguments";
    case CauseKind::kCommandNotStarted:
      return "the command could not be started";
    case CauseKind::kWorkerDied:
      return "the worker died";
    case CauseKind::kOutOfMemory:
      return "out of memory";
    case CauseKind::kCancelled:
      return "cancelled";
    case CauseKind::kQuarantined:
      return "quarantined";
    case CauseKind::kMayHaveRun:
      return "may have run; at most once, so not tried again";
    case CauseKind::kPayloadLost:
      return "its payload is lost";
    case CauseKind::kResultLost:
      return "its result is lost";
    case CauseKind::kUnknownTask:
      return "no worker knows the task";
    case CauseKind::kDependency:
      return "a job that it depends on did not end as required";
    case CauseKind::kResultTooLarge:
      return "its result is too large";
    case CauseKind::kProtocol:
      return "its worker broke the protocol";
    case CauseKind::kLeak:
      return "it left its worker changed";
  }
  return "an unknown cause (a newer daemon?)";
}

}  // namespace

std::string_view to_string(JobState state) { return word(kStates, state); }
std::string_view to_string(CauseKind kind) { return word(kCauses, kind); }
std::string_view to_string(TimeoutKind kind) { return word(kTimeouts, kind); }

JobState job_state_from(std::string_view given) {
  std::string upper(given);
  for (char& letter : upper) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  for (std::size_t i = 1; i < kStates.size(); ++i) {
    if (kStates[i] == upper) return static_cast<JobState>(i);
  }
  return JobState::kUnknown;
}

namespace {

// Of these the daemon's message is a whole sentence, and the kind says nothing that it does not.
bool speaks_for_itself(CauseKind kind) {
  switch (kind) {
    case CauseKind::kCommandExit:
    case CauseKind::kCommandSignal:
    case CauseKind::kTimeout:
    case CauseKind::kWorkerDied:
    case CauseKind::kCancelled:
    case CauseKind::kUnknownTask:
    case CauseKind::kResultTooLarge:
      return true;
    case CauseKind::kNone:
    case CauseKind::kTaskError:
    case CauseKind::kBadPayload:
    case CauseKind::kCommandNotStarted:
    case CauseKind::kOutOfMemory:
    case CauseKind::kQuarantined:
    case CauseKind::kMayHaveRun:
    case CauseKind::kPayloadLost:
    case CauseKind::kResultLost:
    case CauseKind::kDependency:
    case CauseKind::kProtocol:
    case CauseKind::kLeak:
      return false;
  }
  return false;
}

}  // namespace

std::string describe(const Cause& cause) {
  const std::string text = headline(cause);
  if (cause.message.empty() || cause.message == text) return text;
  return text.empty() || speaks_for_itself(cause.kind) ? cause.message : text + ": " + cause.message;
}

namespace {

std::string sentence(const Outcome& outcome, const std::string& what) {
  std::string text = what.empty() ? "" : what + ": ";
  text += "job " + std::to_string(outcome.id) + ": " + std::string(to_string(outcome.state));
  const std::string why = describe(outcome.cause);
  return why.empty() ? text : text + " (" + why + ")";
}

}  // namespace

Part part_of(Segment segment) {
  Part part;
  part.segment = std::move(segment);
  return part;
}

Segment rows_of(const Segment& array, std::int64_t begin, std::int64_t end) {
  if (array.shape.empty() || begin < 0 || begin > end || end > array.shape.front()) {
    throw Error(ErrorKind::kInvalidArgument,
                "rows " + std::to_string(begin) + " to " + std::to_string(end) + ": the array has no such rows");
  }
  const std::uint64_t rows = static_cast<std::uint64_t>(array.shape.front());
  const std::uint64_t row_bytes = rows == 0 ? 0 : array.bytes() / rows;
  Segment slice = array;
  slice.end = array.begin + static_cast<std::uint64_t>(end) * row_bytes;
  slice.begin = array.begin + static_cast<std::uint64_t>(begin) * row_bytes;
  slice.shape.front() = end - begin;
  return slice;
}

JobFailed::JobFailed(Outcome outcome, const std::string& what)
    : Error(ErrorKind::kJobFailed, sentence(outcome, what)), outcome_(std::make_shared<Outcome>(std::move(outcome))) {}

void throw_job_failed(Outcome outcome, const std::string& what) {
  if (outcome.state == JobState::kCancelled) throw JobCancelled(std::move(outcome), what);
  if (outcome.state == JobState::kTimedOut) throw JobTimedOut(std::move(outcome), what);
  throw JobFailed(std::move(outcome), what);
}

}  // namespace futured::client
