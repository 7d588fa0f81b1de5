// Events: everything that can happen to the scheduler. Plain values; views in them live only for the step.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "daemon/core/rows.h"
#include "daemon/core/types.h"

namespace futured {

// The one `now` of a turn, on both clocks.
struct Moment {
  Instant at;
  WallTime wall;
};

// An instant of this turn or before it, by the other clock; 0 stays 0.
[[nodiscard]] inline WallTime wall_of(Instant at, Moment now) {
  return at.ns == 0 ? WallTime{} : now.wall + (std::min(at, now.at) - now.at);
}

// Names a request whose answer is owed. Given out by the loop; 0 is never used.
using Token = std::uint64_t;

namespace event {

// An idempotency key, and what the jobs that it stands for are.
struct SubmitKey {
  std::string key;  // empty: none
  std::uint64_t fingerprint = 0;
};

struct AskedDependency {
  Dependency on;
  std::optional<std::uint32_t> item;  // of the same batch, instead of `on.job`
  bool is_of_batch = false;           // of every job of the batch that begins with `on.job`
};

// How the jobs stand that a submit depends on. Kept true by the scheduler for as long as the submit waits.
struct Parents {
  // kScheduled: whether there is such a job is not known yet; kQueued: it has not ended.
  std::map<JobId, JobState> states;
  struct OfBatch {
    bool is_known = false;
    JobId first;                                       // is_known
    std::uint32_t count = 0;                           // likewise
    std::uint32_t jobs_found = 0;                      // of them
    std::vector<std::pair<JobId, JobState>> standing;  // the later of a job holds
  };
  std::map<JobId, OfBatch> batches = {};  // by first job
};

// One batch of jobs. Accepted whole or refused whole.
struct Submit {
  Token token = 0;
  Principal who;
  JobSpec spec;
  std::shared_ptr<const std::string> bytes;  // the payloads, one after another
  std::vector<std::uint32_t> ends;           // where each payload ends in `bytes`; its size is the number of jobs
  JobId retry_of;
  std::vector<SubmitKey> keys;  // none; one for the whole batch; or one for each job
  bool key_is_of_batch = false;
  CallbackId settles;                           // the delivery that this job is; accepted only while that is under way
  bool has_segments = false;                    // some payload names a segment: the batch is as lasting as that
  Lineage lineage = {};                         // of each job
  WallTime start_at = {};                       // none of them starts before; 0: at once, or
  Duration start_after{};                       // not before so long after now
  bool waits = false;                           // for room in a queue that is full, rather than be refused
  bool is_next = false;                         // it has waited, and is before all others that do
  std::vector<std::string> cache_digests = {};  // of each job's arguments (CacheKey); empty: nothing is looked up
  std::vector<std::string> cache_remarks = {};  // on each of them, for its cache_note; empty: there is none
  std::vector<AskedDependency> dependencies;    // of each job
  // Of single jobs besides, by index; ascending. No cycle.
  std::vector<std::pair<std::uint32_t, AskedDependency>> item_dependencies;
  std::shared_ptr<Parents> parents;  // the scheduler's own

  [[nodiscard]] bool has_dependencies() const { return !dependencies.empty() || !item_dependencies.empty(); }
};

struct Cancel {
  Token token = 0;
  Principal who;
  JobId job;
  std::optional<Duration> grace;  // before it is killed, instead of the job's own. 0 also cuts a grace that is running
  std::string reason;             // for the cause; empty: none
  bool waits = true;              // answered by the job's end; else by its stop already, once that is on disk
  bool spares_begun = false;      // the scheduler's own, of max_failures: a job that has begun goes on
};

// With a discipline: creates a queue, or finds one that is the same. Without: changes one that exists.
struct PutQueue {
  Token token = 0;
  std::string name;
  std::optional<Discipline> discipline;  // never changes
  std::optional<bool> paused;
  std::optional<QueueOptions> options;  // of a queue that is created, all of them: one that exists must have the same
  std::vector<QueueField> changed_options;  // of a queue that exists, those of `options` that it gets
  std::optional<bool> draining;
};

// Cancels what is queued. Until that is done nothing of the queue starts, and nothing new comes in.
struct PurgeQueue {
  Token token = 0;
  Principal who;
  std::string name;
};

// One step: these jobs go to another queue as far as they have not begun, all of them or none. Answered with
// effect::Moved.
struct MoveJobs {
  Token token = 0;
  Principal who;
  std::vector<JobId> jobs;  // ascending, each once; at most limits::kMoveStepJobs
  std::string from;         // only those that are in this queue, of whatever user; empty: those of `who`, wherever
  std::string to;
};

// Refused while it has unfinished jobs.
struct DeleteQueue {
  Token token = 0;
  std::string name;
};

// Creates a schedule, or puts another in the place of the one with its name.
struct PutSchedule {
  Token token = 0;
  Principal who;
  ScheduleRow row;  // what is asked; the scheduler adds the rest
  JobSpec spec;
  std::shared_ptr<const Zone> zone;  // that of the row
};

struct ChangeSchedule {
  enum class What : std::uint8_t { kPause, kResume, kDelete };
  Token token = 0;
  Principal who;
  std::string name;
  What what = What::kPause;
};

// Makes a semaphore, or gives it another size.
struct PutSemaphore {
  Token token = 0;
  std::string name;
  std::uint32_t permits = 0;
};

// Refused while jobs need it.
struct DropSemaphore {
  Token token = 0;
  std::string name;
};

// Sets or clears a named event.
struct PutEvent {
  Token token = 0;
  std::string name;
  bool is_set = true;
};

struct PoolReady {
  PoolId pool;
  std::vector<std::string> tasks;  // in the order of their indices
  // Workers that are there have the tasks of before: each is replaced when it has nothing to do.
  bool is_reloaded = false;
  std::vector<std::string> versions = {};  // of the tasks, in their order; empty: they tell none
};

struct SlotReady {
  SlotId slot;
  std::uint32_t generation = 0;
  std::int32_t worker_pid = 0;
  std::uint64_t memory_bytes_max = 0;  // of this worker; 0: its pool's
};

// The worker of a slot and everything it had started are gone.
struct SlotEnded {
  SlotId slot;
  std::uint32_t generation = 0;
  std::optional<Fence> taken;  // the job it had taken and not finished; of many at once, the one that it was at
  Instant taken_at;
  Cause cause;                 // kWorkerCrashed, kOutOfMemory or kBrokenWorker
  bool is_lost = false;        // every worker ended with the spawner: no job is to blame
  std::string_view result;     // encoded parts: what is known of the output of `taken`
  bool is_over_limit = false;  // `taken` went over a limit of its pool, and the worker was killed for that
};

// A running attempt of an earlier daemon that this one can see in a channel. Before any other event of its slot.
struct Adopt {
  SlotId slot;
  Fence fence;
  Instant taken_at;
  bool done = false;  // its event::Done follows
};

enum class DoneStatus : std::uint8_t { kSucceeded, kFailed };

struct Done {
  SlotId slot;
  Fence fence;
  DoneStatus status = DoneStatus::kSucceeded;
  bool do_not_retry = false;
  Instant started_at;
  Instant finished_at;
  std::string_view result;              // encoded parts
  const Cause* cause = nullptr;         // null: nothing to tell
  std::optional<Duration> retry_after;  // what the task asks for instead of the job's backoff
};

// The answer to a Revoke.
struct Revoked {
  SlotId slot;
  Fence fence;
  bool revoked = false;  // false: the worker has taken it, or finished it
};

// The slot's channel had no room for an Offer. Nothing more is offered to it until a job of it is done.
struct OfferRefused {
  SlotId slot;
  Fence fence;
};

// The task of a running job waits until other jobs have ended. Answered with effect::WaitTold.
struct Wait {
  SlotId slot;
  Fence fence;
  std::uint64_t call = 0;      // of that run
  std::uint32_t number = 0;    // of the wait: what the run asks again with it takes the place of what it asked before
  bool lends_permits = false;  // of semaphores, besides its slot and its place under the limits of its queue
  std::vector<JobId> jobs;
};

// What the store knows of those jobs of a wait that are not resident; answers effect::WaitTold of kind kRead.
struct WaitRead {
  SlotId slot;
  Fence fence;
  std::uint64_t call = 0;
  std::uint32_t number = 0;
  std::vector<JobId> ended;
  std::optional<Error> wrong;  // one of them cannot be waited for, or nothing could be read
};

// It waits no longer, and goes on.
struct WaitGivenUp {
  SlotId slot;
  Fence fence;
  std::uint64_t call = 0;
  std::uint32_t number = 0;
};

// The answer to an Inspect: the oldest offer of the slot that is not done.
struct Head {
  SlotId slot;
  std::optional<Fence> taken;  // empty: nothing is taken
  Instant taken_at;
  bool is_read_for = false;  // what it was offered is not in its hands yet: segments of that are read from files
};

// Instead of a Head, of a worker that runs many jobs at once: what it has taken since the last time.
struct Taken {
  struct Run {
    Fence fence;
    Instant taken_at;
  };
  SlotId slot;
  std::vector<Run> runs;
  bool is_read_for = false;  // as Head has it
};

// How far the task of a running job says that it is.
struct Progress {
  SlotId slot;
  Fence fence;
  double fraction = 0;  // 0 to 1
  std::string_view message;
};

// The answer to a Pulse.
struct Pulse {
  SlotId slot;
  Fence fence;
  Instant alive_at;  // of a worker: not to be trusted
};

struct Claimed {
  ClaimAnswer answer;
};
struct Loaded {
  std::vector<JobId> asked;
  LoadAnswer answer;
  bool due = false;  // answers Effects::due, else Effects::loads
};

// The answer to one of Effects::delayed_claims. Behind what was loaded with the same commit.
struct DelayedClaimed {
  DelayedAnswer answer;
};

// The answer to one of Effects::batch_queries.
struct BatchRead {
  BatchAnswer answer;
};

// Answers Effects::key_queries, all of them at once.
struct KeysFound {
  KeyAnswer answer;
};

// Somebody watches: Effects::changes are wanted from now on, or no longer.
struct Record {
  bool on = false;
};

// Adds a callback to a job, ended or not; or to a batch.
struct Register {
  Token token = 0;
  Principal who;
  JobId job;                     // of a batch, the first
  std::uint32_t batch_jobs = 0;  // terms.whole_batch: of so many jobs, at most limits::kBatchItemsMax
  std::string spec;              // encoded, one
  CallbackTerms terms;
};

// Deliver anew: callbacks that the store lists as kDelivered or kFailed.
struct Replay {
  struct Entry {
    CallbackId id;
    JobId job;
    std::uint32_t lane = 0;
  };
  Token token = 0;
  std::vector<Entry> entries;
};

// The answer to an effect::Deliver. (A delivery that is a job is answered by the submit of that job, when it is
// accepted.)
struct Delivered {
  CallbackId id;
  bool ok = false;
  std::string error;
  DeliveryRetries retries;  // of the callback
};

struct DeliveriesClaimed {
  DeliveryClaimAnswer answer;
};

// Forgets kept outcomes that all of this is true of; of who asks, or of all users if root or the daemon's own user
// asks.
struct ClearCache {
  Token token = 0;
  Principal who;
  bool every_task = false;
  std::string task;         // empty: commands
  std::string digest = {};  // as CacheKey has it; empty: any
  JobId entry = {};         // by the job that had it; unset: any. What is computed just now is none

  [[nodiscard]] bool means(const CacheKey& key, bool every_user) const {
    return (every_user || key.owner == who.uid) && (every_task || key.task == task) &&
           (digest.empty() || key.digest == digest);
  }
};

// The answer to Effects::cache_reads.
struct CacheRead {
  std::vector<JobId> asked;
  CacheAnswer answer;
};

// The instant that Scheduler::next_timer() named has come.
struct TimerDue {};

// No further event belongs to this turn: hand out work.
struct TurnEnd {};

}  // namespace event

using Event =
    std::variant<event::Submit, event::Cancel, event::PutQueue, event::PurgeQueue, event::MoveJobs, event::DeleteQueue,
                 event::PutSemaphore, event::DropSemaphore, event::PutEvent, event::PutSchedule, event::ChangeSchedule,
                 event::PoolReady, event::SlotReady, event::SlotEnded, event::Adopt, event::Done, event::Revoked,
                 event::OfferRefused, event::Head, event::Taken, event::Progress, event::Pulse, event::Claimed,
                 event::Loaded, event::DelayedClaimed, event::KeysFound, event::BatchRead, event::Record,
                 event::Register, event::Replay, event::Delivered, event::DeliveriesClaimed, event::ClearCache,
                 event::CacheRead, event::Wait, event::WaitRead, event::WaitGivenUp, event::TimerDue, event::TurnEnd>;

}  // namespace futured
