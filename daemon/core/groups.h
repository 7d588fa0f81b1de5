// Limits and who waits for them: semaphores, limits of queues and of their keys, and the groups of jobs that wait.
//
// All ready jobs of a lane that ask for the same (limit key, needs, fairness key) are one group: if its first job
// may not start, none may. So a blocked job never hides others behind it, is never looked at again before something is
// freed, and what a turn costs depends on groups, not on jobs. A group is open, or waits for one thing at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/core/job.h"
#include "daemon/core/token_bucket.h"

namespace futured {

struct Group;
struct QueueState;

// Groups that wait for the same thing, the one that came first in front.
using Waiting = std::map<std::uint64_t, Group*>;

struct Semaphore {
  std::string name;
  std::uint32_t permits = 0;
  bool exists = false;     // false: it was removed, or was never made, and jobs that need it are there
  std::uint64_t held = 0;  // by attempts. Above `permits` after it shrank, and after a restart
  Waiting waiting;
  Waiting too_large;      // for a size that it does not have
  bool is_freed = false;  // listed in Freed
};

// Of one limit key of a queue.
struct KeyLimits {
  QueueState* queue = nullptr;
  std::string key;
  std::uint32_t running = 0;  // offered or taken
  std::optional<TokenBucket> bucket;
  Instant due = Instant::never();  // when it is listed in QueueLimits::due
  Waiting waiting;
  bool is_freed = false;  // listed in Freed
};

struct QueueLimits {
  std::uint64_t running = 0;  // offered or taken, in all pools
  std::optional<TokenBucket> bucket;
  Instant bucket_due = Instant::never();  // somebody waits for its next token
  std::deque<Lane*> lanes;                // that wait for room, the first in front
  bool has_keys = false;                  // some limit is by key
  Instant begun;                          // buckets of keys are empty then; unset: they begin full
  std::unordered_map<std::string, std::unique_ptr<KeyLimits>> keys;
  std::size_t keys_swept_at = 0;                 // how many there may be before idle ones go
  std::set<std::pair<Instant, KeyLimits*>> due;  // tokens of keys that somebody waits for
  Instant timer_at = Instant::never();           // one for this time is set
  bool is_freed = false;                         // listed in Freed
};

// Where somebody may go on: looked at before work is handed out.
struct Freed {
  std::vector<QueueState*> queues;
  std::vector<KeyLimits*> keys;
  std::vector<Semaphore*> semaphores;
};

struct FairKey;

struct Group {
  enum class State : std::uint8_t {
    kEmpty,       // has no ready job
    kOpen,        // listed in its fairness key
    kKey,         // waits for its limit key
    kSemaphores,  // waits for permits: listed in every semaphore that it needs
    kTooLarge,    // needs more than a semaphore has: listed there
  };

  Lane* lane = nullptr;
  FairKey* fair = nullptr;
  std::string limit_key;  // as far as its queue limits by key
  std::vector<std::pair<Semaphore*, std::uint32_t>> needs;
  State state = State::kEmpty;
  std::uint64_t ticket = 0;          // its place among those that wait; kept until one of its jobs has started
  KeyLimits* awaits = nullptr;       // kKey
  Semaphore* awaits_size = nullptr;  // kTooLarge
  struct Rank {
    Job* first = nullptr;
    Job* last = nullptr;
    std::map<std::int64_t, Job*> came_back;  // by order: those that were put among others
  };
  std::map<std::int64_t, Rank> ranks;  // none is empty
  std::size_t size = 0;

  [[nodiscard]] Job* first() const { return ranks.empty() ? nullptr : ranks.begin()->second.first; }

  void insert(Job& job, const Lane& in);
  void remove(Job& job, const Lane& in);
};

// The open groups of one fairness key of a lane.
struct FairKey {
  std::set<std::pair<OrderKey, Group*>> open;  // by the key of the first job
  std::uint64_t turn = 0;                      // jobs that it has started, put forward while it had none
  std::optional<OrderKey> listed;              // its place in Groups::open: (turn, this)
};

struct GroupKey {
  std::string limit_key;
  std::string fairness_key;
  std::vector<Need> needs;

  auto operator<=>(const GroupKey&) const = default;
};

struct Groups {
  using Turn = std::pair<std::uint64_t, OrderKey>;

  std::map<GroupKey, std::unique_ptr<Group>> all;
  std::map<std::string, std::unique_ptr<FairKey>> fair_keys;
  std::map<Turn, FairKey*> open;  // fairness keys with an open group; whose turn it is in front
  std::uint64_t clock = 0;        // the turn of the last start
  std::size_t open_jobs = 0;
  std::size_t swept_at = 0;

  [[nodiscard]] Group* next_group() const { return open.begin()->second->open.begin()->second; }
  [[nodiscard]] Job* next() const { return next_group()->first(); }
};

}  // namespace futured
