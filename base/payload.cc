#include "base/payload.h"

#include <cstring>

#include "base/limits.h"

namespace futured {

namespace {

// LEB128: a plain part of under 128 bytes costs three bytes of framing.
void append_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] bool failed() const { return failed_; }

  std::uint8_t byte() {
    if (rest_.empty()) return fail();
    const auto value = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return value;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const std::uint8_t next = byte();
      if (failed_) return 0;
      value |= static_cast<std::uint64_t>(next & 0x7f) << shift;
      if ((next & 0x80) == 0) return value;
    }
    return fail();
  }
  std::string_view bytes() {
    const std::uint64_t size = varint();
    if (failed_ || size > rest_.size()) {
      fail();
      return {};
    }
    const std::string_view value = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return value;
  }

 private:
  std::uint8_t fail() {
    failed_ = true;
    rest_ = {};
    return 0;
  }

  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace

void append_part(std::string& encoded, const Part& part) {
  encoded.push_back(static_cast<char>(part.kind));
  append_varint(encoded, part.content_type.size());
  encoded.append(part.content_type);
  switch (part.kind) {
    case PartKind::kInline:
      append_varint(encoded, part.bytes.size());
      encoded.append(part.bytes);
      return;
    case PartKind::kSegment:
      append_varint(encoded, part.segment.value);
      append_varint(encoded, part.begin);
      append_varint(encoded, part.end);
      return;
  }
}

Result<std::vector<Part>> decode_parts(std::string_view encoded) {
  std::vector<Part> parts;
  Reader reader(encoded);
  while (!reader.at_end()) {
    if (parts.size() == limits::kPayloadPartsMax) {
      return Error{ErrorCode::kInvalidArgument,
                   "payload has more than " + std::to_string(limits::kPayloadPartsMax) + " parts"};
    }
    Part part;
    const std::uint8_t kind = reader.byte();
    part.content_type = reader.bytes();
    if (kind == static_cast<std::uint8_t>(PartKind::kInline)) {
      part.kind = PartKind::kInline;
      part.bytes = reader.bytes();
    } else if (kind == static_cast<std::uint8_t>(PartKind::kSegment)) {
      part.kind = PartKind::kSegment;
      part.segment = SegmentId{reader.varint()};
      part.begin = reader.varint();
      part.end = reader.varint();
      if (part.begin > part.end) return Error{ErrorCode::kDataLoss, "payload part ends before it begins"};
    } else {
      return Error{ErrorCode::kDataLoss, "payload part of unknown kind " + std::to_string(kind)};
    }
    if (reader.failed()) return Error{ErrorCode::kDataLoss, "payload is cut short"};
    parts.push_back(part);
  }
  return parts;
}

}  // namespace futured
