// What the daemon tells about itself, its jobs, queues, pools and workers. Plain values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "futured/types.h"

namespace futured::client {

struct TaskInfo {
  std::string name;
  std::string version;
  std::string description;
};

// A pool's settings by their names in the daemon's configuration, `_bytes` aside. Each is here as it is where the
// configuration says nothing of it.
struct PoolSettings {
  std::uint32_t jobs_at_once = 1;         // per worker
  std::uint64_t jobs_per_worker_max = 0;  // then a worker is replaced; 0 = never
  std::uint64_t rss_bytes_max = 0;        // a worker that has grown beyond is replaced, between two jobs; 0 = never
  std::string leaks = "replace";          // a worker that a job left changed: "replace", "warn", "ignore"
  std::string user;                       // that workers run as; "" = the spawner's
  std::vector<std::string> env_allow;     // names of variables that workers inherit; {"*"} or none = all
  std::map<std::string, std::uint64_t> limits;  // of resources, as setrlimit has them: "nofile", "core", …
  std::int32_t nice = 0;                        // -20 to 19
  bool no_new_privileges = false;
  bool no_network = false;
  bool private_directory = false;      // every attempt has an empty working directory of its own
  std::uint64_t memory_bytes_max = 0;  // of a worker with all that it starts; 0 = no limit
  std::uint32_t processes_max = 0;     // the same
  std::vector<std::string> plugins;    // paths of task libraries, on the daemon's machine
};

struct PoolInfo {
  std::string name;
  std::string mode;                // "PROCESS", "FRESH", "THREAD", "COMMAND"
  std::uint32_t workers = 0;       // ready to run jobs
  std::uint32_t workers_min = 0;   // that it keeps when it has nothing to do
  std::uint32_t workers_max = 0;   // that it may have at once
  std::uint32_t workers_busy = 0;  // with a job
  std::uint32_t jobs_running = 0;
  std::uint32_t jobs_max = 0;       // that the workers which are ready may run at once
  std::int64_t worker_idle_ms = 0;  // after which a worker beyond workers_min goes
  std::uint64_t jobs_run = 0;       // since the daemon's start, by workers that are gone, too
  PoolSettings settings;
  std::vector<TaskInfo> tasks;  // none of a pool for commands
  int zygote_pid = 0;           // 0 = not told
  // Durations, as the daemon saw them last; 0 = it has seen none since its own start.
  std::int64_t zygote_start_us = 0;  // of loading the pool's tasks
  std::int64_t fork_us = 0;          // of a worker's start, with the wait for those that were to start before it
  std::string problem;               // why it cannot run jobs just now; "" = it can
};

struct DaemonInfo {
  std::string version;
  int pid = 0;
  std::uint32_t epoch = 0;
  std::string state_dir;
  bool durable = false;
  std::int64_t started_us = 0;
  std::vector<PoolInfo> pools;
  int spawner_pid = 0;
  std::string store;
  std::uint32_t schema_version = 0;
  std::string socket;
  std::string segment_socket;
  std::int64_t idle_exit_ms = 0;
  std::uint32_t your_uid = 0;
};

struct AttemptInfo {
  std::uint32_t number = 0;
  std::uint32_t epoch = 0;
  JobState state = JobState::kUnknown;
  std::int64_t started_us = 0;
  std::int64_t finished_us = 0;
  int worker_pid = 0;
  std::string worker;
  Cause cause;
  std::int64_t cpu_us = 0;
  std::int64_t peak_memory_bytes = 0;
  std::int64_t memory_bytes_max = 0;  // that it was allowed, with all that it started; 0 = no limit, or not told
};

// A running job that was asked to stop and has not yet.
struct StopInfo {
  std::int64_t since_us = 0;
  std::int64_t kill_at_us = 0;               // what is left of it then is killed
  bool killed = false;                       // it has been, and something of it is left
  CauseKind why = CauseKind::kNone;          // kCancelled or kTimeout
  TimeoutKind timeout = TimeoutKind::kNone;  // of kTimeout
  std::string reason;                        // of a cancel, as its caller said
};

struct JobInfo {
  std::uint64_t id = 0;
  JobState state = JobState::kUnknown;
  std::string queue;
  std::string pool;
  std::string task;               // or
  std::vector<std::string> argv;  // of a command
  std::string cwd;
  std::string name;
  std::map<std::string, std::string> labels;
  std::int32_t priority = 0;
  std::uint32_t owner_uid = 0;
  std::string owner;
  std::int64_t submitted_us = 0;
  std::int64_t start_at_us = 0;
  std::int64_t started_us = 0;
  std::int64_t finished_us = 0;
  std::int64_t next_attempt_us = 0;
  std::uint32_t attempts = 0;
  std::uint64_t retry_of = 0;
  std::uint64_t retried_by = 0;
  bool from_cache = false;
  std::string cache_note;
  std::uint64_t parent_id = 0;
  std::uint64_t batch_id = 0;
  std::uint64_t payload_bytes = 0;
  std::uint64_t result_bytes = 0;
  bool at_most_once = false;
  double progress = 0;  // of a running task: 0 to 1, as it reported last; 0 = not told
  std::string progress_message;
  std::int64_t alive_us = 0;             // of a running job: its last sign of life (Timeouts::heartbeat); 0 = not told
  std::vector<std::uint64_t> waits_for;  // of a running job whose task waits for others: the first 100 of them
  std::optional<StopInfo> stop;
  Cause cause;
  // Only where details were asked for:
  std::optional<JobOptions> options;
  std::vector<AttemptInfo> attempt_history;  // in their order; the last may still run
};

struct JobFilter {
  std::vector<JobState> states;
  std::vector<CauseKind> causes;  // ended by any of them
  std::string queue;
  std::string pool;
  std::string task;
  std::string name;
  std::map<std::string, std::string> labels;
  std::optional<std::uint32_t> owner_uid;
  std::int64_t submitted_after_us = 0;
  std::int64_t submitted_before_us = 0;
  std::uint64_t parent_id = 0;  // submitted by a task of this job
  std::uint64_t batch_id = 0;   // one of the batch that begins with this job
};

struct JobPage {
  std::vector<JobInfo> jobs;
  std::string next_page_token;  // "" = that was all
};

enum class CancelDisposition : std::uint8_t { kUnknown, kCancelled, kStopping, kAlreadyEnded, kNotFound };

struct CancelEntry {
  std::uint64_t id = 0;
  CancelDisposition disposition = CancelDisposition::kUnknown;
  JobState state = JobState::kUnknown;
};

struct CancelCounts {
  std::uint64_t cancelled = 0;
  std::uint64_t stopping = 0;  // asked to stop, and not waited for
  std::uint64_t already_ended = 0;
};

struct CancelOptions {
  Milliseconds grace{0};      // 0 = the job's own
  bool kill_at_once = false;  // no grace
  std::string reason;
  bool wait = false;  // return when they have ended
};

enum class MoveDisposition { kUnknown, kAlreadyThere, kRunning, kAlreadyEnded, kNotFound };

struct MoveEntry {
  std::uint64_t id = 0;
  MoveDisposition disposition = MoveDisposition::kUnknown;
};

// What became of jobs that were to go to another queue.
struct MoveReport {
  std::uint64_t moved = 0;
  std::uint64_t already_there = 0;
  std::uint64_t running = 0;  // have begun, and stay where they are
  std::uint64_t already_ended = 0;
  std::uint64_t not_found = 0;
  std::vector<MoveEntry> left;  // those that were named and not moved, at most 10,000
  std::string refused;          // not empty: only so far, and why
};

struct RetryEntry {
  std::uint64_t id = 0;
  std::uint64_t new_id = 0;  // 0 = refused
  std::string error;
};

struct CallbackInfo {
  std::uint64_t id = 0;
  std::uint64_t job_id = 0;
  std::uint32_t batch_jobs = 0;  // of one for a whole batch that was registered later: from job_id on
  std::string state;             // "WAITING", "DELIVERING", "DELIVERED", "FAILED"
  CompletionCallback callback;
  std::uint32_t attempts = 0;
  std::int64_t next_attempt_us = 0;
  std::int64_t delivered_us = 0;
  std::string last_error;
};

struct CallbackPage {
  std::vector<CallbackInfo> callbacks;
  std::string next_page_token;  // "" = that was all
};

// An outcome that is kept for jobs that ask the same.
struct CacheEntryInfo {
  std::string task;  // "" = a command
  std::string task_version;
  std::string key;           // 64 hexadecimal digits
  std::uint64_t job_id = 0;  // whose outcome it is
  std::uint64_t bytes = 0;
  std::uint64_t hits = 0;
  std::int64_t created_us = 0;
  std::int64_t expires_us = 0;  // 0 = never
  std::string given_key;        // CacheOptions::key, when that stood for the arguments
};

// Kept outcomes that all of this is true of.
struct CacheSelection {
  std::string task;          // "" = any
  bool commands = false;     // only of command lines; refused with a task
  std::string key;           // CacheOptions::key of the job that had it; "" = any, or none
  std::uint64_t job_id = 0;  // whose outcome it is; 0 = anybody's
};

// Of all users since the daemon's start, but for the first three. Entries and bytes are the caller's; for root and the
// daemon's own user, everybody's.
struct CacheStatsInfo {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  std::uint64_t bytes_max = 0;
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t joined = 0;  // jobs that waited for the same one
  std::uint64_t evicted = 0;
};

struct SemaphoreInfo {
  std::string name;
  std::uint32_t permits = 0;
  std::uint32_t held = 0;          // by running jobs; over `permits` for a while after it was made smaller
  std::uint32_t waiting_jobs = 0;  // found too few of them
};

struct NamedEventInfo {
  std::string name;
  bool set = false;
  std::int64_t changed_us = 0;  // 0 = not known
  std::uint64_t waiting_jobs = 0;
};

// `starts` in each `per`, and at most `burst` at once after a pause.
struct RateLimit {
  double starts = 0;        // 0 = no limit
  Milliseconds per{0};      // 0 = a second
  std::uint32_t burst = 0;  // 0 = 1
};

// Zero values mean: no limit, nothing.
struct QueueOptions {
  std::string discipline;                     // "fifo", "lifo", "priority", in any case; "" = fifo. Never changes
  std::uint32_t concurrency_max = 0;          // running at once
  std::uint32_t concurrency_per_key_max = 0;  // by limit_key
  RateLimit rate;
  RateLimit rate_per_key;
  std::uint64_t queued_jobs_max = 0;   // unfinished; over it a submit waits
  std::uint64_t queued_bytes_max = 0;  // likewise, of their payloads
  std::vector<std::string> pools;      // that its jobs may name; the first is that of jobs that name none
  std::uint32_t weight = 0;            // among the queues of a pool; 0 = 1
  bool fair = false;                   // fairness keys take turns
  Milliseconds ageing{0};              // one priority step for every so long of waiting
  Retries retries;                     // of jobs whose submit says nothing else, as what follows
  Timeouts timeouts;
  Milliseconds retention{0};
};

struct QueueInfo {
  std::string name;
  std::string discipline;  // "FIFO", "LIFO", "PRIORITY"
  QueueOptions options;
  bool paused = false;
  bool draining = false;
  std::uint64_t queued_bytes = 0;  // payloads of unfinished jobs
  std::int64_t wait_p50_us = 0;    // from the submit to the first start, of the last 1024
  std::int64_t wait_p99_us = 0;
  std::int64_t created_us = 0;  // 0 = not known
  std::uint64_t scheduled = 0;
  std::uint64_t blocked = 0;
  std::uint64_t queued = 0;
  std::uint64_t running = 0;
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t timed_out = 0;
  double starts_per_second = 0;
};

struct WorkerInfo {
  std::string pool;
  std::uint32_t slot = 0;
  std::uint64_t generation = 0;
  int pid = 0;                         // 0 = there is none just now
  std::string state;                   // "IDLE", "BUSY", …
  std::vector<std::uint64_t> job_ids;  // that it runs, ascending: the first 1024
  std::uint32_t jobs_running = 0;
  std::uint32_t jobs_max = 0;  // that it may run at once
  std::uint64_t jobs_run = 0;
  // 0 = not measured. Of the worker's own process: its resident memory, and that with its share of shared pages only
  // (0 also where the daemon may not look).
  std::int64_t rss_bytes = 0;
  std::int64_t pss_bytes = 0;
  std::int64_t cpu_us = 0;  // since it began, of itself and of all that it has started; 0 = not measured
  std::int64_t started_us = 0;
  std::uint32_t offers = 0;         // jobs lying ready for it
  std::uint32_t processes = 0;      // itself and what runs below it; 0 = not measured
  std::int64_t tree_rss_bytes = 0;  // of all of them; pages that several share count for each
};

struct Statistics {
  std::int64_t uptime_ms = 0;
  std::map<std::string, std::int64_t> figures;  // by the names of StatsResponse's fields, and its counters
};

// A callback of one of the daemon's event loops that took over 10 ms.
struct SlowCallbackInfo {
  std::string what;
  std::int64_t started_us = 0;
  std::int64_t took_us = 0;
  bool under_way = false;  // took_us is what it has taken so far
};

// One event loop of the daemon.
struct LoopInfo {
  std::string name;
  std::uint64_t turns = 0;                    // since the daemon's start
  std::uint32_t descriptors = 0;              // that it watches
  std::vector<std::string> descriptor_names;  // connections are one entry, with their number
  std::uint32_t timers = 0;                   // armed; of the scheduler's own the first stands for all
  // How long what a turn did had waited for it, of the last turn and the most since the daemon's start; nothing: not
  // known.
  std::optional<std::int64_t> lag_us;
  std::optional<std::int64_t> lag_max_us;
  std::vector<SlowCallbackInfo> slow_callbacks;  // the last 16, oldest first
};

struct ShutdownInfo {
  int pid = 0;
  int spawner_pid = 0;
  std::uint64_t running = 0;
};

}  // namespace futured::client
