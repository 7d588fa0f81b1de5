// Row changes: what a turn asks the store to remember. The core writes them, the store keeps them; neither side adds
// meaning. docs/formats/database.md describes the tables they end in.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "daemon/core/cache_rows.h"
#include "daemon/core/callbacks.h"
#include "daemon/core/queue_options.h"
#include "daemon/core/schedule.h"
#include "daemon/core/types.h"

namespace futured {

// How a job ended, or that it has not: state is kQueued then, and the rest is empty.
struct Ending {
  JobState state = JobState::kQueued;
  std::uint32_t attempt = 0;  // the attempt that ended it; 0: it never ran
  Epoch epoch;                // of the daemon that offered that attempt
  WallTime started_at;        // 0: it never ran
  WallTime finished_at;
  std::string result;            // encoded parts (base/payload.h); empty unless kSucceeded or a command
  std::unique_ptr<Cause> cause;  // null: nothing to tell
};

// One submitted job. When it ends before this row is committed, its Ending is written into the same row.
struct JobRow {
  JobId id;
  SpecId spec;
  std::uint32_t owner = 0;  // uid of who submitted it
  JobId retry_of;           // 0: none
  WallTime submitted_at;
  SharedBytes payload;
  Ending ending;
  Lineage lineage = {};
  WallTime start_at = {};  // not before; 0: none was asked for
};

// The end of a job whose row was committed earlier.
struct OutcomeRow {
  JobId id;
  Ending ending;
};

// What the end of an attempt cost its job. Values are stored.
enum class Charge : std::uint8_t {
  kRetry = 0,    // one of max_attempts
  kCrash = 1,    // one of crashes_max
  kNothing = 2,  // the worker was lost for no fault of the job
  kLast = 3,     // the job ended with this attempt
};

// One attempt that ended. Of the last one the Ending tells the rest, but for the cause of a job that was quarantined; a
// job that succeeded at its first attempt has no such row at all.
struct AttemptRow {
  Fence fence;
  WallTime started_at;
  WallTime finished_at;
  SlotId slot;
  WallTime retry_at;  // 0: no further attempt follows from this one, or at once
  Cause cause;
  Charge charge = Charge::kRetry;
  std::int32_t worker_pid = 0;              // 0: not known
  std::uint64_t memory_bytes_max = 0;       // of its worker with all that it started; 0: no limit, or it never began
  std::uint64_t next_memory_bytes_max = 0;  // of the attempt that follows; 0: its pool's
};

// An at-most-once job is about to be offered.
struct StartRow {
  Fence fence;
};

// A running job was asked to stop, and somebody may have been told so. Its row goes when the job ends. Its times are
// of no use after a reboot, and not needed then: nothing runs.
struct CancelRow {
  JobId job;
  Instant asked_at;
  Instant kill_at;  // by then it must have stopped
  std::string reason;

  bool operator==(const CancelRow&) const = default;
};

struct SpecRow {
  SpecId id;
  JobSpec spec;
};

// The core has forgotten a spec: no job above `newest` names it, unless it is among the specs of a later batch.
struct SpecForgotten {
  SpecId id;
  JobId newest;  // of all jobs that were made so far
};

struct QueueRow {
  QueueId id;
  std::string name;
  Discipline discipline = Discipline::kFifo;
  bool paused = false;
  QueueOptions options;
  bool draining = false;  // refuses new jobs
  WallTime created_at;    // 0: by an earlier version, which did not note it
  std::uint64_t bytes =
      0;  // payloads of its unfinished jobs, as a snapshot has them; a commit tells them in QueueBytes
};

// What the payloads of a queue's unfinished jobs come to once the batch is committed.
struct QueueBytes {
  QueueId queue;
  std::uint64_t bytes = 0;
};

struct SemaphoreRow {
  std::string name;
  std::uint32_t permits = 0;

  bool operator==(const SemaphoreRow&) const = default;
};

// Values are stored.
enum class DependencyState : std::uint8_t {
  kOpen = 0,
  kHolds = 1,
  kVoid = 2,  // its job ended before it held, or because it never will
};

// One dependency of a job.
struct DependencyRow {
  JobId job;
  std::uint32_t number = 0;  // among those of the job, from 0
  Dependency on;
  DependencyState state = DependencyState::kOpen;

  bool operator==(const DependencyRow&) const = default;
};

struct DependencyClosed {
  JobId job;
  std::uint32_t number = 0;
  DependencyState state = DependencyState::kHolds;
};

struct DependencyKey {
  JobId job;
  std::uint32_t number = 0;

  auto operator<=>(const DependencyKey&) const = default;
};

// A named event that is set. One that is not has no row.
struct NamedEventRow {
  std::string name;
  WallTime set_at;

  bool operator==(const NamedEventRow&) const = default;
};

// Pools are configured, not stored; the store only remembers which number stands for which name.
struct PoolRow {
  PoolId id;
  std::string name;
};

// A job that is not resident (or was not, and has not ended since): one entry of a lane's order on disk.
struct BacklogKey {
  QueueId queue;
  PoolId pool;
  OrderKey key;

  auto operator<=>(const BacklogKey&) const = default;
};

// A job whose time has not come: it lies on disk, and in no lane's order.
struct DelayedKey {
  WallTime at;
  JobId job;
  QueueId queue;
  PoolId pool;

  auto operator<=>(const DelayedKey&) const = default;
};

// `count` jobs from `first` went to the backlog; those that are still there at `at` have timed out, as their specs say.
struct DeadlineRow {
  WallTime at;
  JobId first;
  std::uint32_t count = 0;
};

// Whose key: what an idempotency key is looked up by.
struct KeyQuery {
  std::uint32_t owner = 0;
  std::string key;

  auto operator<=>(const KeyQuery&) const = default;
};

// An idempotency key stands for `count` jobs from `first`.
struct KeyRow {
  KeyQuery key;
  JobId first;
  std::uint32_t count = 0;
  std::uint64_t fingerprint = 0;  // of what was submitted with it

  bool operator==(const KeyRow&) const = default;
};

// How a callback that is due, or was registered after the submit, stands. Replaced by id.
struct DeliveryRow {
  CallbackId id;
  JobId job;  // whose outcome is told: of a whole batch, the job that ended last
  std::uint32_t lane = 0;
  DeliveryState state = DeliveryState::kWaiting;
  std::uint32_t attempts = 0;
  WallTime at;                     // kDelivering: not before; kDelivered, kFailed: since
  std::vector<CallbackId> behind;  // those that are kBehind it, in their order
  std::string error;               // of the last attempt that failed
};

// A callback that was registered after the submit.
struct CallbackRow {
  CallbackId id;
  JobId job;
  std::uint32_t owner = 0;       // uid of who registered it
  std::string spec;              // encoded, one
  std::uint32_t batch_jobs = 0;  // of a whole batch: jobs job, job + 1, …; 0: of that job alone
};

// A batch with a callback for the whole: how far it is. Replaced by its first job.
struct WholeBatchRow {
  JobId first;
  std::uint32_t count = 0;
  std::uint32_t ended = 0;
  std::uint32_t failed = 0;  // of those, not SUCCEEDED
};

// All row changes of one or more turns. Committed whole or not at all.
struct Batch {
  std::vector<SpecRow> specs;                  // one that is stored already is to be kept again
  std::vector<SpecForgotten> specs_forgotten;  // after them: they go when no job and no schedule names them any more
  std::vector<QueueId> queues_removed;         // before those of `queues`
  std::vector<QueueRow> queues;                // inserted, or replaced by id; their `bytes` come from queue_bytes
  std::vector<QueueBytes> queue_bytes;         // of queues that are there
  std::vector<PoolRow> pools;
  std::vector<SemaphoreRow> semaphores;         // in this order: inserted, or replaced by name
  std::vector<std::string> semaphores_removed;  // names that none of `semaphores` has
  std::vector<JobRow> jobs;                     // ascending ids, each above those of all batches before
  std::vector<OutcomeRow> outcomes;
  std::vector<AttemptRow> attempts;
  std::vector<StartRow> starts;
  std::vector<CancelRow> cancels_added;  // in this order: a later one of the same job holds
  std::vector<JobId> cancels_removed;    // after them: these jobs end with this batch
  std::vector<BacklogKey> backlog_added;
  std::vector<BacklogKey> backlog_removed;  // those of a batch never meet its own backlog_added
  std::vector<DelayedKey> delayed_added;
  std::vector<DelayedKey> delayed_removed;   // each is stored: its job may run, or ends with this batch
  std::vector<DeadlineRow> deadlines_added;  // one with the same time and first job is replaced
  std::vector<DeadlineRow> deadlines_removed;
  std::vector<KeyRow> keys_added;            // none of them is known
  std::vector<CallbackRow> callbacks;        // ascending ids
  std::vector<DeliveryRow> deliveries;       // in this order: a later one with the same id holds
  std::vector<WholeBatchRow> whole_batches;  // likewise
  std::vector<ScheduleRow> schedules;        // in this order: a later one with the same name holds
  std::vector<CacheKeyRow> cache_keys_added;
  std::vector<JobId> cache_keys_removed;    // after them; jobs that never had one may be among these
  std::vector<CacheEntryRow> cache_added;   // each job ends with this batch: its ending is what is kept
  std::vector<CacheUseRow> cache_used;      // behind them, in this order; of what is not there, nothing is noted
  std::vector<JobId> cache_removed;         // behind them: entries, by their jobs
  std::vector<DependencyRow> dependencies;  // none of them is known
  std::vector<DependencyClosed> dependencies_closed;  // after them
  std::vector<NamedEventRow> events_set;              // inserted, or replaced by name
  std::vector<std::string> events_cleared;            // names that none of `events_set` has
  std::uint64_t ids_reserved_until = 0;               // 0: unchanged; ids below it may have been handed out

  [[nodiscard]] bool empty() const {
    return specs.empty() && specs_forgotten.empty() && queues.empty() && queues_removed.empty() &&
           queue_bytes.empty() && semaphores.empty() && semaphores_removed.empty() && pools.empty() && jobs.empty() &&
           outcomes.empty() && attempts.empty() && starts.empty() && cancels_added.empty() && cancels_removed.empty() &&
           backlog_added.empty() && backlog_removed.empty() && delayed_added.empty() && delayed_removed.empty() &&
           deadlines_added.empty() && deadlines_removed.empty() && keys_added.empty() && callbacks.empty() &&
           deliveries.empty() && whole_batches.empty() && schedules.empty() && cache_keys_added.empty() &&
           cache_keys_removed.empty() && cache_removed.empty() && cache_added.empty() && cache_used.empty() &&
           dependencies.empty() && dependencies_closed.empty() && events_set.empty() && events_cleared.empty() &&
           ids_reserved_until == 0;
  }
};

// A job as the store gives it back to the core: unfinished unless `ending` says otherwise.
struct StoredJob {
  JobId id;
  SpecId spec;
  std::uint32_t owner = 0;
  JobId retry_of;
  WallTime submitted_at;
  SharedBytes payload;
  JobState state = JobState::kQueued;  // kQueued, or terminal
  bool in_backlog = false;
  std::uint32_t attempts = 0;          // number of the last attempt with a row; 0: none
  std::uint32_t crashes = 0;           // attempts among them that were charged as such
  std::uint32_t spared = 0;            // attempts among them that were charged to nothing
  WallTime retry_at;                   // of that attempt
  std::uint64_t memory_bytes_max = 0;  // of the next attempt; 0: its pool's
  bool started = false;                // at most once: a `starts` row exists
  Lineage lineage = {};
  WallTime start_at = {};                     // not before; 0: none was asked for
  bool delayed = false;                       // it waits for that time, and is neither resident nor in the backlog
  std::shared_ptr<const CacheKey> cache_key;  // null: it has none

  // One more attempt with a row, in ascending order.
  void count_attempt(std::uint32_t number, Charge charge, WallTime next_at, std::uint64_t next_memory_bytes_max = 0) {
    attempts = number;
    retry_at = next_at;
    memory_bytes_max = next_memory_bytes_max;
    crashes += charge == Charge::kCrash ? 1 : 0;
    spared += charge == Charge::kNothing ? 1 : 0;
  }
};

// The first jobs of a lane's order on disk, after `after` (from its beginning when empty).
struct Claim {
  QueueId queue;
  PoolId pool;
  std::optional<OrderKey> after;
  std::uint32_t jobs_max = 0;
  std::uint64_t bytes_max = 0;  // of payloads; at least one job comes however large it is
};

struct ClaimedJob {
  OrderKey key;
  StoredJob job;
};

struct ClaimAnswer {
  Claim claim;
  std::vector<ClaimedJob> jobs;  // ascending keys
  std::vector<SpecRow> specs;    // each spec that the jobs name
};

// The first delayed jobs by (at, id), as far as they are due by `until`.
struct DelayedClaim {
  WallTime until;
  std::uint32_t jobs_max = 0;
  std::uint64_t bytes_max = 0;  // of payloads; at least one job comes however large it is
};

struct DelayedAnswer {
  DelayedClaim claim;
  std::vector<StoredJob> jobs;
  std::vector<SpecRow> specs;    // each spec that the jobs name
  std::optional<WallTime> next;  // when the first one behind these is due
};

// The first deliveries of a lane that are kDelivering, by (at, id).
// How do these jobs stand? `number` is the asker's.
struct BatchQuery {
  std::uint64_t number = 0;
  JobId first;
  std::uint32_t count = 0;
};

struct BatchAnswer {
  struct Standing {
    JobId id;
    std::uint32_t owner = 0;
    JobState state = JobState::kQueued;
  };
  BatchQuery query;
  std::vector<Standing> jobs;  // those that there are, ascending
};

struct DeliveryClaim {
  std::uint32_t lane = 0;
  std::uint32_t rows_max = 0;
};

struct DeliveryClaimAnswer {
  DeliveryClaim claim;
  std::vector<DeliveryRow> rows;  // their errors are not told
};

struct DeliveryLane {
  std::uint32_t lane = 0;
  WallTime first_at;
};

struct LaneBacklog {
  QueueId queue;
  PoolId pool;
  std::uint64_t jobs = 0;
};

// What a starting daemon reads.
struct Snapshot {
  Epoch epoch;                   // the last one committed; 0 in a new store
  std::string spawner_instance;  // that the last epoch was attached to; empty in a new store
  std::uint64_t ids_reserved_until = 1;
  std::uint64_t specs_until = 1;  // ids of specs below it are taken
  std::vector<QueueRow> queues;
  std::vector<PoolRow> pools;
  std::vector<SemaphoreRow> semaphores;  // ascending names
  // What specs of the store need, of ended jobs too: queue and semaphore, each pair once.
  std::vector<std::pair<std::string, std::string>> needs;
  std::vector<LaneBacklog> backlog;
  std::vector<DeadlineRow> deadlines;
  std::vector<LaneBacklog> delayed;            // jobs whose time has not come, by lane
  std::optional<WallTime> next_delayed;        // when the first of them is due
  std::vector<StoredJob> resident;             // unfinished, and neither in the backlog nor delayed; ascending ids
  std::vector<CancelRow> cancels;              // of unfinished jobs, wherever they are; ascending ids
  std::vector<StoredSchedule> schedules;       // by name
  std::vector<SpecRow> specs;                  // each spec that `resident` and `schedules` name
  std::uint64_t callbacks_until = 1;           // numbers of later callbacks below it are taken
  std::vector<DeliveryLane> deliveries;        // lanes with deliveries that are kDelivering
  std::vector<CallbackRow> waiting_callbacks;  // registered later, and kWaiting
  std::vector<WholeBatchRow> whole_batches;    // that have not ended
  std::vector<CacheEntryRow> cache;            // ascending jobs
  std::vector<DependencyRow> dependencies;     // that are open: those of unfinished jobs; ascending (job, number)
  std::vector<NamedEventRow> events;           // ascending names
};

// One for each key asked, in that order; empty: nobody has used it.
using KeyAnswer = std::vector<std::optional<KeyRow>>;

struct LoadAnswer {
  std::vector<StoredJob> jobs;  // those that exist, finished or not; ascending ids
  std::vector<SpecRow> specs;
};

}  // namespace futured
