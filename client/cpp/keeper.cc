#include "client/cpp/keeper.h"

#include <chrono>
#include <utility>

namespace futured::client {

Keeper::Keeper() : thread_([this] { run(); }) {}

Keeper::~Keeper() { stop(); }

void Keeper::stop() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
    errands_.clear();
    wake_.notify_all();
  }
  if (!thread_.joinable()) return;
  thread_.join();
}

void Keeper::post_at(Instant when, std::function<void()> errand) {
  const std::lock_guard guard(mutex_);
  if (stopping_) return;
  errands_.emplace(when, std::move(errand));
  wake_.notify_all();
}

void Keeper::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (errands_.empty()) {
      wake_.wait(lock);
      continue;
    }
    const Duration ahead = errands_.begin()->first - monotonic_now();
    if (ahead.count() > 0) {
      wake_.wait_for(lock, ahead);
      continue;
    }
    auto errand = std::move(errands_.begin()->second);
    errands_.erase(errands_.begin());
    lock.unlock();
    errand();
    lock.lock();
  }
}

}  // namespace futured::client
