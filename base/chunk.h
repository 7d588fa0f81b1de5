// A chunk: many calls of one task in one job, so that they share what a job costs. The encoding is
// docs/formats/chunk.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/wire.h"

namespace futured {

// Of the only part of a chunk's payload; of its result with a parameter, see chunk_result_type().
inline constexpr std::string_view kChunkType = "application/x-futured-chunk";

// A call with one inline part.
void append_call(std::string& chunk, std::string_view content_type, std::string_view bytes);

enum class CallStatus : std::uint8_t { kSucceeded = 0, kTaskError = 1, kBadPayload = 2 };

// How one call ended.
struct CallEnd {
  CallStatus status = CallStatus::kSucceeded;
  std::string_view result;       // kSucceeded: encoded parts (payload.h), all of them inline
  std::string_view error_class;  // else
  std::string_view message;
};

void append_end(std::string& ends, const CallEnd& end);

// The ends in the order of the calls, as views into `ends`, which nobody has checked. Nothing after the last one, or
// after the first that is damaged.
class ChunkEnds {
 public:
  explicit ChunkEnds(std::string_view ends) : reader_(ends) {}
  std::optional<CallEnd> next();

 private:
  WireReader reader_;
};

// The content type of a result says how long the calls took in all, which is what the next chunk's size is chosen by.
[[nodiscard]] std::string chunk_result_type(std::int64_t took_ns);
// Nothing when this is not the content type of a chunk's result.
[[nodiscard]] std::optional<std::int64_t> took_ns_of(std::string_view chunk_result_type);

}  // namespace futured
