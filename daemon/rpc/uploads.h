// Uploads: what was uploaded and not released, and what is being uploaded. No connection stands behind an upload that
// is done, so its user holds it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "base/time.h"
#include "daemon/pool/segment_table.h"
#include "daemon/rpc/open_calls.h"

namespace futured::rpc {

// Any thread. Outlived by the table.
class Uploads {
 public:
  void keep(std::uint32_t owner, SegmentId id, SegmentHold hold, Instant now);
  // Somebody asks for it: its time begins anew.
  void touch(SegmentId id, Instant now);
  // kNotFound: nobody has uploaded it, or it was let go. kPermissionDenied: another user has.
  [[nodiscard]] Status release(std::uint32_t who, SegmentId id);
  // Lets go of what nobody has asked for in limits::kUploadUnusedMs, of a client that died, or forgot; and breaks off
  // what is not done and of which nothing came in limits::kUploadStalledMs.
  void forget_unused(Instant now);

  // An upload begins, goes on, and is over.
  void begin(const std::shared_ptr<OpenCall>& call, Instant now);
  void goes_on(const OpenCall* call, Instant now);
  void ended(const OpenCall* call);

 private:
  struct Upload {
    std::uint32_t owner = 0;
    SegmentHold hold;
    Instant used_at;
  };
  struct Stream {
    std::weak_ptr<OpenCall> call;
    Instant moved_at;
  };
  std::mutex mutex_;                     // guards all below
  std::map<SegmentId, Upload> uploads_;  // bounded by the quota of segments
  std::map<const OpenCall*, Stream> under_way_;
};

}  // namespace futured::rpc
