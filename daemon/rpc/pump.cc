#include "daemon/rpc/pump.h"

#include <iterator>
#include <utility>

namespace futured::rpc {

namespace {

constexpr std::size_t kSentByLoopMax = 2;

thread_local const Pump* t_flushed = nullptr;  // the pump that this thread flushes: on the loop's thread only

}  // namespace

Pump::Pump() : thread_([this] { run(); }) {}

Pump::~Pump() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Pump::post(std::function<void()> task) {
  if (t_flushed == this) {
    from_loop_.push_back(std::move(task));
    return;
  }
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = waiting_.empty();
    if (first) since_ = monotonic_now();
    waiting_.push_back(std::move(task));
  }
  if (first) wake_.notify_one();
}

void Pump::flush(bool at_rest) {
  t_flushed = this;
  if (from_loop_.empty()) return;
  bool here = at_rest && from_loop_.size() <= kSentByLoopMax;
  if (here) {
    const std::lock_guard lock(mutex_);
    here = !running_ && waiting_.empty();  // what the loop posted earlier is through
  }
  if (here) {
    std::vector<std::function<void()>> tasks = std::exchange(from_loop_, {});
    for (auto& task : tasks) std::exchange(task, nullptr)();
  }
  // What those tasks have posted is left to the thread: the loop may sleep for long, and has done its share.
  if (!from_loop_.empty()) hand_over();
}

void Pump::hand_over() {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.empty()) since_ = monotonic_now();
    std::move(from_loop_.begin(), from_loop_.end(), std::back_inserter(waiting_));
  }
  from_loop_.clear();
  wake_.notify_one();
}

void Pump::run() {
  std::vector<std::function<void()>> tasks;
  for (;;) {
    Instant since;
    {
      std::unique_lock lock(mutex_);
      running_ = false;
      wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      tasks.swap(waiting_);
      since = since_;
      running_ = true;
    }
    gauge_->begin(monotonic_now());
    gauge_->due(since);
    for (auto& task : tasks) std::exchange(task, nullptr)();  // what a task holds ends with it
    tasks.clear();
    gauge_->end(monotonic_now(), "answers");
  }
}

}  // namespace futured::rpc
