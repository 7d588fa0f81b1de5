// Bounds that concern one client process only; those shared with the daemon are in base/limits.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace futured::client {

// Batches sent and not yet acknowledged. While so many are out, the next one gathers: the acknowledgement is the
// clock of batching, so a lone job leaves at once and a flood leaves in few messages. Two keep the daemon busy while
// one is being committed; two more cover the way there and back.
inline constexpr std::size_t kBatchesOutMax = 4;
inline constexpr std::size_t kBatchBytesMax = 1024 * 1024;  // payload bytes of one message; one larger job goes alone
inline constexpr std::size_t kGatheredJobsMax = 64 * 1024;  // then submit() blocks
inline constexpr std::size_t kGatheredBytesMax = 32 * 1024 * 1024;

inline constexpr std::uint32_t kBlockSlotsMin = 4;  // futures that share one lock and one allocation
inline constexpr std::uint32_t kBlockSlotsMax = 512;

inline constexpr std::int64_t kChunkNs = 5'000'000;  // of work in an automatic chunk: a job's own cost is 1/1000 of it
inline constexpr std::size_t kChunkGrowthMax = 8;    // times the last one that was measured
inline constexpr std::size_t kChunksOutMax = 64;     // automatic ones submitted and not given out

inline constexpr std::size_t kWaitCallsMax = 8;  // Wait streams open at once; then they are joined into one

inline constexpr std::int64_t kBackoffFirstMs = 10;  // of reconnecting; doubles
inline constexpr std::int64_t kBackoffLastMs = 1'000;

}  // namespace futured::client
