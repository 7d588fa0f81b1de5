// Outcomes, as the store and the loop give them, into messages.
#include <algorithm>

#include "base/command.h"
#include "base/limits.h"
#include "base/stored_segment.h"
#include "base/wire.h"
#include "daemon/rpc/captured_output.h"
#include "daemon/rpc/convert.h"
#include "segment/array_type.h"

namespace futured::rpc {

namespace {

// Room that an outcome takes in a message besides its bytes, about.
constexpr std::size_t kOutcomeBytes = 64;
constexpr std::size_t kPackedBytes = 8;

struct CauseWords {
  api::CauseKind kind;
  api::TimeoutKind timeout = api::TIMEOUT_KIND_NONE;
};

CauseWords words_of(CauseKind kind) {
  switch (kind) {
    case CauseKind::kNone:
      return {api::CAUSE_KIND_NONE};
    case CauseKind::kTaskError:
      return {api::CAUSE_KIND_TASK_ERROR};
    case CauseKind::kExitCode:
      return {api::CAUSE_KIND_COMMAND_EXIT};
    case CauseKind::kSignal:
      return {api::CAUSE_KIND_COMMAND_SIGNAL};
    case CauseKind::kWorkerCrashed:
      return {api::CAUSE_KIND_WORKER_DIED};
    case CauseKind::kMayHaveRun:
      return {api::CAUSE_KIND_MAY_HAVE_RUN};
    case CauseKind::kQueueTimeout:
      return {api::CAUSE_KIND_TIMEOUT, api::TIMEOUT_KIND_QUEUE};
    case CauseKind::kRunTimeout:
      return {api::CAUSE_KIND_TIMEOUT, api::TIMEOUT_KIND_RUN};
    case CauseKind::kTotalTimeout:
      return {api::CAUSE_KIND_TIMEOUT, api::TIMEOUT_KIND_TOTAL};
    case CauseKind::kCancelled:
      return {api::CAUSE_KIND_CANCELLED};
    case CauseKind::kPayloadLost:
      return {api::CAUSE_KIND_PAYLOAD_LOST};
    case CauseKind::kNotStarted:
      return {api::CAUSE_KIND_COMMAND_NOT_STARTED};
    case CauseKind::kUnknownTask:
      return {api::CAUSE_KIND_UNKNOWN_TASK};
    case CauseKind::kBrokenWorker:
      return {api::CAUSE_KIND_PROTOCOL};
    case CauseKind::kBadPayload:
      return {api::CAUSE_KIND_BAD_PAYLOAD};
    case CauseKind::kOutOfMemory:
      return {api::CAUSE_KIND_OUT_OF_MEMORY};
    case CauseKind::kResultTooLarge:
      return {api::CAUSE_KIND_RESULT_TOO_LARGE};
    case CauseKind::kQuarantined:
      return {api::CAUSE_KIND_QUARANTINED};
    case CauseKind::kSoftTimeout:
      return {api::CAUSE_KIND_TIMEOUT, api::TIMEOUT_KIND_SOFT};
    case CauseKind::kHeartbeatTimeout:
      return {api::CAUSE_KIND_TIMEOUT, api::TIMEOUT_KIND_HEARTBEAT};
    case CauseKind::kDependency:
      return {api::CAUSE_KIND_DEPENDENCY};
  }
  return {api::CAUSE_KIND_NONE};
}

std::uint64_t size_of(const Part& part) {
  if (part.kind == PartKind::kSegment) return part.end - part.begin;
  if (part.kind == PartKind::kLost) return 0;
  const auto output = captured_output(part);
  return output ? output->kept() : part.bytes.size();
}

void add_tails(const std::vector<Part>& parts, api::Cause& cause) {
  for (const Part& part : parts) {
    const auto output = captured_output(part);
    if (!output) continue;
    const std::size_t keep = std::min(output->bytes.size(), limits::kOutputTailBytes);
    const std::string_view tail = output->bytes.substr(output->bytes.size() - keep);
    // Of a task: what it emitted, and its log.
    const bool is_output = output->stream == OutputStream::kStdout || output->stream == OutputStream::kEmitted;
    (is_output ? cause.mutable_stdout_tail() : cause.mutable_stderr_tail())->assign(tail);
  }
}

void add_result(const Ending& ending, ResultWanted wanted, api::Outcome& out) {
  auto parts = decode_parts(ending.result);
  if (!parts.ok()) {  // a result is checked when it comes; one that is damaged now was damaged on disk
    out.set_result_elided(true);
    return;
  }
  if (ending.cause && ending.state != JobState::kSucceeded) add_tails(*parts, *out.mutable_cause());
  std::erase_if(*parts, is_beside_result);
  std::uint64_t bytes = 0;
  bool elided = wanted == ResultWanted::kNone;
  for (const Part& part : *parts) {
    bytes += size_of(part);
    const auto output = captured_output(part);
    elided = elided || (output && !output->file.empty()) || part.kind == PartKind::kLost;
  }
  std::uint64_t inline_bytes = 0;
  for (const Part& part : *parts) inline_bytes += part.kind == PartKind::kInline ? part.bytes.size() : 0;
  elided = elided || inline_bytes > limits::kResultInlineBytesMax;
  out.set_result_bytes(bytes);
  out.set_result_elided(elided && !parts->empty());
  if (!elided) {
    for (const Part& part : *parts) to_api(part, true, *out.add_result());
  }
}

// Than where the outcome came from.
bool tells_more(Cause cause) {
  cause.cached_from = {};
  cause.cache_note.clear();
  return cause != Cause{};
}

enum class Packing { kNone, kEmpty, kOnePart };

// Whether the cheapest form tells the whole outcome.
Packing packing_of(const Ending& ending, ResultWanted wanted, std::string_view& bytes) {
  if (ending.state != JobState::kSucceeded || ending.cause) return Packing::kNone;
  if (ending.result.empty()) return Packing::kEmpty;
  if (wanted == ResultWanted::kNone) return Packing::kNone;
  WireReader reader(ending.result);
  if (reader.byte() != static_cast<std::uint8_t>(PartKind::kInline)) return Packing::kNone;
  const std::string_view type = reader.bytes();
  if (!type.empty() && type != "application/octet-stream") return Packing::kNone;
  bytes = reader.bytes();
  const bool one = !reader.failed() && reader.at_end() && bytes.size() <= limits::kResultInlineBytesMax;
  return one ? Packing::kOnePart : Packing::kNone;
}

}  // namespace

std::string as_utf8(std::string_view text) {
  std::string sound;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80                    ? 1
                               : lead >= 0xf0 && lead <= 0xf4 ? 4
                               : lead >= 0xe0                 ? 3
                               : lead >= 0xc2                 ? 2
                                                              : 0;
    std::size_t good = length == 0 || i + length > text.size() ? 0 : 1;
    while (good != 0 && good < length && (static_cast<unsigned char>(text[i + good]) & 0xc0) == 0x80) ++good;
    const auto second = length > 1 && good > 1 ? static_cast<unsigned char>(text[i + 1]) : 0;
    const bool wrong = good != length || length == 0 || lead > 0xf4 || (lead == 0xe0 && second < 0xa0) ||
                       (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) ||
                       (lead == 0xf4 && second > 0x8f);
    if (wrong) {
      sound += "\xEF\xBF\xBD";
      ++i;
    } else {
      sound.append(text.substr(i, length));
      i += length;
    }
  }
  return sound;
}

api::JobState to_api(JobState state) { return static_cast<api::JobState>(state); }

static_assert(static_cast<int>(JobState::kScheduled) == api::JOB_STATE_SCHEDULED);
static_assert(static_cast<int>(JobState::kBlocked) == api::JOB_STATE_BLOCKED);
static_assert(static_cast<int>(JobState::kQueued) == api::JOB_STATE_QUEUED);
static_assert(static_cast<int>(JobState::kRunning) == api::JOB_STATE_RUNNING);
static_assert(static_cast<int>(JobState::kSucceeded) == api::JOB_STATE_SUCCEEDED);
static_assert(static_cast<int>(JobState::kFailed) == api::JOB_STATE_FAILED);
static_assert(static_cast<int>(JobState::kCancelled) == api::JOB_STATE_CANCELLED);
static_assert(static_cast<int>(JobState::kTimedOut) == api::JOB_STATE_TIMED_OUT);

Result<JobState> from_api(api::JobState state, std::string_view field) {
  if (state < api::JOB_STATE_SCHEDULED || state > api::JOB_STATE_TIMED_OUT) {
    return invalid(field, std::to_string(static_cast<int>(state)) + " is no state");
  }
  return static_cast<JobState>(state);
}

std::vector<CauseKind> from_api(api::CauseKind kind) {
  std::vector<CauseKind> kinds;
  for (unsigned value = 1; value <= UINT8_MAX && kind != api::CAUSE_KIND_NONE; ++value) {
    const auto candidate = static_cast<CauseKind>(value);
    if (words_of(candidate).kind == kind) kinds.push_back(candidate);
  }
  return kinds;
}

void to_api(const Cause& cause, api::Cause& out) {
  const CauseWords words = words_of(cause.kind);
  out.set_kind(words.kind);
  out.set_timeout(words.timeout);
  out.set_error_class(as_utf8(cause.error_class));
  out.set_message(as_utf8(cause.message));
  out.set_exit_code(cause.exit_code);
  out.set_signal(cause.signal);
  out.set_peak_memory_bytes(static_cast<std::int64_t>(cause.peak_memory_bytes));
  out.set_stdout_tail(cause.stdout_tail);
  out.set_stderr_tail(cause.stderr_tail);
  out.set_retry_refused(cause.retry_refused);
  out.set_stacks(as_utf8(cause.stacks));
}

void to_api(const Part& part, bool with_bytes, api::Part& out) {
  out.set_content_type(as_utf8(part.content_type));
  if (part.kind == PartKind::kSegment) {
    out.mutable_segment()->set_id(part.segment.value);
    out.mutable_segment()->set_begin(part.begin);
    out.mutable_segment()->set_end(part.end);
    out.set_volatile_bytes(!is_stored(part.segment));
  } else if (with_bytes && part.kind == PartKind::kInline) {
    out.set_data(part.bytes.data(), part.bytes.size());
  }
  if (!is_array_type(part.content_type)) return;
  const auto array = parse_array_type(part.content_type);
  if (!array.ok()) return;
  out.mutable_array()->set_dtype(array->dtype);
  for (const std::uint64_t along : array->shape) out.mutable_array()->add_shape(static_cast<std::int64_t>(along));
}

void to_outcome(JobId id, const Ending& ending, ResultWanted wanted, api::Outcome& out) {
  out.set_id(id.value);
  out.set_state(to_api(ending.state));
  out.set_attempts(ending.attempt);
  out.set_started_us(ending.started_at.us);
  out.set_finished_us(ending.finished_at.us);
  if (ending.cause) {
    out.set_from_cache(ending.cause->cached_from.is_set());
    out.set_cache_note(as_utf8(ending.cause->cache_note));
    if (tells_more(*ending.cause)) to_api(*ending.cause, *out.mutable_cause());
    if (out.has_cause()) out.mutable_cause()->clear_stacks();  // Get gives them
  }
  if (!ending.result.empty()) add_result(ending, wanted, out);
}

bool to_command(std::string_view payload, api::Command& out) {
  auto parts = decode_parts(payload);
  if (parts.ok()) std::erase_if(*parts, [](const Part& part) { return part.kind == PartKind::kResult; });
  if (!parts.ok() || parts->empty() || (*parts)[0].content_type != kCommandType) return false;
  const auto command = decode_command((*parts)[0].bytes);
  if (!command.ok()) return false;
  for (const std::string& word : command->argv) out.add_argv(word);
  for (const std::string& variable : command->env) out.add_env(variable);
  out.set_cwd(command->cwd);
  if (command->umask) out.set_umask(*command->umask);
  return true;
}

std::size_t OutcomePacker::add(JobId id, const Ending& ending) {
  std::string_view bytes;
  const bool in_reach = id.value >= first_.value && id.value - first_.value <= UINT32_MAX;
  switch (in_reach ? packing_of(ending, wanted_, bytes) : Packing::kNone) {
    case Packing::kEmpty:
      return pack(empty_, id);
    case Packing::kOnePart: {
      const std::size_t head = pack(one_part_, id);
      one_part_->mutable_results()->append(bytes);
      one_part_->add_sizes(static_cast<std::uint32_t>(bytes.size()));
      return head + bytes.size();
    }
    case Packing::kNone:
      break;
  }
  api::Outcome& outcome = *outcomes_.Add();
  to_outcome(id, ending, wanted_, outcome);
  return kOutcomeBytes + std::min(ending.result.size(), limits::kResultInlineBytesMax) +
         (ending.cause ? ending.cause->message.size() + 2 * limits::kOutputTailBytes : 0);
}

// Ids that follow one another need no list.
std::size_t OutcomePacker::pack(api::PackedOutcomes*& into, JobId id) {
  if (into == nullptr) {
    into = packed_.Add();
    into->set_first_id(first_.value);
  }
  const std::uint32_t count = into->count();
  const auto offset = static_cast<std::uint32_t>(id.value - first_.value);
  if (into->id_offsets().empty() && offset != count) {
    for (std::uint32_t i = 0; i < count; ++i) into->add_id_offsets(i);
    into->add_id_offsets(offset);
  } else if (!into->id_offsets().empty()) {
    into->add_id_offsets(offset);
  }
  into->set_count(count + 1);
  return kPackedBytes;
}

}  // namespace futured::rpc
