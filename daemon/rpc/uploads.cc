#include "daemon/rpc/uploads.h"

#include <chrono>
#include <string>
#include <utility>

#include "base/limits.h"

namespace futured::rpc {

void Uploads::keep(std::uint32_t owner, SegmentId id, SegmentHold hold, Instant now) {
  const std::lock_guard lock(mutex_);
  uploads_.insert_or_assign(id, Upload{owner, std::move(hold), now});
}

void Uploads::touch(SegmentId id, Instant now) {
  const std::lock_guard lock(mutex_);
  if (const auto found = uploads_.find(id); found != uploads_.end()) found->second.used_at = now;
}

Status Uploads::release(std::uint32_t who, SegmentId id) {
  const std::lock_guard lock(mutex_);
  const auto found = uploads_.find(id);
  if (found == uploads_.end()) {
    return Error{ErrorCode::kNotFound, "segment " + std::to_string(id.value) +
                                           " is no upload that is held; what was put through the segment socket is "
                                           "given up there, by DROP or by closing the connection"};
  }
  if (who != 0 && found->second.owner != who) {
    return Error{ErrorCode::kPermissionDenied, "segment " + std::to_string(id.value) + " belongs to another user"};
  }
  uploads_.erase(found);
  return {};
}

void Uploads::forget_unused(Instant now) {
  const std::lock_guard lock(mutex_);
  std::erase_if(uploads_, [&](const auto& entry) {
    return now - entry.second.used_at > std::chrono::milliseconds(limits::kUploadUnusedMs);
  });
}

}  // namespace futured::rpc
