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

struct PoolInfo {
  std::string name;
  std::string mode;  // "PROCESS", "COMMAND", …
  std::uint32_t workers = 0;
  std::uint32_t workers_busy = 0;
  std::uint64_t jobs_run = 0;
  std::vector<TaskInfo> tasks;
  int zygote_pid = 0;
  std::string problem;  // why it cannot run jobs just now
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
  std::uint64_t parent_id = 0;
  std::uint64_t batch_id = 0;
  std::uint64_t payload_bytes = 0;
  std::uint64_t result_bytes = 0;
  bool at_most_once = false;
  double progress = 0;  // of a running task: 0 to 1, as it reported last; 0 = not told
  std::string progress_message;
  std::int64_t alive_us = 0;  // of a running job: its last sign of life (Timeouts::heartbeat); 0 = not told
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

struct CancelOptions {
  Milliseconds grace{0};      // 0 = the job's own
  bool kill_at_once = false;  // no grace
  std::string reason;
  bool wait = false;  // return when they have ended
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

struct QueueInfo {
  std::string name;
  std::string discipline;  // "FIFO", "LIFO", "PRIORITY"
  bool paused = false;
  bool draining = false;
  std::uint32_t concurrency_max = 0;  // 0 = no limit
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
  int pid = 0;
  std::string state;  // "IDLE", "BUSY", …
  std::vector<std::uint64_t> job_ids;
  std::uint64_t jobs_run = 0;
  std::int64_t rss_bytes = 0;
  std::int64_t pss_bytes = 0;
  std::int64_t cpu_us = 0;
  std::int64_t started_us = 0;
  std::uint32_t offers = 0;
};

struct Statistics {
  std::int64_t uptime_ms = 0;
  std::map<std::string, std::int64_t> figures;  // by the names of StatsResponse's fields, and its counters
};

struct ShutdownInfo {
  int pid = 0;
  int spawner_pid = 0;
  std::uint64_t running = 0;
};

}  // namespace futured::client
