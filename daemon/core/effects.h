// Effects: everything the scheduler asks of the world. Gathered over a turn; the loop carries it out.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "daemon/core/event.h"
#include "daemon/core/rows.h"

namespace futured {

namespace effect {

struct Accepted {
  Token token = 0;
  JobId first;  // of the jobs that were made now; their ids are consecutive
  std::uint32_t count = 0;
  // Only when a key had made some of the batch's jobs before:
  std::vector<JobId> ids;                // of every item
  std::vector<std::uint32_t> old_items;  // ascending indices
};

struct Refused {
  Token token = 0;
  Error error;
};

struct Cancelled {
  Token token = 0;
  JobId job;
  // How the job ended; kSucceeded when it was faster. kRunning: it was asked to stop, and the next daemon goes on with
  // that; only to who does not wait.
  JobState state = JobState::kCancelled;
};

// How far a task says that it is.
struct Report {
  double fraction = 0;  // 0 to 1
  std::string message;
};

// A job came into a state; or its task reports, or it was found alive, and the state is as it was.
struct JobChange {
  JobId job;
  JobState state = JobState::kQueued;
  std::uint32_t attempt = 0;  // 0: none has begun
  std::uint32_t owner = 0;
  std::shared_ptr<const JobSpec> spec;
  std::shared_ptr<const Cause> cause;  // without its output; null: nothing to tell
  std::shared_ptr<const Report> report;
  WallTime alive_at;  // its last sign of life; 0: none is told
};

// A worker came, or it and all that it had started are gone.
struct WorkerChange {
  SlotId slot;
  std::string pool;
  std::uint32_t generation = 0;
  std::int32_t pid = 0;
  bool ended = false;
  int exit_code = 0;  // ended
  int signal = 0;     // ended; 0: it exited
};

struct QueueGone {
  std::string name;
};

// What those who watch are told. Only while event::Record asks for it.
struct Change {
  WallTime at;
  std::variant<JobChange, QueueRow, WorkerChange, QueueGone> what;
};

struct QueuePut {
  Token token = 0;
  QueueRow queue;
};

struct ScheduleChanged {
  Token token = 0;
  ScheduleRow row;
};

// A firing could not be made into a job, and never will be.
struct ScheduleProblem {
  std::string name;
  WallTime firing;
  Error error;
};

struct QueuePurged {
  Token token = 0;
  std::uint64_t cancelled = 0;
};

// What became of each job that was to go to another queue.
struct Moved {
  enum class What : std::uint8_t { kMoved, kAlreadyThere, kRunning, kEnded, kNotFound };
  Token token = 0;
  std::vector<std::pair<JobId, What>> jobs;  // as they were asked
};

struct QueueDeleted {
  Token token = 0;
};

// To a run whose task waits for other jobs.
struct WaitTold {
  enum class What : std::uint8_t {
    kOver,     // the answer: they have ended, or it has given up
    kOpen,     // the answer: they have not, and it is nudged when they have
    kRefused,  // the answer: `error`
    kNudge,    // what it waits for may be there
    kRead,     // of `jobs` the store is asked for `who` whether they have ended; event::WaitRead answers
  };
  What what = What::kOver;
  SlotId slot;
  Fence fence;
  std::uint64_t call = 0;    // but for kNudge
  std::uint32_t number = 0;  // kRead: of the wait
  std::vector<JobId> jobs = {};
  Principal who = {};
  Error error = {};
};

// A semaphore was made, resized or removed.
struct SemaphorePut {
  Token token = 0;
  std::string name;
};

// Nothing of what was to be forgotten is on disk any more.
struct CacheCleared {
  Token token = 0;
  std::uint64_t removed = 0;  // entries
};

// A named event was set or cleared.
struct EventPut {
  Token token = 0;
};

struct Registered {
  Token token = 0;
  CallbackId id;
};

struct Replayed {
  Token token = 0;
  std::uint64_t count = 0;
};

// Tell a receiver of an end. Answered with event::Delivered.
struct Deliver {
  CallbackId id;
  std::uint32_t attempt = 0;  // 1: the first
};

// Hand a job to a slot. `payload` stays valid as long as the job is resident.
struct Offer {
  SlotId slot;
  Fence fence;
  std::uint32_t task = 0;  // index in the pool's list; commands: 0
  Duration run_timeout{};  // from when it is taken; 0: none
  bool follow = false;     // a command: its output is wanted while it comes
  SharedBytes payload;
};

struct OfSlot {
  SlotId slot;
  Fence fence;
};

// Ask a running job to end.
enum class StopWhy : std::uint8_t { kCancel, kTimeout, kSoftTimeout };

struct Stop {
  SlotId slot;
  Fence fence;
  StopWhy why = StopWhy::kCancel;
};

// End the slot's worker and all it started. `tells_stacks`: it may say first, within limits::kStacksMs, what it was at.
struct Kill {
  SlotId slot;
  bool tells_stacks = false;
};

struct StartWorker {
  SlotId slot;
  PoolId pool;
  std::uint64_t memory_bytes_max = 0;  // of this worker; 0: its pool's
};

}  // namespace effect

struct Effects {
  // The gathering batch: what the store is asked to remember. Everything in the next group leaves only after it is
  // committed.
  Batch rows;
  std::vector<Claim> claims;                   // to be read after `rows` is committed
  std::vector<JobId> loads;                    // likewise
  std::vector<JobId> due;                      // likewise: jobs of the backlog that may have timed out
  std::vector<DelayedClaim> delayed_claims;    // likewise
  std::vector<DeliveryClaim> delivery_claims;  // likewise
  std::vector<KeyQuery> key_queries;           // likewise
  std::vector<BatchQuery> batch_queries;       // likewise
  std::vector<JobId> cache_reads;              // likewise: kept outcomes, by their jobs

  // After the commit.
  std::vector<effect::Accepted> accepted;
  std::vector<effect::Cancelled> cancelled;
  std::vector<effect::QueuePut> queues_put;
  std::vector<effect::ScheduleChanged> schedules_changed;
  std::vector<effect::QueuePurged> queues_purged;
  std::vector<effect::Moved> moved;
  std::vector<effect::QueueDeleted> queues_deleted;
  std::vector<effect::SemaphorePut> semaphores_put;
  std::vector<effect::CacheCleared> caches_cleared;
  std::vector<effect::EventPut> events_put;
  std::vector<effect::Offer> offers_after_commit;
  std::vector<effect::Change> changes;
  std::vector<effect::Registered> registered;
  std::vector<effect::Replayed> replayed;
  std::vector<effect::Deliver> deliveries;
  std::vector<effect::WaitTold> waits_told;

  // At once.
  std::vector<effect::Refused> refused;
  std::vector<effect::Offer> offers;
  std::vector<effect::OfSlot> revokes;  // in this order; each is answered with event::Revoked
  std::vector<effect::Stop> stops;
  std::vector<effect::Kill> kills;     // answered with event::SlotEnded
  std::vector<effect::OfSlot> pulses;  // when was the last sign of life? each is answered with event::Pulse
  std::vector<SlotId> inspects;        // answered with event::Head or event::Taken
  std::vector<effect::StartWorker> starts;
  std::vector<effect::ScheduleProblem> schedule_problems;

  // Where the end of `job` is to be written: into its own row if that is not committed yet, else into a new outcome.
  Ending& ending_of(JobId job);

  // Nothing is to be read.
  [[nodiscard]] bool asks_nothing() const {
    return claims.empty() && loads.empty() && due.empty() && delayed_claims.empty() && key_queries.empty() &&
           delivery_claims.empty() && batch_queries.empty() && cache_reads.empty();
  }
  // Nothing leaves after the commit.
  [[nodiscard]] bool tells_nothing() const {
    return accepted.empty() && cancelled.empty() && queues_put.empty() && queues_purged.empty() && moved.empty() &&
           queues_deleted.empty() && schedules_changed.empty() && semaphores_put.empty() && caches_cleared.empty() &&
           events_put.empty() && offers_after_commit.empty() && changes.empty() && registered.empty() &&
           replayed.empty() && deliveries.empty() && waits_told.empty();
  }
  // The group that leaves at once is empty.
  [[nodiscard]] bool nothing_at_once() const {
    return refused.empty() && offers.empty() && revokes.empty() && stops.empty() && kills.empty() && pulses.empty() &&
           inspects.empty() && starts.empty() && schedule_problems.empty();
  }
};

}  // namespace futured
