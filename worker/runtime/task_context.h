// What a task in process mode sees of its worker, and the result it leaves.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "futured/async_task.h"
#include "futured/task.h"
#include "segment/memory.h"
#include "worker/channel/worker_end.h"
#include "worker/runtime/task_streams.h"

namespace futured::runtime {

// Memory that a task has been given for an array, until its result takes it.
struct SharedMemory {
  SegmentWriter writer;
  std::optional<Segment> sealed;
  bool is_in_result = false;
};

class AsyncLoop;

// Goes on with a coroutine of a run whose wait is over.
class Resumer {
 public:
  virtual ~Resumer() = default;
  virtual void resume(std::coroutine_handle<> coroutine) = 0;
};

// One run. Everything of it may be used from any thread of the task, except for wait_for, submit and
// what is for coroutines.
class TaskContext final : public AsyncContext {
 public:
  TaskContext(channel::WorkerEnd& end, const channel::Run& run, std::uint64_t jobs_run_before,
              const std::string& spool_directory)
      : end_(end),
        run_(run),
        fence_(run.fence),
        jobs_run_before_(jobs_run_before),
        streams_(end, run, spool_directory) {}
  ~TaskContext();

  [[nodiscard]] std::uint64_t job_id() const override { return fence_.job.value; }
  [[nodiscard]] std::uint32_t epoch() const override { return fence_.epoch.value; }
  [[nodiscard]] std::uint32_t attempt() const override { return fence_.attempt; }
  [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> deadline() const override;
  [[nodiscard]] std::uint64_t jobs_run_before() const override { return jobs_run_before_; }
  [[nodiscard]] bool stop_requested() override { return told_stop_ || end_.stop_requested(fence_); }
  [[nodiscard]] StopReason stop_reason() override;
  [[nodiscard]] bool wait_for(std::chrono::nanoseconds time) override;
  using Context::progress;
  void progress(std::uint64_t done, std::uint64_t total, std::string_view message) override;
  void log(LogLevel level, std::string_view message) override { streams_.log(level, message); }
  void heartbeat() override { end_.beat(run_); }
  using Context::emit;
  void emit(std::string_view bytes) override { streams_.emit(bytes); }

  [[nodiscard]] TaskStreams& streams() { return streams_; }

  // For a coroutine task, before it begins: who has its waits, and who goes on with it.
  void run_on(AsyncLoop& loop, Resumer& resumer);
  // Other runs share the thread, so nothing here waits.
  void share_thread() {
    shares_thread_ = true;
    streams_.never_wait();
  }
  // It is to stop: what its coroutines wait for ends now, or their next wait does.
  void stop(channel::StopReason reason);
  // The wait of this waiter is over.
  void end_wait(sdk::Waiter& waiter);

  // async_submit.cc
  // Sends what waits for room, and ends the wait whose answer is there: its coroutine is resumed by the loop, later.
  struct Calls {
    bool is_answered = false;  // one was
    bool are_open = false;
  };
  [[nodiscard]] Calls look_for_reply();
  void beat() { end_.beat(run_); }  // who waits for the daemon is alive
  // The loop is gone, or looks at this no more.
  void not_called() { is_calling_ = false; }

  // The memory that holds all of `bytes`, if this context gave it out.
  [[nodiscard]] SharedMemory* find_shared(std::span<const std::byte> bytes);
  // Seals what the result took; it can then no longer be written, nor read through the task's own arrays.
  [[nodiscard]] Status seal_result();
  // Lets go of what no result has taken: of a call that is over, in a job of many.
  void forget_shared_memory();

 protected:
  [[nodiscard]] Shared make_shared_memory(std::size_t bytes) override;
  // task_submit.cc
  [[nodiscard]] std::uint64_t submit_job(std::string_view task, const AddArguments& add_arguments,
                                         const SubmitOptions& options) override;
  [[nodiscard]] std::string encode_submit(std::string_view task, const AddArguments& add_arguments,
                                          const SubmitOptions& options) const override;

  [[nodiscard]] bool begin(sdk::Waiter& waiter) override;
  void forget(sdk::Waiter& waiter) noexcept override;
  // task_wait.cc
  bool wait_jobs(const std::vector<std::uint64_t>& jobs, const WaitJobs& options) override;
  [[nodiscard]] ChildOutcome read_outcome(std::uint64_t job) override;
  [[nodiscard]] std::uint32_t next_wait() override { return ++waits_; }
  [[nodiscard]] std::string encode_wait(std::uint32_t number, const std::vector<std::uint64_t>& jobs,
                                        const WaitJobs& options) const override;
  [[nodiscard]] std::string encode_give_up(std::uint32_t number) const override;
  [[nodiscard]] std::string encode_read(std::uint64_t job, std::uint64_t offset) const override;
  [[nodiscard]] std::uint32_t nudges() override { return end_.nudges(run_); }
  [[nodiscard]] bool is_over(std::string_view answer) const override;
  [[nodiscard]] bool add_page(std::string_view answer, std::string& outcome) const override;
  [[nodiscard]] ChildOutcome decode_outcome(std::uint64_t job, std::string_view outcome) const override;
  void give_up_wait(std::uint32_t number) noexcept override;

 private:
  void send(const channel::CallId& call, std::string_view request);
  [[nodiscard]] channel::Reply await_reply(std::uint64_t call);
  void sleep_for_reply(std::uint64_t call);
  [[nodiscard]] channel::Reply ask(std::string_view request);
  void check_may_hold_thread(std::string_view what) const;
  [[nodiscard]] bool await_nudge(std::uint32_t seen, Instant until);
  [[nodiscard]] bool await_nudge(sdk::NudgeWaiter& waiter);
  void forget_nudge(const sdk::Waiter& waiter) noexcept {
    std::erase_if(nudged_, [&](const sdk::NudgeWaiter* one) { return one == &waiter; });
  }
  [[nodiscard]] bool end_nudged();
  void look_from_loop();
  void open_call(sdk::ReplyWaiter& waiter);
  void send_first_call();
  void give_up_call(const sdk::Waiter& waiter) noexcept;
  [[nodiscard]] bool begin_in_loop(sdk::Waiter& waiter);

  struct Progress {
    Instant sent_at;  // 0: nothing was
    double fraction = 0;
    std::string message;
  };

  channel::WorkerEnd& end_;
  const channel::Run& run_;
  const Fence fence_;
  const std::uint64_t jobs_run_before_;
  TaskStreams streams_;
  std::mutex mutex_;
  Progress progress_;
  std::vector<std::shared_ptr<SharedMemory>> shared_;
  std::uint64_t calls_ = 0;
  std::uint32_t waits_ = 0;
  std::vector<sdk::NudgeWaiter*> nudged_;  // wait for a nudge
  struct OpenCall {                        // of a coroutine
    sdk::ReplyWaiter* waiter;              // null: it does not wait any more
    std::uint64_t number = 0;              // 0: not sent yet
    std::string request = {};              // of nobody: what ends a wait
  };
  // The first one is with the daemon, or is to go there next. A list, as one that is empty takes no memory.
  std::list<OpenCall> open_calls_;
  bool is_calling_ = false;  // the loop looks at this

  AsyncLoop* loop_ = nullptr;
  Resumer* resumer_ = nullptr;
  bool shares_thread_ = false;
  std::optional<channel::StopReason> told_stop_;
  bool owes_stop_ = false;             // the next wait is to throw
  std::vector<sdk::Waiter*> waiting_;  // of its coroutines
};

// What a task returned is over limits::kResultBytesMax or limits::kPayloadPartsMax.
class ResultTooLarge : public std::length_error {
 public:
  using std::length_error::length_error;
};

// Collects the parts of one result. Reused from run to run, for its memory.
class ResultEncoder final : public ResultWriter {
 public:
  void begin(TaskContext& context);
  // After the last part. Throws TaskError when memory of the result cannot be sealed.
  void finish();
  void add(std::string_view content_type, std::string_view bytes) override;
  void add_array(std::string_view dtype, const std::vector<std::uint64_t>& shape,
                 std::span<const std::byte> bytes) override;

  [[nodiscard]] std::string& encoded() { return encoded_; }
  // The result's segments, in the order of its kSegment parts.
  [[nodiscard]] std::span<const int> descriptors() const { return descriptors_; }
  void discard();

 private:
  void count_part(std::size_t bytes);

  TaskContext* context_ = nullptr;
  std::string encoded_;
  std::size_t parts_ = 0;
  std::list<Segment> copied_;
  std::vector<int> descriptors_;
};

}  // namespace futured::runtime
