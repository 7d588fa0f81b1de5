#include "base/payload.h"

#include "base/limits.h"
#include "base/wire.h"

namespace futured {

void append_part(std::string& encoded, const Part& part) {
  encoded.push_back(static_cast<char>(part.kind));
  append_bytes(encoded, part.content_type);
  switch (part.kind) {
    case PartKind::kInline:
    case PartKind::kLost:
      append_bytes(encoded, part.bytes);
      return;
    case PartKind::kSegment:
      append_varint(encoded, part.segment.value);
      append_varint(encoded, part.begin);
      append_varint(encoded, part.end);
      return;
    case PartKind::kResult:
      append_varint(encoded, part.result_of.value);
      append_varint(encoded, part.item);
      append_varint(encoded, part.only_first ? 1 : 0);
      return;
  }
}

std::string name_jobs(std::string_view encoded, JobId first) {
  const auto parts = decode_parts(encoded);
  if (!parts.ok()) return std::string(encoded);
  std::string named;
  for (Part part : *parts) {
    if (part.kind == PartKind::kResult && part.item != 0) {
      part.result_of = JobId{first.value + part.item - 1};
      part.item = 0;
    }
    append_part(named, part);
  }
  return named;
}

bool names_segment(std::string_view encoded) {
  WireReader reader(encoded);
  while (!reader.at_end()) {
    const std::uint8_t kind = reader.byte();
    if (kind != static_cast<std::uint8_t>(PartKind::kInline)) {
      return kind == static_cast<std::uint8_t>(PartKind::kSegment) ||
             kind == static_cast<std::uint8_t>(PartKind::kLost) || kind == static_cast<std::uint8_t>(PartKind::kResult);
    }
    reader.bytes();  // content type
    reader.bytes();
  }
  return false;
}

Result<std::vector<Part>> decode_parts(std::string_view encoded) {
  std::vector<Part> parts;
  WireReader reader(encoded);
  while (!reader.at_end()) {
    if (parts.size() == limits::kStoredPartsMax) {
      return Error{ErrorCode::kInvalidArgument,
                   "payload has more than " + std::to_string(limits::kStoredPartsMax) + " parts"};
    }
    Part part;
    const std::uint8_t kind = reader.byte();
    part.content_type = reader.bytes();
    if (kind == static_cast<std::uint8_t>(PartKind::kInline)) {
      part.kind = PartKind::kInline;
      part.bytes = reader.bytes();
    } else if (kind == static_cast<std::uint8_t>(PartKind::kLost)) {
      part.kind = PartKind::kLost;
      part.bytes = reader.bytes();
    } else if (kind == static_cast<std::uint8_t>(PartKind::kSegment)) {
      part.kind = PartKind::kSegment;
      part.segment = SegmentId{reader.varint()};
      part.begin = reader.varint();
      part.end = reader.varint();
      if (part.begin > part.end) return Error{ErrorCode::kDataLoss, "payload part ends before it begins"};
    } else if (kind == static_cast<std::uint8_t>(PartKind::kResult)) {
      part.kind = PartKind::kResult;
      part.result_of = JobId{reader.varint()};
      part.item = static_cast<std::uint32_t>(reader.varint());
      part.only_first = reader.varint() != 0;
    } else {
      return Error{ErrorCode::kDataLoss, "payload part of unknown kind " + std::to_string(kind)};
    }
    if (reader.failed()) return Error{ErrorCode::kDataLoss, "payload is cut short"};
    parts.push_back(part);
  }
  return parts;
}

}  // namespace futured
