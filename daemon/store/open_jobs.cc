#include "daemon/store/open_jobs.h"

#include <algorithm>
#include <bit>

namespace futured {

namespace {

bool is_empty(const std::array<std::uint64_t, 8>& chunk) {
  return std::ranges::all_of(chunk, [](std::uint64_t word) { return word == 0; });
}

}  // namespace

void OpenJobs::open(std::uint64_t id) {
  note(id);
  const std::uint64_t number = id / kChunkIds;
  if (number != last_number_) {
    if (last_ != nullptr && is_empty(*last_)) chunks_.erase(last_number_);
    last_ = &chunks_[number];
    last_number_ = number;
  }
  (*last_)[id % kChunkIds / 64] |= std::uint64_t{1} << (id % 64);
}

void OpenJobs::settle(std::uint64_t id) {
  const std::uint64_t number = id / kChunkIds;
  const auto found = chunks_.find(number);
  if (found == chunks_.end()) return;
  found->second[id % kChunkIds / 64] &= ~(std::uint64_t{1} << (id % 64));
  // The chunk in use stays: jobs that are spilled at birth open and settle one by one.
  if (number != last_number_ && is_empty(found->second)) chunks_.erase(found);
}

bool OpenJobs::contains(std::uint64_t id) const {
  const auto found = chunks_.find(id / kChunkIds);
  return found != chunks_.end() && (found->second[id % kChunkIds / 64] >> (id % 64) & 1) != 0;
}

std::uint64_t OpenJobs::first_from(std::uint64_t id) const {
  std::uint64_t from = id;
  for (auto at = chunks_.lower_bound(id / kChunkIds); at != chunks_.end(); ++at) {
    const std::uint64_t base = at->first * kChunkIds;
    from = std::max(from, base);
    for (std::uint64_t word = (from - base) / 64; word < at->second.size(); ++word) {
      std::uint64_t bits = at->second[word];
      if (base + word * 64 < from) bits &= ~std::uint64_t{0} << (from % 64);
      if (bits != 0) return base + word * 64 + static_cast<std::uint64_t>(std::countr_zero(bits));
    }
  }
  return 0;
}

}  // namespace futured
