#include "base/wait_call.h"

#include "base/limits.h"
#include "base/wire.h"

namespace futured {

namespace {

[[nodiscard]] Error refuse(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

[[nodiscard]] bool is_kind(std::uint8_t byte) {
  return byte >= static_cast<std::uint8_t>(WaitCall::Kind::kWait) &&
         byte <= static_cast<std::uint8_t>(WaitCall::Kind::kRead);
}

}  // namespace

bool is_wait_call(std::string_view encoded) {
  return !encoded.empty() && is_kind(static_cast<std::uint8_t>(encoded.front()));
}

std::string encode_wait_call(const WaitCall& call) {
  std::string encoded(1, static_cast<char>(call.kind));
  append_varint(encoded, call.wait);
  append_varint(encoded, call.lends_permits ? 1 : 0);
  append_varint(encoded, call.offset);
  append_varint(encoded, call.jobs.size());
  for (const JobId job : call.jobs) append_varint(encoded, job.value);
  return encoded;
}

Result<WaitCall> decode_wait_call(std::string_view encoded) {
  WireReader reader(encoded);
  const std::uint8_t kind = reader.byte();
  if (reader.failed() || !is_kind(kind)) return refuse("request of unknown kind " + std::to_string(kind));
  WaitCall call;
  call.kind = static_cast<WaitCall::Kind>(kind);
  const std::uint64_t wait = reader.varint();
  const std::uint64_t lends_permits = reader.varint();
  call.offset = reader.varint();
  const std::uint64_t count = reader.varint();
  if (reader.failed()) return Error{ErrorCode::kDataLoss, "request is cut short"};
  if (wait > UINT32_MAX || lends_permits > 1) return refuse("request has a number out of bounds");
  if (count > limits::kWaitJobsMax) {
    return refuse("a wait for " + std::to_string(count) + " jobs is over " + std::to_string(limits::kWaitJobsMax));
  }
  for (std::uint64_t i = 0; i < count; ++i) call.jobs.push_back(JobId{reader.varint()});
  if (reader.failed()) return Error{ErrorCode::kDataLoss, "request is cut short"};
  if (!reader.at_end()) return Error{ErrorCode::kDataLoss, "request has bytes after its end"};
  if (call.kind == WaitCall::Kind::kRead && call.jobs.size() != 1) return refuse("one outcome is read at a time");
  call.wait = static_cast<std::uint32_t>(wait);
  call.lends_permits = lends_permits == 1;
  return call;
}

Status check_wait_call(std::string_view encoded) {
  if (const auto call = decode_wait_call(encoded); !call) return call.error();
  return {};
}

std::string encode_outcome(const WaitedOutcome& outcome) {
  std::string encoded;
  for (const std::uint32_t number : {outcome.state, outcome.exit_code, outcome.signal}) append_varint(encoded, number);
  for (const std::string_view text : {outcome.cause, outcome.error_class, outcome.message, outcome.result}) {
    append_bytes(encoded, text);
  }
  return encoded;
}

Result<WaitedOutcome> decode_outcome(std::string_view encoded) {
  WireReader reader(encoded);
  WaitedOutcome outcome;
  std::uint64_t numbers[3];
  for (std::uint64_t& number : numbers) number = reader.varint();
  for (std::string_view* text : {&outcome.cause, &outcome.error_class, &outcome.message, &outcome.result}) {
    *text = reader.bytes();
  }
  if (reader.failed() || !reader.at_end()) return Error{ErrorCode::kDataLoss, "an outcome is damaged"};
  outcome.state = static_cast<std::uint32_t>(numbers[0]);
  outcome.exit_code = static_cast<std::uint32_t>(numbers[1]);
  outcome.signal = static_cast<std::uint32_t>(numbers[2]);
  return outcome;
}

std::string encode_page(std::string_view outcome, std::uint64_t offset) {
  std::string encoded;
  append_varint(encoded, outcome.size());
  if (offset < outcome.size()) encoded += outcome.substr(offset, limits::kWaitPageBytesMax);
  return encoded;
}

Result<OutcomePage> decode_page(std::string_view encoded) {
  OutcomePage page;
  WireReader reader(encoded);
  page.total = reader.varint();
  if (reader.failed()) return Error{ErrorCode::kDataLoss, "a page of an outcome is damaged"};
  std::size_t begin = 0;  // behind the varint
  while (begin < encoded.size() && (static_cast<std::uint8_t>(encoded[begin]) & 0x80U) != 0) ++begin;
  page.bytes = encoded.substr(begin + 1);
  return page;
}

}  // namespace futured
