// What the store keeps of the result cache: keys of jobs that have not ended, and outcomes for those that ask the same.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "daemon/core/types.h"

namespace futured {

// Jobs with equal keys have the same outcome. One user's outcomes are never another's.
struct CacheKey {
  std::uint32_t owner = 0;  // uid
  std::string task;         // empty: a command
  std::string version;      // of the task, as its pool told it when the job came; of a command: empty
  std::string digest;       // SHA-256 of the arguments, or of the key that the client gave; 32 bytes

  auto operator<=>(const CacheKey&) const = default;
};

struct CacheKeyHash {
  std::size_t operator()(const CacheKey& key) const noexcept {
    return std::hash<std::string>{}(key.digest) ^ std::hash<std::string>{}(key.task) ^ key.owner;
  }
};

// The key of a job that has not ended.
struct CacheKeyRow {
  JobId job;
  std::shared_ptr<const CacheKey> key;
};

// An outcome that is kept. It is named by the job that had it, and outlives that job's row.
struct CacheEntryRow {
  JobId job;
  CacheKey key;
  JobState state = JobState::kSucceeded;
  std::uint64_t bytes = 0;  // what it counts against the cache's bound
  std::uint64_t hits = 0;
  WallTime created_at;
  WallTime expires_at;  // 0: never
  WallTime used_at;
  std::string name = {};  // the key that the client gave; empty: the arguments are its key

  bool operator==(const CacheEntryRow&) const = default;
};

// An entry was used, so it is evicted later.
struct CacheUseRow {
  JobId job;
  std::uint64_t hits = 0;
  WallTime used_at;
};

struct CachedOutcome {
  JobState state = JobState::kSucceeded;
  std::shared_ptr<const Cause> cause;  // null: nothing to tell
  std::string result;                  // encoded parts
};

// One for each entry that was asked for, in that order; null: it is not there, or a file of it is lost.
using CacheAnswer = std::vector<std::shared_ptr<const CachedOutcome>>;

}  // namespace futured
