// ResultCache: which outcomes are kept for jobs that ask the same, and which go first when there are too many. The
// outcomes themselves lie in the store; those that are small and were used last are in memory, too.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/limits.h"
#include "daemon/core/effects.h"
#include "daemon/core/event.h"
#include "daemon/core/rows.h"

namespace futured {

struct CacheBounds {
  std::uint64_t bytes_max = limits::kCacheBytesDefault;  // 0: nothing is kept
  std::uint64_t entries_max = limits::kCacheEntriesDefault;
};

// Of lookups and evictions since the start; of entries now.
struct CacheFigures {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t joined = 0;
  std::uint64_t evicted = 0;  // for want of room, or out of date
};

// One thread, deterministic: part of the scheduler.
class ResultCache {
 public:
  struct Entry {
    CacheEntryRow row;
    std::shared_ptr<const CachedOutcome> hot;  // null: only the store has it
    std::list<JobId>::iterator hot_place;
    bool is_used = false;  // since the last step
  };

  ResultCache(CacheBounds bounds, std::vector<CacheEntryRow> stored);

  [[nodiscard]] const Entry* find(const CacheKey& key) const;
  [[nodiscard]] const Entry* find(JobId job) const;
  // Null, or why an outcome of so many bytes is not kept.
  [[nodiscard]] const char* refuses(std::uint64_t bytes) const;

  // Takes the place of one with the same key; the least recently used give way. Not refused.
  void add(CacheEntryRow row, std::shared_ptr<const CachedOutcome> outcome);
  void use(JobId job, WallTime now);
  // Stays in memory while there is room.
  void keep_hot(JobId job, std::shared_ptr<const CachedOutcome> outcome);
  void remove(JobId job);
  // Those that are said go; `token` is answered when they are off the disk.
  void clear(const event::ClearCache& asked, bool every_user);

  // What became out of date goes, and rows of what went: a bounded number. True: there is more to do.
  [[nodiscard]] bool step(WallTime now, Effects& effects);

  void count_miss() { ++figures_.misses; }
  void count_joined() { ++figures_.joined; }
  // With an owner: of entries and bytes only his.
  [[nodiscard]] CacheFigures figures(std::optional<std::uint32_t> owner = {}) const;
  [[nodiscard]] const CacheBounds& bounds() const { return bounds_; }

  // Newest first, at most so many below `before` (0: from the newest). `owner` empty: of every user; `task` empty: any.
  struct Listing {
    std::optional<std::uint32_t> owner;
    std::optional<std::string> task;
    std::uint64_t before = 0;
    std::size_t entries_max = 0;
  };
  [[nodiscard]] std::vector<CacheEntryRow> list(const Listing& wanted) const;

  void audit() const;

 private:
  struct Cleared {
    Token token = 0;
    std::uint64_t removed = 0;
  };

  void insert(CacheEntryRow row);
  void drop(std::map<JobId, Entry>::iterator entry);
  void cool(Entry& entry);
  void make_room();

  struct Share {
    std::uint64_t entries = 0;
    std::uint64_t bytes = 0;
  };

  CacheBounds bounds_;
  CacheFigures figures_;
  std::map<std::uint32_t, Share> shares_;  // by owner, of those who have any
  std::map<JobId, Entry> entries_;
  std::unordered_map<CacheKey, JobId, CacheKeyHash> by_key_;
  std::set<std::pair<WallTime, JobId>> by_use_;     // the first goes first
  std::set<std::pair<WallTime, JobId>> by_expiry_;  // of those that expire
  std::list<JobId> hot_;                            // the first is the longest unused
  std::uint64_t hot_bytes_ = 0;
  std::vector<JobId> used_;                           // since the last step
  std::vector<JobId> added_;                          // likewise: rows to write
  std::deque<std::variant<JobId, Cleared>> leaving_;  // rows to remove, and who is told when that is done
};

}  // namespace futured
