// Uploads: what was uploaded and not released. No connection stands behind an upload, so its user holds it.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>

#include "base/time.h"
#include "daemon/pool/segment_table.h"

namespace futured::rpc {

// Any thread. Outlived by the table.
class Uploads {
 public:
  void keep(std::uint32_t owner, SegmentId id, SegmentHold hold, Instant now);
  // Somebody asks for it: its time begins anew.
  void touch(SegmentId id, Instant now);
  // kNotFound: nobody has uploaded it, or it was let go. kPermissionDenied: another user has.
  [[nodiscard]] Status release(std::uint32_t who, SegmentId id);
  // Lets go of what nobody has asked for in limits::kUploadUnusedMs: of a client that died, or forgot.
  void forget_unused(Instant now);

 private:
  struct Upload {
    std::uint32_t owner = 0;
    SegmentHold hold;
    Instant used_at;
  };
  std::mutex mutex_;
  std::map<SegmentId, Upload> uploads_;  // bounded by the quota of segments
};

}  // namespace futured::rpc
