// What a task asks for when it submits a job from within: the request of a CALL. docs/formats/channel.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace futured {

// Views are the caller's. Empty and 0 mean what they mean in a JobSpec of the API.
struct ChildRequest {
  std::string_view task;
  std::string_view queue;
  std::string_view pool;
  std::string_view name;
  std::string_view key;  // idempotency key of the task's own; empty: none
  std::int32_t priority = 0;
  std::uint32_t max_attempts = 0;
  std::int64_t queue_timeout_ms = 0;
  std::int64_t run_timeout_ms = 0;
  std::int64_t total_timeout_ms = 0;
  bool at_most_once = false;
  std::string_view payload;  // encoded parts (base/payload.h), all of them inline

  bool operator==(const ChildRequest&) const = default;
};

// Whether it can be sent at all: a task is named, no word is over limits::kNameBytesMax, no time is negative, the
// payload is within limits::kChildPayloadBytesMax. Queue, pool and task are looked up by the daemon.
[[nodiscard]] Status check_child(const ChildRequest& request);

// At most limits::kChildBytesMax bytes of a request that check_child takes.
[[nodiscard]] std::string encode_child(const ChildRequest& request);

// Whether decode_child takes it.
[[nodiscard]] Status check_encoded_child(std::string_view encoded);

// Views into `encoded`. Refuses what is damaged, of an unknown version, or what check_child refuses.
[[nodiscard]] Result<ChildRequest> decode_child(std::string_view encoded);

}  // namespace futured
