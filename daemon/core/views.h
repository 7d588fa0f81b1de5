// What readers are told of jobs, queues, slots and schedules: copies, of one moment.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "daemon/core/job.h"
#include "daemon/core/rows.h"
#include "daemon/core/types.h"

namespace futured {

// A stop that is under way: the attempt runs, and is to end.
struct LiveStop {
  Doom why = Doom::kNone;  // none: nobody asked it to stop
  Instant since;
  Instant kill_at;         // by then nothing of it is left, or it is killed
  bool is_killed = false;  // what is left of it is being ended
  std::string reason;      // of a cancel, as its caller said
};

// What a reader is told of a job that is resident.
struct LiveJob {
  JobId id;
  JobState state = JobState::kQueued;
  Instant taken_at;
  std::uint32_t attempt = 0;
  Epoch epoch;  // in which that attempt was offered
  SlotId slot;
  std::int32_t worker_pid = 0;
  std::uint64_t memory_bytes_max = 0;  // of that worker; 0: no limit
  LiveStop stop;                       // kRunning
  std::vector<JobId> waits_for;        // kRunning: by its task, ascending; the first limits::kWaitsShownMax
};

// For whom a running job submits jobs, and where they stand.
struct ChildTerms {
  Principal who;
  Lineage lineage;
};

struct ScheduleView {
  ScheduleRow row;
  JobSpec spec;
  std::optional<WallTime> next;  // empty: it is paused, or fires no more
  bool has_payload = true;       // else that of `row` was left out
};

struct LaneFigures {
  std::string queue;
  std::string pool;
  Discipline discipline = Discipline::kFifo;
  bool paused = false;
  std::uint64_t queued = 0;  // ready or in the backlog
  std::uint64_t delayed = 0;
  std::uint64_t running = 0;  // offered or taken
  std::uint64_t blocked = 0;
};

// Of one queue, all its lanes together.
struct QueueFigures {
  QueueRow row;
  std::uint64_t queued = 0;
  std::uint64_t delayed = 0;
  std::uint64_t running = 0;
  std::uint64_t blocked = 0;
  std::uint64_t bytes = 0;      // payloads of its unfinished jobs
  std::uint64_t succeeded = 0;  // since the daemon's start, as the three below
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t timed_out = 0;
  double starts_per_second = 0;  // over the last 10 s
  Duration wait_p50{0};          // from the submit to the first start, of the last ones
  Duration wait_p99{0};
};

struct SemaphoreFigures {
  std::string name;
  std::uint32_t permits = 0;
  std::uint64_t held = 0;          // by attempts; more than `permits` after it shrank
  std::uint64_t waiting_jobs = 0;  // that were next, and found too few
};

// A named event that is set, or that jobs wait for.
struct NamedEventFigures {
  std::string name;
  bool is_set = false;
  WallTime changed_at;  // 0: never, as far as this daemon knows
  std::uint64_t waiting_jobs = 0;
};

// Of a job that waits, among those of its queue that go to the same pool.
struct QueuePlace {
  std::uint64_t position = 0;  // 1: it is next; 0: it does not wait
  bool is_estimated = false;
};

struct SlotFigures {
  SlotId slot;
  std::string pool;
  bool ready = false;
  std::uint32_t offers = 0;
  std::optional<LiveJob> job;  // the first of its offers
  Duration mean{0};
  std::int32_t worker_pid = 0;  // ready: that of its worker, which may have several slots
  std::vector<JobId> running;   // oldest first
  std::uint32_t runs_max = 1;   // jobs at once
  SlotId first_of_worker;       // of the slots of the same worker
  bool is_listed = true;        // else no worker has it, nor is to have it just now
};

}  // namespace futured
