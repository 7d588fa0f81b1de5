// The words of the scheduler: states, causes, options of a job, who asks.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/limits.h"
#include "base/time.h"

namespace futured {

// Values are stored; they never change meaning.
enum class JobState : std::uint8_t {
  kScheduled = 1,  // waits for its time (a retry's backoff, a delay)
  kBlocked = 2,    // waits for other jobs
  kQueued = 3,
  kRunning = 4,
  kSucceeded = 5,
  kFailed = 6,
  kCancelled = 7,
  kTimedOut = 8,
};

[[nodiscard]] constexpr bool is_terminal(JobState state) { return state >= JobState::kSucceeded; }

// Why a job or an attempt ended otherwise than well. Values are stored.
enum class CauseKind : std::uint8_t {
  kNone = 0,
  kTaskError = 1,      // the task threw
  kExitCode = 2,       // a command ended with a code other than 0
  kSignal = 3,         // a command was ended by a signal that futured did not send
  kWorkerCrashed = 4,  // the worker died under the job
  kMayHaveRun = 5,     // an at-most-once job was started, and what became of it is not known
  kQueueTimeout = 6,
  kRunTimeout = 7,
  kTotalTimeout = 8,
  kCancelled = 9,
  kPayloadLost = 10,   // a volatile segment of the payload is gone, or a file of the store that holds a part of it
  kNotStarted = 11,    // a command's program is missing or may not be executed
  kUnknownTask = 12,   // accepted, but no pool has this task any more
  kBrokenWorker = 13,  // the worker wrote what no sound worker writes, and was killed
  kBadPayload = 14,    // the payload cannot be read as what the task takes
  kOutOfMemory = 15,   // the worker, or the command, was killed for want of memory, or the task could get none
  kResultTooLarge = 16,
  kQuarantined = 17,       // it took down too many workers and is not tried again
  kSoftTimeout = 20,       // asked to stop at its soft_timeout; the message says whether it did
  kHeartbeatTimeout = 21,  // no sign of life
  kDependency = 22,        // what it depends on did not end as required
};

struct Cause {
  CauseKind kind = CauseKind::kNone;
  std::int32_t exit_code = 0;           // kExitCode
  std::int32_t signal = 0;              // kSignal, kWorkerCrashed
  std::uint64_t peak_memory_bytes = 0;  // 0: not measured
  std::int64_t cpu_us = 0;              // user + system; 0: not measured
  std::string error_class;              // at most limits::kErrorClassBytesMax
  std::string message;                  // at most limits::kErrorMessageBytesMax
  std::string stdout_tail;              // last bytes of the output, at most limits::kOutputTailBytes: of an attempt
  std::string stderr_tail;              // that the job went on after, for its result is not kept
  bool retry_refused = false;           // the task asked not to be tried again
  JobId cached_from;                    // the job that ran, when this one got its outcome
  std::string cache_note;               // hit or miss, and why; empty: nobody wants to know
  std::string stacks;  // of every thread of an attempt that ignored its soft_timeout; at most limits::kStacksBytesMax

  bool operator==(const Cause&) const = default;
};

enum class Discipline : std::uint8_t { kFifo = 1, kLifo = 2, kPriority = 3 };

// Permits of a named semaphore that each attempt holds from its offer to its end.
struct Need {
  std::string semaphore;
  std::uint32_t permits = 1;

  auto operator<=>(const Need&) const = default;
};

// Whether a job may get the outcome of another that was asked the same, and how long its own is kept for others. What
// "the same" means is said by a key of each job (cache_rows.h).
struct CacheTerms {
  bool enabled = false;
  bool failures = false;  // an error of the task is kept, too
  bool explain = false;   // the outcome says hit or miss, and why
  Duration ttl{0};        // an outcome that is older is none; 0: until it is evicted
  // What was asked to count as the same, to be told: each job's key (cache_rows.h) has it worked in.
  std::string key = {};                           // instead of the arguments; empty: they count
  std::vector<std::uint32_t> ignored_parts = {};  // ascending
  std::vector<std::string> ignored_fields = {};   // ascending

  bool operator==(const CacheTerms&) const = default;
};

// How a job must have ended for another one to go on. Values are stored.
enum class DependencyCondition : std::uint8_t { kEnded = 0, kSucceeded = 1, kNotSucceeded = 2 };

// `state` is terminal.
[[nodiscard]] constexpr bool holds(DependencyCondition condition, JobState state) {
  return condition == DependencyCondition::kEnded ||
         (condition == DependencyCondition::kSucceeded) == (state == JobState::kSucceeded);
}

// What a job waits for before it may run: the end of another one, or a named event.
struct Dependency {
  JobId job;          // unset: the event
  std::string event;  // of events there is no condition
  DependencyCondition condition = DependencyCondition::kEnded;
  std::uint32_t batch_jobs = 0;  // every one of so many jobs from `job` on; 0: `job` alone
  std::uint32_t any_of = 0;      // of those with the same number one is enough; 0: it must hold by itself
  bool takes_result = false;     // the payload names the result of `job`, which is kept until this one has ended

  bool operator==(const Dependency&) const = default;
};

// Options that all jobs of a batch share. Interned: a batch of 10,000 jobs stores one.
struct JobSpec {
  std::string queue = "default";
  std::string pool;           // empty: the pool that has the task (or runs commands)
  std::string task;           // empty: the payload is a command (docs/formats/command.md)
  std::string name;           // shown to people; no meaning
  std::int32_t priority = 0;  // larger runs first, in a priority queue
  std::uint32_t max_attempts = 1;
  Duration backoff{0};            // before the second attempt
  double backoff_factor = 2;      // each further delay is so many times the last
  Duration backoff_max{0};        // 0: limits::kBackoffMsMax
  double jitter = 0;              // 0..1: share of the delay that is random
  Duration queue_timeout{0};      // 0: none; before the first start
  Duration soft_timeout{0};       // of each attempt, from its start: then it is asked to stop
  Duration run_timeout{0};        // likewise: then it is killed
  Duration heartbeat_timeout{0};  // of each attempt, between two signs of life
  Duration total_timeout{0};      // over all attempts, from the submit
  Duration grace{0};              // between the stop request and the kill; 0: limits::kKillGraceMs
  bool at_most_once = false;
  std::vector<std::string> retry_only;       // retry_classes.h; empty: every error may be retried
  std::vector<std::string> retry_except;     // these never
  double retry_memory_factor = 0;            // out of memory, the next attempt gets so many times as much; 0: the same
  std::uint64_t retry_memory_bytes_max = 0;  // and never more than this
  std::uint32_t crashes_max = limits::kCrashesDefault;  // workers it may take down; the last of them ends it
  std::string callbacks;                                // encoded (daemon/core/callbacks.h); empty: none
  Duration retention{0};                                // kept so long after its end; 0: as the daemon's policy says
  bool front = false;                                   // ahead of its equals
  std::string fairness_key;                             // keys of a fair queue take turns
  std::string limit_key;                                // for the limits per key of its queue; empty: none of them
  std::vector<Need> needs;                              // ascending names, each once
  CacheTerms cache;
  // Of a priority queue: one step of priority for every so long of waiting. Its queue's when it came into that.
  Duration ageing{0};
  // Of its batch: when more than so many jobs have ended without success, those that have not begun are cancelled.
  std::optional<std::uint32_t> max_failures;

  bool operator==(const JobSpec&) const = default;
};

struct JobSpecHash {
  std::size_t operator()(const JobSpec& spec) const noexcept;
};

// Who asks: read from the socket, never from the request.
struct Principal {
  std::uint32_t uid = 0;
  bool operator==(const Principal&) const = default;
};

// The job that submitted this one while it ran.
struct Lineage {
  JobId parent;            // unset: a client submitted it
  std::uint8_t depth = 0;  // jobs above it: its parent, the parent of that, …; at most limits::kChildDepthMax

  bool operator==(const Lineage&) const = default;
};
static_assert(limits::kChildDepthMax <= UINT8_MAX);

// Bytes shared by many jobs of one batch: a view that keeps its buffer alive.
struct SharedBytes {
  std::shared_ptr<const std::string> buffer;
  std::uint32_t offset = 0;
  std::uint32_t size = 0;

  [[nodiscard]] std::string_view view() const {
    return buffer ? std::string_view(*buffer).substr(offset, size) : std::string_view();
  }
  [[nodiscard]] static SharedBytes of(std::string bytes) {
    const auto size = static_cast<std::uint32_t>(bytes.size());
    return {std::make_shared<const std::string>(std::move(bytes)), 0, size};
  }
};

// Where a job stands in its lane's order: ascending (rank, id). A lane is the jobs of one queue for one pool.
struct OrderKey {
  std::int64_t rank = 0;   // priority: -priority, of an ageing queue counted from when it came; fifo, lifo: 0
  std::int64_t order = 0;  // fifo, priority: the id; lifo, and a job that goes to the front: -id

  auto operator<=>(const OrderKey&) const = default;
};

[[nodiscard]] constexpr OrderKey order_key(Discipline discipline, std::int32_t priority, JobId id) {
  const auto number = static_cast<std::int64_t>(id.value);
  switch (discipline) {
    case Discipline::kFifo:
      return {0, number};
    case Discipline::kLifo:
      return {0, -number};
    case Discipline::kPriority:
      return {-static_cast<std::int64_t>(priority), number};
  }
  return {0, number};
}

// `since`: what it waits since. Where jobs age, who came a step of ageing later starts one rank further back: so the
// order of two jobs never changes while they wait, and holds on disk as well.
[[nodiscard]] inline OrderKey order_key(Discipline discipline, const JobSpec& spec, JobId id, WallTime since) {
  OrderKey key = order_key(discipline, spec.priority, id);
  if (spec.ageing.count() > 0 && discipline == Discipline::kPriority) {
    key.rank += since.us / std::chrono::duration_cast<std::chrono::microseconds>(spec.ageing).count();
  }
  if (spec.front) key.order = -static_cast<std::int64_t>(id.value);
  return key;
}

[[nodiscard]] constexpr JobId job_of(OrderKey key) {
  return {static_cast<std::uint64_t>(key.order < 0 ? -key.order : key.order)};
}

[[nodiscard]] std::string_view to_string(JobState state);         // "SUCCEEDED", as in the API
[[nodiscard]] std::string_view to_string(CauseKind kind);         // "RUN_TIMEOUT"
[[nodiscard]] std::string_view to_string(Discipline discipline);  // "fifo"

}  // namespace futured
