// A payload or a result: an ordered list of parts, encoded once by who makes it and read in place by who uses it.
// The encoding is docs/formats/payload.md. Everything between the two ends treats the bytes as opaque.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"

namespace futured {

enum class PartKind : std::uint8_t {
  kInline = 0,   // the bytes themselves
  kSegment = 1,  // (segment id, begin, end) in bytes; the descriptor travels beside the record
  kLost = 2,     // the store has it no more; only it says so, and no worker is given one
  kResult = 4,   // parts of another job's result stand here; they are put in before a worker is given it
};

// One part, as a view into the encoded bytes.
struct Part {
  PartKind kind = PartKind::kInline;
  std::string_view content_type;  // empty: application/octet-stream
  std::string_view bytes;         // kInline; kLost: why
  SegmentId segment;              // kSegment
  std::uint64_t begin = 0;        // kSegment: bytes, half-open
  std::uint64_t end = 0;
  JobId result_of;          // kResult; unset: the job of `item`, or nothing
  std::uint32_t item = 0;   // kResult: of the same request, from 1; 0: none
  bool only_first = false;  // kResult: of its parts
};

// Appends one part to an encoded payload. An empty string is the empty payload of no parts.
void append_part(std::string& encoded, const Part& part);

// Whether some part is not inline: a segment, lost, or not put in yet. Costs a walk over the framing; damaged bytes
// answer false.
[[nodiscard]] bool names_segment(std::string_view encoded);

// Whether results of other jobs belong in it. Costs nothing: such a payload begins with a kResult part, if need be with
// one of nothing.
[[nodiscard]] inline bool names_result(std::string_view encoded) {
  return !encoded.empty() && encoded[0] == static_cast<char>(PartKind::kResult);
}

// The same payload when the items of its request are the jobs from `first` on.
[[nodiscard]] std::string name_jobs(std::string_view encoded, JobId first);

// The parts of `encoded`, as views into it. Refuses what is damaged or over limits::kStoredPartsMax.
[[nodiscard]] Result<std::vector<Part>> decode_parts(std::string_view encoded);

}  // namespace futured
