#include "daemon/rpc/waited_outcome.h"

#include <algorithm>

#include "base/limits.h"
#include "base/payload.h"
#include "base/wait_call.h"
#include "daemon/rpc/captured_output.h"
#include "daemon/rpc/convert.h"

namespace futured::rpc {

namespace {

// The parts of the result itself, without what was emitted and logged beside it.
Result<std::string> inline_result(const std::string& job, std::string_view stored) {
  auto parts = decode_parts(stored);
  if (!parts.ok()) return parts.error().in("result of " + job);
  std::erase_if(*parts, is_beside_result);
  std::string encoded;
  for (const Part& part : *parts) {
    if (part.kind != PartKind::kInline) {
      return Error{ErrorCode::kFailedPrecondition,
                   "result of " + job +
                       ": it is an array in a segment, which no waiting task is handed; let the job "
                       "write it to a file and return its name"};
    }
    append_part(encoded, part);
  }
  if (encoded.size() > limits::kWaitResultBytesMax) {
    return Error{ErrorCode::kFailedPrecondition,
                 "result of " + job + ": its " + std::to_string(encoded.size()) + " bytes are over the " +
                     std::to_string(limits::kWaitResultBytesMax) +
                     " that a waiting task is handed; let the job write it to a file and return its name"};
  }
  return encoded;
}

}  // namespace

Result<std::string> waited_outcome(StoreReader& reader, JobId id, Principal who, std::uint32_t admin_uid) {
  const std::string job = "job " + std::to_string(id.value);
  const auto record = reader.get(id, false);
  if (!record.ok()) return record.error();
  if (!*record) return Error{ErrorCode::kNotFound, "no " + job};
  const std::uint32_t owner = (*record)->job.owner;
  if (owner != who.uid && who.uid != 0 && who.uid != admin_uid) {
    return Error{ErrorCode::kPermissionDenied, job + " belongs to user " + std::to_string(owner)};
  }
  const Ending& ending = (*record)->ending;
  if (!is_terminal(ending.state)) return Error{ErrorCode::kFailedPrecondition, job + " has not ended; wait for it"};
  const auto result = inline_result(job, ending.result);
  if (!result.ok()) return result.error();
  api::Outcome told;
  to_outcome(id, ending, ResultWanted::kNone, told);
  const std::string kind = told.has_cause() ? api::CauseKind_Name(told.cause().kind()) : std::string();
  constexpr std::string_view kPrefix = "CAUSE_KIND_";
  WaitedOutcome outcome;
  outcome.state = static_cast<std::uint32_t>(told.state());
  outcome.cause = kind.starts_with(kPrefix) ? std::string_view(kind).substr(kPrefix.size()) : std::string_view(kind);
  if (ending.state == JobState::kSucceeded) outcome.cause = {};
  outcome.exit_code = static_cast<std::uint32_t>(told.cause().exit_code());
  outcome.signal = static_cast<std::uint32_t>(told.cause().signal());
  outcome.error_class = told.cause().error_class();
  outcome.message = told.cause().message();
  outcome.result = *result;
  return encode_outcome(outcome);
}

}  // namespace futured::rpc
