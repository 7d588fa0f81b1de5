#include "daemon/rpc/uploads.h"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

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
  std::vector<std::shared_ptr<OpenCall>> stalled;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(uploads_, [&](const auto& entry) {
      return now - entry.second.used_at > std::chrono::milliseconds(limits::kUploadUnusedMs);
    });
    for (const auto& [call, stream] : under_way_) {
      if (now - stream.moved_at <= std::chrono::milliseconds(limits::kUploadStalledMs)) continue;
      if (auto held = stream.call.lock()) stalled.push_back(std::move(held));
    }
  }
  for (const auto& call : stalled) {
    call->stop({ErrorCode::kDeadlineExceeded, "the upload was broken off: nothing of it came for more than " +
                                                  std::to_string(limits::kUploadStalledMs / 1000) +
                                                  " s, and others want room; send it again"});
  }
}

void Uploads::begin(const std::shared_ptr<OpenCall>& call, Instant now) {
  const std::lock_guard lock(mutex_);
  under_way_[call.get()] = {call, now};
}

void Uploads::goes_on(const OpenCall* call, Instant now) {
  const std::lock_guard lock(mutex_);
  if (const auto found = under_way_.find(call); found != under_way_.end()) found->second.moved_at = now;
}

void Uploads::ended(const OpenCall* call) {
  const std::lock_guard lock(mutex_);
  under_way_.erase(call);
}

}  // namespace futured::rpc
