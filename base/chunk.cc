#include "base/chunk.h"

#include <charconv>

#include "base/payload.h"

namespace futured {

namespace {

constexpr std::string_view kTook = "; took_ns=";

}  // namespace

void append_call(std::string& chunk, std::string_view content_type, std::string_view bytes) {
  std::string payload;
  append_part(payload, {.content_type = content_type, .bytes = bytes});
  append_bytes(chunk, payload);
}

void append_end(std::string& ends, const CallEnd& end) {
  ends.push_back(static_cast<char>(end.status));
  if (end.status == CallStatus::kSucceeded) {
    append_bytes(ends, end.result);
    return;
  }
  append_bytes(ends, end.error_class);
  append_bytes(ends, end.message);
}

std::optional<CallEnd> ChunkEnds::next() {
  if (reader_.at_end()) return std::nullopt;
  CallEnd end;
  const std::uint8_t status = reader_.byte();
  if (status == static_cast<std::uint8_t>(CallStatus::kSucceeded)) {
    end.result = reader_.bytes();
  } else {
    end.status =
        status == static_cast<std::uint8_t>(CallStatus::kBadPayload) ? CallStatus::kBadPayload : CallStatus::kTaskError;
    end.error_class = reader_.bytes();
    end.message = reader_.bytes();
  }
  if (reader_.failed()) return std::nullopt;
  return end;
}

std::string chunk_result_type(std::int64_t took_ns) {
  return std::string(kChunkType) + std::string(kTook) + std::to_string(took_ns);
}

std::optional<std::int64_t> took_ns_of(std::string_view type) {
  if (!type.starts_with(kChunkType) || !type.substr(kChunkType.size()).starts_with(kTook)) return std::nullopt;
  type.remove_prefix(kChunkType.size() + kTook.size());
  std::int64_t took_ns = 0;
  const auto [stopped, error] = std::from_chars(type.data(), type.data() + type.size(), took_ns);
  if (error != std::errc() || stopped != type.data() + type.size() || took_ns < 0) return std::nullopt;
  return took_ns;
}

}  // namespace futured
