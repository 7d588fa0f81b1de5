// Jobs that coroutines wait for: the thread goes on with others until they have ended.
#include <algorithm>
#include <chrono>

#include "worker/runtime/async_loop.h"
#include "worker/runtime/task_context.h"

namespace futured {

class AsyncContext::OpenWait {
 public:
  explicit OpenWait(AsyncContext& context) : context_(context), number_(context.next_wait()) {}
  OpenWait(const OpenWait&) = delete;
  OpenWait& operator=(const OpenWait&) = delete;
  ~OpenWait() {
    if (is_open_) context_.give_up_wait(number_);
  }

  [[nodiscard]] std::uint32_t number() const { return number_; }
  void asked() { is_open_ = true; }
  void over() { is_open_ = false; }

 private:
  AsyncContext& context_;
  const std::uint32_t number_;
  bool is_open_ = false;
};

namespace {

constexpr std::chrono::milliseconds kLookAgain{10};  // of a daemon that is too busy to say

using Clock = std::chrono::steady_clock;

}  // namespace

// No temporaries live across a co_await: GCC 12 destroys some of them twice.
Async<bool> AsyncContext::wait(std::vector<std::uint64_t> jobs, WaitJobs options) {
  OpenWait wait(*this);
  const std::string request = encode_wait(wait.number(), jobs, options);
  const Clock::time_point until = Clock::now() + options.timeout;
  for (;;) {
    const std::uint32_t seen = nudges();
    bool is_busy = false;
    std::string answer;
    try {
      wait.asked();
      Call call(*this, request);
      answer = co_await call;
    } catch (const WaitError& error) {
      wait.over();
      is_busy = error.error_class() == "UNAVAILABLE";
      if (!is_busy) throw;
    }
    if (is_busy) {
      Wait pause = sleep(kLookAgain);
      co_await pause;
      continue;
    }
    if (is_over(answer)) {
      wait.over();
      co_return true;
    }
    std::chrono::nanoseconds left{0};
    if (options.timeout.count() > 0) {
      left = until - Clock::now();
      if (left.count() <= 0) co_return false;
    }
    Nudge nudge(*this, seen, left);
    co_await nudge;
  }
}

Async<ChildOutcome> AsyncContext::outcome(std::uint64_t job) {
  std::string outcome;
  for (bool is_whole = false; !is_whole;) {
    const std::string request = encode_read(job, outcome.size());
    bool is_busy = false;
    std::string answer;
    try {
      Call call(*this, request);
      answer = co_await call;
    } catch (const WaitError& error) {
      is_busy = error.error_class() == "UNAVAILABLE";
      if (!is_busy) throw;
    }
    if (is_busy) {
      Wait pause = sleep(kLookAgain);
      co_await pause;
      continue;
    }
    is_whole = add_page(answer, outcome);
  }
  co_return decode_outcome(job, outcome);
}

Async<ChildOutcome> AsyncContext::result(std::uint64_t job) {
  std::vector<std::uint64_t> jobs(1, job);
  Async<bool> ended = wait(std::move(jobs), WaitJobs());
  (void)co_await std::move(ended);
  Async<ChildOutcome> told = outcome(job);
  co_return co_await std::move(told);
}

}  // namespace futured

namespace futured::runtime {

// False: it came before.
bool TaskContext::await_nudge(sdk::NudgeWaiter& waiter) {
  if (end_.nudges(run_) != waiter.seen) return false;
  look_from_loop();
  nudged_.push_back(&waiter);
  return true;
}

// True: some wait is over, and the loop goes on with it.
bool TaskContext::end_nudged() {
  if (nudged_.empty()) return false;
  const std::uint32_t now = end_.nudges(run_);
  std::vector<sdk::NudgeWaiter*> over;
  std::erase_if(nudged_, [&](sdk::NudgeWaiter* waiter) {
    const bool came = waiter->seen != now;
    if (came) over.push_back(waiter);
    return came;
  });
  for (sdk::NudgeWaiter* const waiter : over) loop_->end(*waiter);
  return !over.empty();
}

// Nobody waits for the answer. Without memory the slot stays lent until the run ends.
void TaskContext::give_up_wait(std::uint32_t number) noexcept {
  try {
    if (loop_ == nullptr || stop_requested()) return;  // a stop ends its waits
    look_from_loop();
    open_calls_.push_back({nullptr, 0, encode_give_up(number)});
    send_first_call();
  } catch (...) {
  }
}

}  // namespace futured::runtime
