// MappingCache: the segments that a worker keeps mapped, so that a later job on the same array maps and faults nothing.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>

#include "base/fd.h"
#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "segment/memory.h"

namespace futured {

// One thread. A kept mapping pins the segment's memory even after its owner dropped it; therefore the bound of
// limits::kMappingsPerWorkerMax, least recently used first, and drop_idle().
class MappingCache {
 public:
  // The segment that came by `descriptor` as segment `id`, mapped read-only. If the very same memory (id, device and
  // inode) is mapped already, that is given and the descriptor closed. The mapping lives as long as the cache keeps it
  // or any caller shares it.
  [[nodiscard]] Result<std::shared_ptr<const Mapping>> get(SegmentId id, Fd descriptor, Instant now);

  // Forgets what nobody asked for since `before`.
  void drop_idle(Instant before);

  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    SegmentId id;
    SegmentIdentity identity;
    std::shared_ptr<const Mapping> mapping;
    Instant used;
  };

  std::list<Entry> entries_;  // most recently used first; at most a few dozen, so searched in order
};

}  // namespace futured
