// Numbers of segments whose bytes lie in a file of their content. They are made from its digest, so they mean the same
// in every life of the daemon, and the same bytes are one segment. Those of segments in memory only are all smaller.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/id.h"

namespace futured {

inline constexpr std::uint64_t kStoredSegmentsFrom = std::uint64_t{1} << 62;

[[nodiscard]] constexpr bool is_stored(SegmentId id) { return id.value >= kStoredSegmentsFrom; }

// 62 bits of the digest: nobody finds another content for a number that is there. Whoever makes two of one number
// himself is refused the second.
[[nodiscard]] constexpr SegmentId stored_segment(const std::array<std::uint8_t, 32>& digest) {
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < 8; ++i) bits = bits << 8 | digest[i];
  return SegmentId{(bits & (kStoredSegmentsFrom - 1)) | kStoredSegmentsFrom};
}

}  // namespace futured
