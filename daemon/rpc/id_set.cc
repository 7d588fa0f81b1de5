#include "daemon/rpc/id_set.h"

#include <algorithm>

namespace futured::rpc {

Result<std::vector<JobRange>> to_ranges(const google::protobuf::RepeatedPtrField<api::IdRange>& asked,
                                        std::uint64_t ids_max) {
  std::vector<JobRange> ranges;
  for (int i = 0; i < asked.size(); ++i) {
    const std::uint64_t first = asked[i].first();
    const std::uint64_t last = asked[i].last() != 0 ? asked[i].last() : first;
    const std::string field = "ids[" + std::to_string(i) + "]";
    if (first == 0) return invalid(field + ".first", "0 is no job");
    if (last < first) return invalid(field + ".last", std::to_string(last) + " is below " + std::to_string(first));
    if (last - first >= ids_max) return too_much(field, "more than " + std::to_string(ids_max) + " ids");
    if (last == UINT64_MAX) return invalid(field + ".last", std::to_string(last) + " is no job");
    ranges.push_back({first, last + 1});
  }
  std::ranges::sort(ranges, {}, &JobRange::first);
  std::vector<JobRange> joined;
  std::uint64_t ids = 0;
  for (const JobRange& range : ranges) {
    if (!joined.empty() && range.first <= joined.back().end) {
      const std::uint64_t end = std::max(joined.back().end, range.end);
      ids += end - joined.back().end;
      joined.back().end = end;
    } else {
      ids += range.size();
      joined.push_back(range);
    }
    if (ids > ids_max) return too_much("ids", "more than " + std::to_string(ids_max) + " ids");
  }
  return joined;
}

std::vector<JobRange> ranges_of(std::vector<JobId> ids) {
  std::ranges::sort(ids);
  std::vector<JobRange> ranges;
  for (const JobId id : ids) {
    if (ranges.empty() || ranges.back().end != id.value) ranges.push_back({id.value, id.value});
    ++ranges.back().end;
  }
  return ranges;
}

IdSet::IdSet(std::vector<JobRange> ranges) : ranges_(std::move(ranges)) {
  begins_.reserve(ranges_.size());
  for (const JobRange& range : ranges_) {
    begins_.push_back(total_);
    total_ += range.size();
  }
  taken_.resize(total_);
  left_ = total_;
}

std::uint64_t IdSet::place_of(JobId id) const {
  const auto after = std::ranges::upper_bound(ranges_, id.value, {}, &JobRange::first);
  if (after == ranges_.begin()) return total_;
  const auto range = after - 1;
  if (!range->contains(id)) return total_;
  return begins_[static_cast<std::size_t>(range - ranges_.begin())] + (id.value - range->first);
}

JobId IdSet::id_at(std::uint64_t place) const {
  const auto range = static_cast<std::size_t>(std::ranges::upper_bound(begins_, place) - begins_.begin() - 1);
  return JobId{ranges_[range].first + (place - begins_[range])};
}

bool IdSet::has(JobId id) const {
  const std::uint64_t place = place_of(id);
  return place != total_ && !taken_[place];
}

bool IdSet::take(JobId id) {
  const std::uint64_t place = place_of(id);
  if (place == total_ || taken_[place]) return false;
  taken_[place] = true;
  --left_;
  return true;
}

std::vector<JobId> IdSet::next(std::size_t most) {
  std::vector<JobId> ids;
  for (; cursor_ < total_ && ids.size() < most; ++cursor_) {
    if (!taken_[cursor_]) ids.push_back(id_at(cursor_));
  }
  return ids;
}

}  // namespace futured::rpc
