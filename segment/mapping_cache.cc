#include "segment/mapping_cache.h"

#include <algorithm>

#include "base/limits.h"

namespace futured {

Result<std::shared_ptr<const Mapping>> MappingCache::get(SegmentId id, Fd descriptor, Instant now) {
  auto segment = adopt_segment(std::move(descriptor));
  if (!segment) return segment.error();
  const auto known = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.id == id && entry.identity == segment->identity && entry.mapping->size() == segment->size;
  });
  if (known != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, known);
    known->used = now;
    return known->mapping;
  }
  auto mapping = map_segment(*segment);
  if (!mapping) return mapping.error();
  entries_.push_front({id, segment->identity, std::make_shared<const Mapping>(std::move(mapping).value()), now});
  if (entries_.size() > limits::kMappingsPerWorkerMax) entries_.pop_back();
  return entries_.front().mapping;
}

void MappingCache::drop_idle(Instant before) {
  while (!entries_.empty() && entries_.back().used < before) entries_.pop_back();
}

}  // namespace futured
