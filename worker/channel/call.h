// CALL and REPLY: what a run asks of the daemon, and the answer. docs/formats/channel.md.
//
// A run has one call under way at a time, and one REPLY record, which the answer to its next call is written over: a
// run that calls for ever needs no more room in the request ring than one that calls once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "worker/channel/layout.h"

namespace futured::channel {

struct CallRecord {  // followed by request_bytes: a job to be submitted (base/child.h)
  RecordHeader header;
  WireFence fence;
  std::uint64_t number;  // of the call: 1 for the run's first, ascending
  std::uint32_t request_bytes;
  std::uint32_t reserved;
};
static_assert(std::is_standard_layout_v<CallRecord> && sizeof(CallRecord) == 40);

// The whole record, with room for its text. Every run that is offered owns so much of the request ring until its DONE
// is read, so that its calls can be answered however full the ring is.
inline constexpr std::size_t kReplyBytes = 768;

struct ReplyRecord {  // followed by class and message
  RecordHeader header;
  WireFence fence;
  Word64 number;      // of the call that it answers; stored last
  std::uint64_t job;  // the job that was made; 0: refused
  std::uint32_t class_bytes;
  std::uint32_t message_bytes;
};
static_assert(std::is_standard_layout_v<ReplyRecord> && sizeof(ReplyRecord) == 48);
static_assert(kReplyBytes % 8 == 0);

inline constexpr std::size_t kReplyTextBytesMax = kReplyBytes - sizeof(ReplyRecord);

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
