// The words a client speaks: job options, payload parts, outcomes. Plain values; standard library only.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace futured::client {

using Milliseconds = std::chrono::milliseconds;
// "For as long as it takes", wherever a timeout is asked for.
inline constexpr Milliseconds kForever = Milliseconds::max();

enum class JobState : std::uint8_t {
  kUnknown = 0,
  kScheduled,  // its start time has not come
  kBlocked,    // waits for other jobs
  kQueued,
  kRunning,
  kSucceeded,  // from here on terminal
  kFailed,
  kCancelled,
  kTimedOut,
};
[[nodiscard]] constexpr bool is_terminal(JobState state) { return state >= JobState::kSucceeded; }
[[nodiscard]] std::string_view to_string(JobState state);  // "QUEUED", as in the API
// kUnknown for a word that is no state. Case does not matter.
[[nodiscard]] JobState job_state_from(std::string_view word);

// Why a job did not succeed; the words are those of futured.v1.CauseKind.
enum class CauseKind : std::uint8_t {
  kNone = 0,
  kTaskError,
  kBadPayload,
  kCommandExit,
  kCommandSignal,
  kCommandNotStarted,
  kWorkerDied,
  kOutOfMemory,
  kTimeout,
  kCancelled,
  kQuarantined,
  kMayHaveRun,
  kPayloadLost,
  kResultLost,
  kUnknownTask,
  kDependency,
  kResultTooLarge,
  kProtocol,
  kLeak,
};
[[nodiscard]] std::string_view to_string(CauseKind kind);

enum class TimeoutKind : std::uint8_t { kNone = 0, kQueue, kSoft, kRun, kHeartbeat, kTotal };
[[nodiscard]] std::string_view to_string(TimeoutKind kind);

struct Cause {
  CauseKind kind = CauseKind::kNone;
  TimeoutKind timeout = TimeoutKind::kNone;  // with kTimeout
  std::string error_class;
  std::string message;
  int exit_code = 0;  // of a command; meaningful when signal is 0
  int signal = 0;
  std::int64_t peak_memory_bytes = 0;  // 0 = not known
  std::string stdout_tail;             // the last 4 KiB of an attempt that failed
  std::string stderr_tail;
  bool retry_refused = false;  // the task asked not to be tried again
  std::string stacks;          // of every thread that ignored its soft timeout; told by Client::job with details
};
// One line for people: "exit code 3", "run timeout: …", "std::runtime_error: …".
[[nodiscard]] std::string describe(const Cause& cause);

// Bytes [begin, end) of a segment that the daemon holds.
struct Segment {
  std::uint64_t id = 0;  // 0 = none
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::string dtype;  // as DLPack names it ("float64"); "" = plain bytes
  std::vector<std::int64_t> shape;

  [[nodiscard]] std::uint64_t bytes() const { return end - begin; }
};

// A segment that lies on the daemon's disk. Whoever knows its digest can find it again.
struct StoredSegment {
  Segment segment;
  std::string digest;  // "sha256:" and 64 hexadecimal digits
};

// A part that is this segment, or this stretch of it.
struct Part;
[[nodiscard]] Part part_of(Segment segment);
// Rows [begin, end) of an array along its first dimension: a job that is given them maps only them. Throws Error of
// kind kInvalidArgument when it has fewer.
[[nodiscard]] Segment rows_of(const Segment& array, std::int64_t begin, std::int64_t end);

// One part of a payload or a result: bytes, or else a segment, or else another job's result.
struct Part {
  std::string content_type;  // "" = application/octet-stream
  std::string bytes;
  Segment segment;
  std::uint64_t result_of = 0;  // payloads only: every part of that job's result stands here
};

inline constexpr std::string_view kJsonType = "application/json";
inline constexpr std::string_view kTextType = "text/plain";
inline constexpr std::string_view kStdoutType = "application/x-futured-stdout";
inline constexpr std::string_view kStderrType = "application/x-futured-stderr";

// Of a command's result; the types carry parameters where output was dropped or is large.
[[nodiscard]] inline bool is_stdout(const Part& part) { return part.content_type.starts_with(kStdoutType); }
[[nodiscard]] inline bool is_stderr(const Part& part) { return part.content_type.starts_with(kStderrType); }

// A command line. argv[0] is looked up on the worker's PATH. Bytes are the system's own; NUL is refused.
struct CommandLine {
  std::vector<std::string> argv;
  std::vector<std::string> env;        // "NAME=value", added to the pool's environment
  std::string cwd;                     // absolute; "" = the pool's directory
  std::string stdin_bytes;             // empty = /dev/null
  std::uint64_t stdin_result_of = 0;   // instead: the first part of that job's result, of a command its output
  std::optional<std::uint32_t> umask;  // of the files it makes, 0 to 0777; unset = 022
};

// Zero values mean: the queue's default, else the one named in types.proto.
struct Retries {
  std::uint32_t max_attempts = 0;  // runs in all
  Milliseconds backoff{0};
  double factor = 0;
  Milliseconds backoff_max{0};
  double jitter = 0;
  // Error classes, names of causes (TASK_ERROR, COMMAND_EXIT, COMMAND_SIGNAL, OUT_OF_MEMORY, TIMEOUT), or a command's
  // end
  // ("exit:75", "signal:9"); at most 32 each.
  std::vector<std::string> only_classes;    // retry only these; empty = all
  std::vector<std::string> except_classes;  // never retry these
  // After an attempt that was out of memory the next may have so many times its limit, of the pool's memory_max the
  // first time: above 1, at most 100; 0 = the same. With memory_bytes_max, and in pools that have a memory_max only.
  double memory_factor = 0;
  std::int64_t memory_bytes_max = 0;  // and never more bytes than this
};

struct Timeouts {
  Milliseconds queue{0};      // until a worker takes it
  Milliseconds soft{0};       // until an attempt is asked to stop; under run
  Milliseconds run{0};        // until it is killed
  Milliseconds heartbeat{0};  // between signs of life: a task's heartbeat, progress, emit or log; a command's output
  Milliseconds total{0};      // over all attempts
  Milliseconds grace{0};      // between asking and killing
};

// What the daemon does when a job has ended: it tells a receiver, at least once, whether or not this client still
// lives. Make one with the function that names its receiver; then set what else matters.
struct CompletionCallback {
  enum class On : std::uint8_t { kEnd, kSuccess, kFailure };  // kFailure: any end but success
  enum class Target : std::uint8_t { kWebhook, kListener, kCommand, kFollowUp };

  On on = On::kEnd;
  bool whole_batch = false;  // once, when every job of a submit_all() has ended; kSuccess: all of them succeeded
  Retries retries;           // of the delivery; zero values: 12 attempts over about an hour
  Milliseconds timeout{0};   // of one delivery; 0 = 10 s
  Target target = Target::kWebhook;
  std::string address;                         // kWebhook: URL; kListener: "unix:/path" or "host:port"
  std::string secret_name;                     // kWebhook: of the daemon's configuration; signs the request
  std::map<std::string, std::string> headers;  // kWebhook
  std::string tls_name;                        // kListener: of the daemon's configuration; "" = plain text, local only
  CommandLine command;                         // kCommand: the outcome as JSON on its standard input
  std::string task;                            // kFollowUp: gets the result as its payload
  std::string queue;                           // kFollowUp
  std::string pool;                            // kFollowUp

  [[nodiscard]] static CompletionCallback webhook(std::string url);
  // A server of futured.v1.CompletionListener.
  [[nodiscard]] static CompletionCallback listener(std::string address);
  [[nodiscard]] static CompletionCallback run(CommandLine command);
  [[nodiscard]] static CompletionCallback follow_up(std::string task);
};

// JobOptions::cache. What stands for "the same arguments", and for how long.
struct CacheOptions {
  Milliseconds ttl{0};                       // 0 = until it is evicted
  std::vector<std::uint32_t> ignored_parts;  // that do not count, from 0
  std::vector<std::string> ignored_fields;   // members of part 0, a JSON object, that do not count
  std::string key;                           // instead of the arguments; "" = none
  bool failures = false;                     // an error of the task is kept, too
  bool explain = false;                      // Outcome::cache_note says hit or miss, and why
};

// One thing that a job waits for, where the lists of JobOptions and SubmitOptions do not say it: all jobs of a batch,
// or one of several.
struct Dependency {
  enum class On : std::uint8_t { kEnd, kSuccess, kFailure };  // as after, after_success and after_failure

  On on = On::kSuccess;
  std::uint64_t job = 0;           // one of these three
  std::uint64_t batch = 0;         // every job of the batch that begins with this one
  std::string event;               // a named event; with kEnd
  std::uint32_t any_of_group = 0;  // of those of a job with the same number one is enough; 0 = it must hold by itself
};

// What is asked of every job that is submitted with it.
struct JobOptions {
  std::string queue;  // "" = "default"
  std::string pool;   // "" = the queue's
  std::int32_t priority = 0;
  Retries retries;
  Timeouts timeouts;
  std::uint32_t crashes_max = 0;  // workers it may take down before it is QUARANTINED; 0 = 3
  bool at_most_once = false;
  std::string name;
  std::map<std::string, std::string> labels;
  bool front = false;
  Milliseconds start_after{0};
  std::int64_t start_at_us = 0;  // microseconds since 1970 UTC
  std::string fairness_key;
  std::string limit_key;
  std::map<std::string, std::uint32_t> needs;  // permits by semaphore
  std::vector<std::uint64_t> after;            // jobs that must have ended
  std::vector<std::uint64_t> after_success;    // jobs that must have succeeded, else it fails without running
  std::vector<std::uint64_t> after_failure;    // jobs that must have ended without success, else likewise
  std::vector<std::string> when;               // named events that must be set
  std::vector<Dependency> depends_on;          // besides those: whole batches, and one of several
  // Of a batch (submit_all): once more of its jobs than this have ended without success, those that have not begun are
  // cancelled. Nothing = no bound.
  std::optional<std::uint32_t> max_failures = {};
  Milliseconds retention{0};
  std::int64_t memory_bytes_max = 0;
  std::int64_t output_bytes_max = 0;
  std::uint64_t parent_id = 0;
  std::vector<CompletionCallback> callbacks;  // at most 16
  // A job of the same task, version and arguments that has succeeded gives its result, and this one does not run; one
  // that is on its way is waited for. What follows says more of it, and is refused without it.
  bool cache = false;
  CacheOptions caching;
  // Segments among its arguments are copied to the daemon's disk before the job is accepted: it then outlives daemon
  // and machine with its arrays. Costs a write of each new array.
  bool durable_segments = false;

  // false: the daemon does not send outcomes unasked; a future of such a job asks when somebody waits for it.
  // Right for jobs that outlive their submitter.
  bool follow = true;
};

// What is asked of one job only.
struct SubmitOptions {
  // The same key again, from whichever client, gives the job that was first submitted with it, for as long as that one
  // is retained; with another task or payload it is refused. Such a submit is sent again by itself when the connection
  // broke before its acknowledgement. "" = none; at most 128 bytes.
  std::string idempotency_key;
  // What it waits for, besides what JobOptions names; see there. Such a job is sent as a batch of its own, so that a
  // parent that is unknown refuses nothing but it. Not of submit_all.
  std::vector<std::uint64_t> after;
  std::vector<std::uint64_t> after_success;
  std::vector<std::uint64_t> after_failure;
  std::vector<std::string> when;
  std::vector<Dependency> depends_on = {};
};

struct Outcome {
  std::uint64_t id = 0;
  JobState state = JobState::kUnknown;
  std::uint32_t attempts = 0;  // 0 = not told; so are the times (Client::job tells)
  std::int64_t submitted_us = 0;
  std::int64_t started_us = 0;
  std::int64_t finished_us = 0;
  std::vector<Part> result;
  bool result_elided = false;  // too large to be sent unasked: Client::result fetches it
  std::uint64_t result_bytes = 0;
  Cause cause;
  bool from_cache = false;  // another job's result (JobOptions::cache)
  std::string cache_note;   // of a hit or join; of a miss with CacheOptions::explain

  [[nodiscard]] bool succeeded() const { return state == JobState::kSucceeded; }
};

}  // namespace futured::client
