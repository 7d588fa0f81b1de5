#include "daemon/core/result_cache.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace futured {

ResultCache::ResultCache(CacheBounds bounds, std::vector<CacheEntryRow> stored) : bounds_(bounds) {
  for (CacheEntryRow& row : stored) insert(std::move(row));
  make_room();
}

const ResultCache::Entry* ResultCache::find(const CacheKey& key) const {
  const auto found = by_key_.find(key);
  return found != by_key_.end() ? find(found->second) : nullptr;
}

const ResultCache::Entry* ResultCache::find(JobId job) const {
  const auto found = entries_.find(job);
  return found != entries_.end() ? &found->second : nullptr;
}

const char* ResultCache::refuses(std::uint64_t bytes) const {
  if (bounds_.bytes_max == 0 || bounds_.entries_max == 0) return "the cache keeps nothing, as [cache] says";
  return bytes > bounds_.bytes_max ? "it is larger than the whole cache" : nullptr;
}

// The row itself is written by the step that follows: so an entry that goes in the same turn is never written.
void ResultCache::add(CacheEntryRow row, std::shared_ptr<const CachedOutcome> outcome) {
  const JobId job = row.job;
  added_.push_back(job);
  insert(std::move(row));
  keep_hot(job, std::move(outcome));
  make_room();
}

void ResultCache::insert(CacheEntryRow row) {
  if (const auto old = by_key_.find(row.key); old != by_key_.end()) drop(entries_.find(old->second));
  by_key_[row.key] = row.job;
  by_use_.emplace(row.used_at, row.job);
  if (row.expires_at.us != 0) by_expiry_.emplace(row.expires_at, row.job);
  figures_.bytes += row.bytes;
  Share& share = shares_[row.key.owner];
  ++share.entries;
  share.bytes += row.bytes;
  const JobId job = row.job;
  entries_[job].row = std::move(row);
}

void ResultCache::use(JobId job, WallTime now) {
  const auto found = entries_.find(job);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  by_use_.erase({entry.row.used_at, job});
  entry.row.used_at = std::max(entry.row.used_at, now);
  ++entry.row.hits;
  ++figures_.hits;
  by_use_.emplace(entry.row.used_at, job);
  if (!std::exchange(entry.is_used, true)) used_.push_back(job);
  if (entry.hot) hot_.splice(hot_.end(), hot_, entry.hot_place);
}

void ResultCache::keep_hot(JobId job, std::shared_ptr<const CachedOutcome> outcome) {
  const auto found = entries_.find(job);
  if (found == entries_.end() || found->second.hot || outcome->result.size() > limits::kCacheHotResultBytesMax) return;
  Entry& entry = found->second;
  entry.hot = std::move(outcome);
  entry.hot_place = hot_.insert(hot_.end(), job);
  hot_bytes_ += entry.row.bytes;
  while (hot_bytes_ > limits::kCacheHotBytesMax) cool(entries_.at(hot_.front()));
}

void ResultCache::cool(Entry& entry) {
  if (!entry.hot) return;
  hot_bytes_ -= entry.row.bytes;
  hot_.erase(entry.hot_place);
  entry.hot = nullptr;
}

void ResultCache::remove(JobId job) {
  if (const auto found = entries_.find(job); found != entries_.end()) drop(found);
}

void ResultCache::drop(std::map<JobId, Entry>::iterator entry) {
  const CacheEntryRow& row = entry->second.row;
  cool(entry->second);
  by_key_.erase(row.key);
  by_use_.erase({row.used_at, row.job});
  by_expiry_.erase({row.expires_at, row.job});
  figures_.bytes -= row.bytes;
  const auto share = shares_.find(row.key.owner);
  share->second.bytes -= row.bytes;
  if (--share->second.entries == 0) shares_.erase(share);
  leaving_.emplace_back(row.job);
  entries_.erase(entry);
}

void ResultCache::make_room() {
  while (!entries_.empty() && (figures_.bytes > bounds_.bytes_max || entries_.size() > bounds_.entries_max)) {
    drop(entries_.find(by_use_.begin()->second));
    ++figures_.evicted;
  }
}

void ResultCache::clear(const event::ClearCache& asked, bool every_user) {
  Cleared cleared{asked.token, 0};
  for (auto at = entries_.begin(); at != entries_.end();) {
    const auto entry = at++;
    if (asked.entry.is_set() && entry->first != asked.entry) continue;
    if (!asked.means(entry->second.row.key, every_user)) continue;
    drop(entry);
    ++cleared.removed;
  }
  leaving_.emplace_back(cleared);
}

bool ResultCache::step(WallTime now, Effects& effects) {
  const auto is_due = [&] { return !by_expiry_.empty() && by_expiry_.begin()->first <= now; };
  for (std::size_t i = 0; i < limits::kCacheStepEntries && is_due(); ++i) {
    drop(entries_.find(by_expiry_.begin()->second));
    ++figures_.evicted;
  }
  for (const JobId job : std::exchange(added_, {})) {
    if (const Entry* const entry = find(job)) effects.rows.cache_added.push_back(entry->row);
  }
  for (const JobId job : std::exchange(used_, {})) {
    const auto found = entries_.find(job);
    if (found == entries_.end()) continue;
    found->second.is_used = false;
    effects.rows.cache_used.push_back({job, found->second.row.hits, found->second.row.used_at});
  }
  for (std::size_t removed = 0; !leaving_.empty() && removed < limits::kCacheStepEntries; leaving_.pop_front()) {
    if (const Cleared* const cleared = std::get_if<Cleared>(&leaving_.front())) {
      effects.caches_cleared.push_back({cleared->token, cleared->removed});
    } else {
      effects.rows.cache_removed.push_back(std::get<JobId>(leaving_.front()));
      ++removed;
    }
  }
  return !leaving_.empty() || is_due();
}

CacheFigures ResultCache::figures(std::optional<std::uint32_t> owner) const {
  CacheFigures figures = figures_;
  figures.entries = entries_.size();
  if (owner) {
    const auto share = shares_.find(*owner);
    figures.entries = share != shares_.end() ? share->second.entries : 0;
    figures.bytes = share != shares_.end() ? share->second.bytes : 0;
  }
  return figures;
}

std::vector<CacheEntryRow> ResultCache::list(const Listing& wanted) const {
  std::vector<CacheEntryRow> rows;
  auto at = wanted.before == 0 ? entries_.end() : entries_.lower_bound(JobId{wanted.before});
  while (at != entries_.begin() && rows.size() < wanted.entries_max) {
    const CacheEntryRow& row = (--at)->second.row;
    if (wanted.owner && row.key.owner != *wanted.owner) continue;
    if (wanted.task && row.key.task != *wanted.task) continue;
    rows.push_back(row);
  }
  return rows;
}

void ResultCache::audit() const {
  std::uint64_t bytes = 0;
  std::uint64_t hot = 0;
  for (const auto& [job, entry] : entries_) {
    bytes += entry.row.bytes;
    hot += entry.hot ? entry.row.bytes : 0;
    const auto named = by_key_.find(entry.row.key);
    FUTURED_CHECK(named != by_key_.end() && named->second == job, "an entry is found by its key");
    FUTURED_CHECK(by_use_.contains({entry.row.used_at, job}), "an entry has its place among those that may go");
  }
  FUTURED_CHECK(by_key_.size() == entries_.size() && by_use_.size() == entries_.size(), "entries are listed once");
  FUTURED_CHECK(bytes == figures_.bytes && hot == hot_bytes_, "the cache counts its bytes");
  FUTURED_CHECK(bytes <= bounds_.bytes_max && entries_.size() <= bounds_.entries_max, "the cache keeps its bounds");
}

}  // namespace futured
