#include "futured/run_loop.h"

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>

namespace futured::client {

namespace {

using Time = std::chrono::steady_clock::time_point;

struct Timer;
using Timers = std::multimap<Time, Timer*>;

// What post_at() returns. Takes itself out when it is let go of.
struct Timer {
  Timer(std::shared_ptr<Timers> of, Time when, Loop::Work to_do)
      : timers(std::move(of)), at(timers->emplace(when, this)), work(std::move(to_do)) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() {
    if (work) timers->erase(at);
  }

  const std::shared_ptr<Timers> timers;
  const Timers::iterator at;
  Loop::Work work;  // empty: it is over
};

}  // namespace

// Shared with a thread that is posting: what it posts may end the loop before it is back from here.
struct RunLoop::State {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<Work> work;
  const std::shared_ptr<Timers> timers = std::make_shared<Timers>();  // of the loop's thread only
};

RunLoop::RunLoop() : state_(std::make_shared<State>()) {}
RunLoop::~RunLoop() = default;

void RunLoop::post(Work work) {
  const std::shared_ptr<State> state = state_;
  const std::lock_guard guard(state->mutex);
  state->work.push_back(std::move(work));
  state->wake.notify_one();
}

std::shared_ptr<void> RunLoop::post_at(Time when, Work work) {
  return std::make_shared<Timer>(state_->timers, when, std::move(work));
}

void RunLoop::run_next() {
  Timers& timers = *state_->timers;
  if (!timers.empty() && timers.begin()->first <= std::chrono::steady_clock::now()) {
    const Work due = std::exchange(timers.begin()->second->work, nullptr);
    timers.erase(timers.begin());
    due();
    return;
  }
  std::unique_lock lock(state_->mutex);
  const auto some = [&] { return !state_->work.empty(); };
  if (timers.empty() || timers.begin()->first == Time::max()) {
    state_->wake.wait(lock, some);
  } else if (!state_->wake.wait_until(lock, timers.begin()->first, some)) {
    return;
  }
  const Work next = std::move(state_->work.front());
  state_->work.pop_front();
  lock.unlock();
  next();
}

}  // namespace futured::client
