// The parts that the scheduler is made of: specs, lanes, queues, pools, slots and timers.
#pragma once

#include <algorithm>
#include <array>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/limits.h"
#include "daemon/core/callbacks.h"
#include "daemon/core/event.h"
#include "daemon/core/groups.h"
#include "daemon/core/job.h"
#include "daemon/core/rows.h"

namespace futured {

struct PoolState;
struct Lane;

// How many of a queue's jobs started in each of the last seconds.
class StartCounts {
 public:
  static constexpr std::int64_t kSeconds = 10;

  void add(Instant now) {
    roll(now);
    ++counts_[static_cast<std::size_t>(second_ % kSlots)];
  }
  // Over the last full seconds; the one that is under way would be counted short.
  [[nodiscard]] double per_second(Instant now) const {
    StartCounts counts = *this;
    counts.roll(now);
    std::uint64_t sum = 0;
    for (std::int64_t ago = 1; ago <= kSeconds; ++ago) {
      if (counts.second_ >= ago) sum += counts.counts_[static_cast<std::size_t>((counts.second_ - ago) % kSlots)];
    }
    return static_cast<double>(sum) / static_cast<double>(kSeconds);
  }

 private:
  static constexpr std::int64_t kSlots = kSeconds + 1;

  void roll(Instant now) {
    const std::int64_t second = std::max(now.ns / 1'000'000'000, second_);
    const std::int64_t from = std::max(second_ + 1, second - kSlots + 1);
    for (std::int64_t at = from; at <= second; ++at) counts_[static_cast<std::size_t>(at % kSlots)] = 0;
    second_ = second;
  }

  std::array<std::uint32_t, kSlots> counts_{};
  std::int64_t second_ = 0;
};

// How long the last jobs of a queue waited for their first start.
class StartWaits {
 public:
  void add(Duration wait) {
    const auto us = static_cast<float>(std::max<std::int64_t>(wait.count(), 0) / 1000);
    if (us_.size() < limits::kQueueWaitsKept) {
      us_.push_back(us);
    } else {
      us_[next_++ % limits::kQueueWaitsKept] = us;
    }
  }
  [[nodiscard]] const std::vector<float>& us() const { return us_; }

 private:
  std::vector<float> us_;
  std::size_t next_ = 0;
};

// A submit that waits for room in its queue, and how much it needs.
struct HeldSubmit {
  event::Submit submit;
  std::uint64_t jobs = 0;
  std::uint64_t bytes = 0;
};

struct QueueState {
  QueueRow row;
  std::unique_ptr<QueueLimits> limits;  // null: its options limit nothing
  std::vector<Lane*> lanes;
  std::uint64_t jobs = 0;       // unfinished
  std::uint64_t bytes = 0;      // of their payloads
  std::size_t bytes_at = 0;     // place among Batch::queue_bytes, while the last entry of this queue is there
  std::list<HeldSubmit> held;   // wait for room, in this order
  bool asks_keys = false;       // the one that is before them has room, and its keys are being looked up
  bool purging = false;         // Scheduler::purges_ has it
  std::uint64_t succeeded = 0;  // since the start, as the three below
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t timed_out = 0;
  StartCounts starts;
  StartWaits waits;

  // Nothing of it is handed out.
  [[nodiscard]] bool is_halted() const { return row.paused || purging; }
};

struct PoolState;
struct Lane;

// An interned JobSpec and where it leads.
struct SpecState {
  SpecId id;
  std::shared_ptr<const JobSpec> shared;
  const JobSpec& spec;  // *shared
  std::vector<CallbackTerms> callbacks;
  Lane* lane = nullptr;
  std::optional<std::uint32_t> task;  // index in its pool; commands: 0; empty: the pool does not have it now
  std::uint64_t jobs = 0;             // resident jobs that point here
  Group* group = nullptr;             // of its lane; null: not looked up yet
  // The store keeps its row, whether a job names it or not, until it is told that it was forgotten.
  bool is_held = false;

  [[nodiscard]] bool has_whole_batch() const { return std::ranges::any_of(callbacks, &CallbackTerms::whole_batch); }
  // How far its batches are is kept.
  [[nodiscard]] bool counts_batch() const { return spec.max_failures.has_value() || has_whole_batch(); }
};

// The jobs of one queue for one pool, in their order. What is resident lies in `ready`; what is not lies in the store's
// backlog, and all of it sorts after everything resident, that is after `boundary`.
struct Lane {
  QueueState* queue = nullptr;
  PoolState* pool = nullptr;

  std::map<std::int64_t, JobList> ready;  // by rank; in a list by order
  std::map<OrderKey, Job*> came_back;     // ready ones that were put among others, not behind them
  std::size_t ready_jobs = 0;
  std::size_t resident_jobs = 0;   // ready, delayed, blocked, offered or taken
  std::size_t blocked_jobs = 0;    // of them
  std::size_t lending_jobs = 0;    // that run and wait for others (waits.cc)
  std::size_t following_jobs = 0;  // that wait for the outcome of another one (caching.cc)
  std::uint64_t delayed_jobs = 0;  // on disk, until their time comes

  std::uint64_t backlog_jobs = 0;       // rows in the store that no claim has brought in
  std::optional<OrderKey> boundary;     // backlog_jobs > 0: nothing resident lies beyond it; empty: nothing is resident
  bool claiming = false;                // a Claim is under way
  std::optional<OrderKey> claim_after;  // its range begins behind this key
  bool claim_is_void = false;           // the boundary moved back meanwhile
  std::optional<OrderKey> spilled_first;      // smallest key spilled meanwhile
  std::unordered_set<JobId> ended_meanwhile;  // of its range

  bool runnable = false;  // listed in its pool
  bool held = false;      // waits among QueueLimits::lanes
  bool has_needs = false;
  std::unique_ptr<Groups> groups;  // null: its jobs start in their order, whatever their keys and needs

  // Jobs that wait for others keep none from coming in: it may be what they wait for.
  [[nodiscard]] std::size_t in_window() const { return resident_jobs - blocked_jobs - lending_jobs; }
  [[nodiscard]] bool is_limited() const { return groups != nullptr || queue->limits != nullptr; }
  // Jobs that nothing of their own keeps from starting, as far as was looked.
  [[nodiscard]] std::size_t open_jobs() const { return groups != nullptr ? groups->open_jobs : ready_jobs; }
  [[nodiscard]] bool has_next() const { return groups != nullptr ? !groups->open.empty() : ready_jobs > 0; }
  // ready_jobs > 0: in the lane's order, whether it may start or not.
  [[nodiscard]] Job* first() const { return ready.begin()->second.front(); }
  // has_next().
  [[nodiscard]] Job* next() const { return groups != nullptr ? groups->next() : first(); }
  [[nodiscard]] OrderKey key_of(const Job& job) const {
    return order_key(queue->row.discipline, job.spec->spec, job.id, job.waits_since());
  }
  [[nodiscard]] BacklogKey backlog_key(OrderKey key) const;
};

struct Slot {
  SlotId id;
  PoolState* pool = nullptr;
  std::uint32_t generation = 0;
  std::int32_t worker_pid = 0;
  bool wanted = true;      // it has a worker, or is to have one
  bool ready = false;      // a worker takes offers
  bool exclusive = false;  // holds an at-most-once job: gets nothing beside it
  bool killing = false;    // asked to end
  bool stalled = false;    // because it took nothing of what it was offered
  bool retiring = false;   // its worker has tasks of before a reload: gets nothing more, and is replaced
  bool full = false;       // its channel had no room for the last offer; until a job is done or the next head check
  JobList offers;          // oldest first
  Duration mean{0};        // smoothed length of its jobs
  Instant alive_told;      // when those who watch were told last that a job of it is alive
  Instant progress;        // last offer to the empty slot, or last done
  bool check_armed = false;
  std::size_t report_at = 0;           // place among Effects::changes of the last report of its jobs, while it is there
  std::uint32_t failures = 0;          // workers lost in a row without a job done
  std::uint64_t memory_bytes_max = 0;  // that its worker has, or will come with; 0: its pool's
  std::vector<Fence> strays;           // runs of an earlier daemon that no store knows, asked to stop
  std::uint32_t lent = 0;              // jobs of it that wait for others
  bool is_spare = false;               // of a worker beyond the pool's size
  bool is_listed = true;               // among its pool's slots; a spare one only while it is needed
};

struct PoolState {
  PoolRow row;
  bool commands = false;
  bool ready = false;  // its tasks are known
  std::vector<std::string> tasks;
  std::vector<std::string> versions;  // of them, in their order, or empty
  std::vector<Slot*> slots;           // those of its size, then such spare ones as it has just now
  std::vector<Slot*> spares;          // for workers that stand in for those whose jobs wait (waits.cc)
  std::size_t own_slots = 0;          // of its size
  std::size_t lent = 0;               // jobs that wait for others
  std::vector<Lane*> runnable;
  Slot* reserved = nullptr;    // runs dry for a job that must be alone in its slot
  std::size_t next_lane = 0;   // queues take turns
  std::uint32_t turns = 0;     // that it has had, of as many as its queue weighs
  std::size_t ready_jobs = 0;  // of all its lanes
  std::size_t retiring = 0;    // slots
  std::size_t workers = 0;     // that are wanted
  std::size_t workers_min = 0;
  std::size_t slots_per_worker = 1;
  std::size_t runs_per_slot = 1;       // jobs at once; above 1 a worker takes all that it is offered
  std::uint64_t memory_bytes_max = 0;  // of a worker; 0: no limit
  std::size_t raised_slots = 0;        // with a limit of their own
  Duration idle{0};
  bool is_starved = false;  // jobs were ready, and no slot had room
  bool grow_armed = false;
  bool shrink_armed = false;

  // The slots of one of its workers, counted from 0.
  [[nodiscard]] std::span<Slot* const> of_worker(std::size_t worker) const {
    return std::span(slots).subspan(worker * slots_per_worker, slots_per_worker);
  }
  [[nodiscard]] std::size_t workers_max() const { return slots.size() / slots_per_worker; }
  [[nodiscard]] std::size_t runs_per_worker() const { return slots_per_worker * runs_per_slot; }
  [[nodiscard]] bool runs_many() const { return runs_per_slot > 1; }
  // Whole workers' worth of jobs that wait for others, begun ones included: so many more it may have.
  [[nodiscard]] std::size_t lent_workers() const { return (lent + runs_per_worker() - 1) / runs_per_worker(); }
  [[nodiscard]] std::size_t spare_workers() const { return spares.size() / slots_per_worker; }
  [[nodiscard]] std::size_t workers_allowed() const {
    return own_slots / slots_per_worker + std::min(lent_workers(), spare_workers());
  }
};

// Of its worker; 0: no limit.
[[nodiscard]] inline std::uint64_t memory_limit(const Slot& slot) {
  return slot.memory_bytes_max != 0 ? slot.memory_bytes_max : slot.pool->memory_bytes_max;
}
// 0: its pool's.
inline void set_memory_limit(Slot& slot, std::uint64_t bytes_max) {
  if (slot.memory_bytes_max != 0) --slot.pool->raised_slots;
  if (bytes_max != 0) ++slot.pool->raised_slots;
  slot.memory_bytes_max = bytes_max;
}

inline BacklogKey Lane::backlog_key(OrderKey key) const { return {queue->row.id, pool->row.id, key}; }

struct ScheduleState {
  ScheduleRow row;
  JobSpec spec;
  std::optional<Timing> timing;  // empty: its zone or its queue is gone
  std::optional<WallTime> next;  // its next firing; empty: none, or it is paused
  WallTime due;                  // when that is made
  bool last_is_open = false;     // the job of the last firing has not ended
};

enum class TimerKind : std::uint8_t {
  kQueueTimeout,
  kSoftTimeout,
  kRunTimeout,
  kHeartbeat,  // armed anew for as long as the run is alive
  kTotalTimeout,
  kRetry,
  kGrace,
  kBacklogDeadline,  // of no job: the first entry of the backlog's deadlines is due
  kDelayed,          // of no job: the first delayed job may be due
  kSchedule,         // of no job: the first firing may be due
  kPurge,            // of a queue: the next step
  kRate,             // of a queue: a token that somebody waits for is due
  kCache,            // of no job: a turn had more to do for the cache than it may
  kHeadCheck,        // of a slot
  kRestartWorker,    // of a slot
  kGrow,             // of a pool, by its first slot
  kShrink,           // likewise
  kStrays,           // of a slot
};

struct Timer {
  Instant at;
  TimerKind kind = TimerKind::kQueueTimeout;
  std::uint32_t attempt = 0;  // of one attempt and of a retry: meant for this attempt only
  std::uint64_t target = 0;   // job or slot

  // For a heap with the earliest on top; ties in a fixed order, so that a replay is exact.
  friend bool operator<(const Timer& a, const Timer& b) {
    return std::tie(b.at, b.target, b.kind) < std::tie(a.at, a.target, a.kind);
  }
};

// A heap of timers. A timer that no longer means anything stays until its time or the next sweep: cancelling costs
// nothing, and the sweep keeps the heap within twice what is alive.
class Timers {
 public:
  [[nodiscard]] std::size_t size() const { return heap_.size(); }
  [[nodiscard]] Instant next() const { return heap_.empty() ? Instant::never() : heap_.front().at; }

  void add(Timer timer) {
    heap_.push_back(timer);
    std::push_heap(heap_.begin(), heap_.end());
  }
  [[nodiscard]] std::optional<Timer> pop_due(Instant now) {
    if (heap_.empty() || heap_.front().at > now) return std::nullopt;
    std::pop_heap(heap_.begin(), heap_.end());
    const Timer timer = heap_.back();
    heap_.pop_back();
    return timer;
  }
  template <typename Alive>
  void sweep(Alive alive) {
    std::erase_if(heap_, [&](const Timer& timer) { return !alive(timer); });
    std::make_heap(heap_.begin(), heap_.end());
  }

 private:
  std::vector<Timer> heap_;
};

}  // namespace futured
