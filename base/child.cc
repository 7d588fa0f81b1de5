#include "base/child.h"

#include <algorithm>
#include <limits>

#include "base/limits.h"
#include "base/payload.h"
#include "base/wire.h"

namespace futured {

namespace {

constexpr std::uint8_t kVersion = 1;

[[nodiscard]] Error refuse(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

[[nodiscard]] std::uint64_t zigzag(std::int32_t value) {
  return (static_cast<std::uint32_t>(value) << 1) ^ static_cast<std::uint32_t>(value >> 31);
}
[[nodiscard]] std::int32_t from_zigzag(std::uint32_t value) {
  return static_cast<std::int32_t>((value >> 1) ^ (0U - (value & 1)));
}

[[nodiscard]] Status check_payload(std::string_view payload) {
  const auto parts = decode_parts(payload);
  if (!parts) return parts.error();
  if (parts->size() > limits::kPayloadPartsMax) {
    return refuse("arguments: " + std::to_string(parts->size()) + " are over " +
                  std::to_string(limits::kPayloadPartsMax));
  }
  const auto is_inline = [](const Part& part) { return part.kind == PartKind::kInline; };
  if (!std::ranges::all_of(*parts, is_inline)) return refuse("arguments: a segment is none of a child job");
  return {};
}

}  // namespace

Status check_child(const ChildRequest& request) {
  const struct {
    std::string_view field;
    std::string_view word;
  } words[] = {{"task", request.task},
               {"queue", request.queue},
               {"pool", request.pool},
               {"name", request.name},
               {"key", request.key}};
  for (const auto& [field, word] : words) {
    if (word.size() <= limits::kNameBytesMax) continue;
    return refuse(std::string(field) + ": " + std::to_string(word.size()) + " bytes are over " +
                  std::to_string(limits::kNameBytesMax));
  }
  if (request.task.empty()) return refuse("task: a child job names its task");
  if (std::min({request.queue_timeout_ms, request.run_timeout_ms, request.total_timeout_ms}) < 0) {
    return refuse("timeout: a time is not negative");
  }
  if (request.payload.size() > limits::kChildPayloadBytesMax) {
    return refuse("arguments: " + std::to_string(request.payload.size()) + " bytes are over " +
                  std::to_string(limits::kChildPayloadBytesMax) + "; hand over more in a file or by a name");
  }
  return check_payload(request.payload);
}

std::string encode_child(const ChildRequest& request) {
  std::string encoded(1, static_cast<char>(kVersion));
  for (const std::string_view word : {request.task, request.queue, request.pool, request.name, request.key}) {
    append_bytes(encoded, word);
  }
  append_varint(encoded, zigzag(request.priority));
  append_varint(encoded, request.max_attempts);
  for (const std::int64_t time_ms : {request.queue_timeout_ms, request.run_timeout_ms, request.total_timeout_ms}) {
    append_varint(encoded, static_cast<std::uint64_t>(time_ms));
  }
  append_varint(encoded, request.at_most_once ? 1 : 0);
  append_bytes(encoded, request.payload);
  return encoded;
}

Status check_encoded_child(std::string_view encoded) {
  if (const auto request = decode_child(encoded); !request) return request.error();
  return {};
}

Result<ChildRequest> decode_child(std::string_view encoded) {
  WireReader reader(encoded);
  const std::uint8_t version = reader.byte();
  if (reader.failed() || version != kVersion) return refuse("request of unknown version " + std::to_string(version));
  ChildRequest request;
  for (std::string_view* word : {&request.task, &request.queue, &request.pool, &request.name, &request.key}) {
    *word = reader.bytes();
  }
  const std::uint64_t priority = reader.varint();
  const std::uint64_t max_attempts = reader.varint();
  std::uint64_t times_ms[3];
  for (std::uint64_t& time_ms : times_ms) time_ms = reader.varint();
  const std::uint64_t at_most_once = reader.varint();
  request.payload = reader.bytes();
  if (reader.failed()) return Error{ErrorCode::kDataLoss, "request is cut short"};
  if (!reader.at_end()) return Error{ErrorCode::kDataLoss, "request has bytes after its end"};
  constexpr std::uint64_t kTimeMax = std::numeric_limits<std::int64_t>::max();
  if (priority > UINT32_MAX || max_attempts > UINT32_MAX || at_most_once > 1 ||
      *std::ranges::max_element(times_ms) > kTimeMax) {
    return refuse("request has a number out of bounds");
  }
  request.priority = from_zigzag(static_cast<std::uint32_t>(priority));
  request.max_attempts = static_cast<std::uint32_t>(max_attempts);
  request.queue_timeout_ms = static_cast<std::int64_t>(times_ms[0]);
  request.run_timeout_ms = static_cast<std::int64_t>(times_ms[1]);
  request.total_timeout_ms = static_cast<std::int64_t>(times_ms[2]);
  request.at_most_once = at_most_once == 1;
  if (const Status sound = check_child(request); !sound) return sound.error();
  return request;
}

}  // namespace futured
