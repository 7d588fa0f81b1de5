// What a run asks of the daemon, and the answer. A run has one call under way at a time. docs/formats/channel.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "worker/channel/layout.h"

namespace futured::channel {

struct CallRecord {  // followed by request_bytes: base/child.h, or base/wait_call.h
  RecordHeader header;
  WireFence fence;
  std::uint64_t number;  // of the call: 1 for the run's first, ascending
  std::uint32_t request_bytes;
  std::uint32_t reserved;
};
static_assert(std::is_standard_layout_v<CallRecord> && sizeof(CallRecord) == 40);

inline constexpr std::size_t kReplyTextBytesMax = sizeof(ReplyPlace::text);

// Names one call of all: the run that makes it, and its number there.
struct CallId {
  Fence fence;
  std::uint64_t number = 0;

  bool operator==(const CallId&) const = default;
};

// As the daemon gives it.
struct Answer {
  JobId job;                     // unset: refused
  std::string_view error_class;  // both are cut to kReplyTextBytesMax together
  std::string_view error_message;
};

// As the worker gets it: a copy.
struct Reply {
  JobId job;  // unset: refused
  std::string error_class;
  std::string error_message;
};

}  // namespace futured::channel
