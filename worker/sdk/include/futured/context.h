// What a task is handed beside its arguments, and how it fails. Public; standard library only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "futured/array.h"

namespace futured {

// Whether another attempt of the job could end differently. Attempts are still bounded by the job's own options.
enum class Retry { kAllowed, kPointless };

// Thrown by a task: the job's attempt fails with this class and message. Any other std::exception does as well, with
// its type's name as the class and Retry::kAllowed. Classes are cut at 128 bytes, messages at 4 KiB.
class TaskError : public std::runtime_error {
 public:
  TaskError(std::string error_class, const std::string& message, Retry retry = Retry::kAllowed)
      : std::runtime_error(message), error_class_(std::move(error_class)), retry_(retry) {}

  [[nodiscard]] const std::string& error_class() const { return error_class_; }
  [[nodiscard]] Retry retry() const { return retry_; }

 private:
  std::string error_class_;
  Retry retry_;
};

// Another attempt would be pointless, whatever attempts the job has left.
class DoNotRetry : public TaskError {
 public:
  explicit DoNotRetry(const std::string& message) : DoNotRetry("DoNotRetry", message) {}
  DoNotRetry(std::string error_class, const std::string& message)
      : TaskError(std::move(error_class), message, Retry::kPointless) {}
};

// The next attempt, if the job has one left, begins so long after this one, in place of the job's own backoff: at least
// 1 ms, at most the job's longest backoff.
class RetryAfter : public TaskError {
 public:
  RetryAfter(std::chrono::milliseconds delay, const std::string& message) : RetryAfter(delay, "RetryAfter", message) {}
  RetryAfter(std::chrono::milliseconds delay, std::string error_class, const std::string& message)
      : TaskError(std::move(error_class), message), delay_(delay) {}

  [[nodiscard]] std::chrono::milliseconds delay() const { return delay_; }

 private:
  std::chrono::milliseconds delay_;
};

// Thrown when an argument is not what the task takes: the job fails as a bad payload, and is not tried again.
class BadArgument : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

// Thrown by Context::throw_if_stopped: the task heeded its stop.
class Stopped : public std::exception {
 public:
  [[nodiscard]] const char* what() const noexcept override { return "the task stopped as it was asked to"; }
};

// Thrown by Context::submit: the daemon refused the job, or it cannot be sent. The class is the daemon's, as gRPC names
// it ("NOT_FOUND": no such task, queue or pool). Of the message 700 bytes are told.
class SubmitError : public TaskError {
 public:
  using TaskError::TaskError;
};

// Options of a job that a task submits. Empty and 0 are the defaults of every submit.
struct SubmitOptions {
  std::string queue = {};
  std::string pool = {};
  std::string name = {};  // shown in lists
  // What is submitted again with this key is the first job, whichever attempt or job of this user submits it. Without
  // one every call makes a job. At most 128 bytes.
  std::string key = {};
  std::int32_t priority = 0;  // in queues of kind priority
  std::uint32_t max_attempts = 0;
  std::chrono::milliseconds queue_timeout{0};  // until a worker takes it
  std::chrono::milliseconds run_timeout{0};    // of each attempt
  std::chrono::milliseconds total_timeout{0};  // from the submit to its end
  bool at_most_once = false;
};

// Thrown by Context::wait and by what reads outcomes: the daemon refuses the wait, or there is nothing to read. The
// class is the daemon's: "FAILED_PRECONDITION" of a wait that would never end, because one of the jobs waits for this
// one; "NOT_FOUND", "PERMISSION_DENIED"; "RESOURCE_EXHAUSTED" when as many jobs of the pool wait as may. Then another
// attempt may well succeed.
class WaitError : public TaskError {
 public:
  using TaskError::TaskError;
};

struct WaitJobs {
  std::chrono::milliseconds timeout{0};  // 0: none. What comes first ends the wait, and no job
  bool lends_permits = false;            // while it waits, others may have the permits of semaphores that its job holds
};

// How a job has ended. The numbers are those of the API.
enum class ChildState : std::uint32_t { kSucceeded = 5, kFailed = 6, kCancelled = 7, kTimedOut = 8 };

// What a job left behind. Its result's parts lie in `parts`, as in a payload; ChildOutcome::value (convert.h) converts
// the first one.
struct ChildPart {
  std::string content_type;  // empty: application/octet-stream
  std::string bytes;
};
struct ChildOutcome {
  std::uint64_t job = 0;
  ChildState state = ChildState::kSucceeded;
  std::string cause;        // "TASK_ERROR", "CANCELLED", …: the API's; empty: it succeeded
  std::string error_class;  // of a task that failed
  std::string message;
  std::uint32_t exit_code = 0;  // of a command
  std::uint32_t signal = 0;
  std::vector<ChildPart> parts;

  [[nodiscard]] bool succeeded() const { return state == ChildState::kSucceeded; }
  // The first part, converted as an argument is. Throws ChildFailed when the job did not succeed, BadArgument when the
  // part is something else.
  template <typename T>
  [[nodiscard]] T value() const;
};

// A job that was waited for has not succeeded. The class is "ChildFailed", the message says how it ended.
class ChildFailed : public TaskError {
 public:
  explicit ChildFailed(const ChildOutcome& outcome);

  [[nodiscard]] std::uint64_t job() const { return job_; }

 private:
  std::uint64_t job_;
};

// Why a task is asked to stop. kSoftTimeout: its job has a soft_timeout; a result that it returns within its grace
// counts.
enum class StopReason : std::uint32_t { kNone = 0, kCancelled = 1, kTimedOut = 2, kSoftTimeout = 3, kShutdown = 4 };

enum class LogLevel : std::uint32_t { kTrace = 0, kDebug = 1, kInfo = 2, kWarning = 3, kError = 4, kCritical = 5 };

class ResultWriter;  // convert.h

// One run of a task. Valid during the call; any thread of the task may use it, except for wait_for and submit, which
// belong to the thread that the task was called on.
class Context {
 public:
  // Who we are. (job, epoch, attempt) is the fence: a token that an outside system can use to refuse a run that was
  // taken over by a later attempt.
  [[nodiscard]] virtual std::uint64_t job_id() const = 0;
  [[nodiscard]] virtual std::uint32_t epoch() const = 0;
  [[nodiscard]] virtual std::uint32_t attempt() const = 0;  // 1 for the first

  // When the job's run_timeout ends this attempt; nothing: it has none.
  [[nodiscard]] virtual std::optional<std::chrono::steady_clock::time_point> deadline() const = 0;

  // Jobs that this process ran before: 0 in a fresh worker. Statics and thread-locals hold what those left behind.
  [[nodiscard]] virtual std::uint64_t jobs_run_before() const = 0;

  // True once the job is cancelled or out of time. Costs a load and a compare, so ask often. After a grace the whole
  // process is killed.
  [[nodiscard]] virtual bool stop_requested() = 0;
  // kSoftTimeout turns into what is asked behind it, a cancel say; any other stays what it is.
  [[nodiscard]] virtual StopReason stop_reason() = 0;
  void throw_if_stopped() {
    if (stop_requested()) throw Stopped();
  }
  // Sleeps. False: a stop came first (at once, without polling).
  [[nodiscard]] virtual bool wait_for(std::chrono::nanoseconds time) = 0;

  // How far the task is, shown with its job while it runs. Never waits, and may be called in an inner loop: what
  // differs by less than a thousandth, or comes while the daemon has no room, is not sent. `total` 0: not known. The
  // message has at most 4 KiB.
  virtual void progress(std::uint64_t done, std::uint64_t total, std::string_view message = {}) = 0;
  // The same as a fraction, 0 to 1.
  void progress(double fraction, std::string_view message = {}) {
    constexpr std::uint64_t kWhole = 1'000'000'000;
    const double shown = fraction >= 0 ? (fraction < 1 ? fraction : 1) : 0;
    progress(static_cast<std::uint64_t>(shown * static_cast<double>(kWhole)), kWhole, message);
  }
  // One line of the job's log, with the time; at most 4 KiB. Never waits.
  virtual void log(LogLevel level, std::string_view message) = 0;
  // A sign of life, for jobs with a heartbeat_timeout. Costs about as much as reading the clock. progress(), log() and
  // emit() are signs of life as well.
  virtual void heartbeat() = 0;

  // Appends to the job's stream, which can be read while it runs and is kept with its result: 64 MiB of it, the middle
  // being dropped first. A stream of bytes: a reader sees no borders between chunks. Waits while the daemon has no
  // room, as a write to a pipe does; throws Stopped when a stop comes meanwhile.
  virtual void emit(std::string_view bytes) = 0;
  void emit(std::span<const std::byte> bytes) {
    emit(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }

  // A job of the same user, with this one as its parent; returns its number once it is on disk. It goes on whatever
  // becomes of this one. `arguments` are converted like results (convert.h): a tuple is one for each element, anything
  // else is one; all of them together, with their content types, have at most 16 KiB. At most 16 jobs may stand one
  // above the other.
  //
  // Waits for the daemon, also for the next one, and makes one job however often that dies. Another attempt of this job
  // makes its own, unless `options` have a key. Throws SubmitError, and Stopped when a stop comes first: the job may
  // then exist or not.
  template <typename Arguments>
  std::uint64_t submit(std::string_view task, const Arguments& arguments, const SubmitOptions& options = {});
  std::uint64_t submit(std::string_view task) {
    return submit_job(task, [](ResultWriter&) {}, {});
  }

  // Waits until all of these jobs have ended, of this job's user: its children, or others by their numbers; at most
  // 1000. False: `timeout` came first. Meanwhile this job's slot is lent: another worker stands in, so that the jobs
  // that it waits for can run in the same pool. Throws WaitError, and Stopped when a stop comes first. Its run_timeout
  // goes on while it waits; a heartbeat_timeout does not count.
  bool wait(const std::vector<std::uint64_t>& jobs, const WaitJobs& options = {}) { return wait_jobs(jobs, options); }
  // How a job of this user has ended, and what it returned: at most 64 KiB, without arrays in segments. Throws
  // WaitError ("FAILED_PRECONDITION") when it has not.
  ChildOutcome outcome(std::uint64_t job) { return read_outcome(job); }
  // Waits, without a timeout, and reads.
  ChildOutcome result(std::uint64_t job) {
    (void)wait({job});
    return outcome(job);
  }

  // An array of zeros in a new segment. Returned as the task's result it reaches whoever reads it without a copy.
  // Throws std::bad_alloc when the machine has no room.
  template <typename T>
  [[nodiscard]] Array<T> make_array(std::vector<std::uint64_t> shape) {
    std::size_t count = 1;
    for (const std::uint64_t along : shape) {
      if (along != 0 && count > SIZE_MAX / sizeof(T) / along) throw std::bad_alloc();
      count *= along;
    }
    const Shared shared = make_shared_memory(count * sizeof(T));
    return Array<T>(std::span(reinterpret_cast<T*>(shared.bytes.data()), count), std::move(shape), shared.owner);
  }

 protected:
  struct Shared {
    std::span<std::byte> bytes;
    std::shared_ptr<const void> owner;
  };
  [[nodiscard]] virtual Shared make_shared_memory(std::size_t bytes) = 0;
  using AddArguments = std::function<void(ResultWriter&)>;
  [[nodiscard]] virtual std::uint64_t submit_job(std::string_view task, const AddArguments& add_arguments,
                                                 const SubmitOptions& options) = 0;
  virtual bool wait_jobs(const std::vector<std::uint64_t>& jobs, const WaitJobs& options) = 0;
  [[nodiscard]] virtual ChildOutcome read_outcome(std::uint64_t job) = 0;
  ~Context() = default;
};

}  // namespace futured
