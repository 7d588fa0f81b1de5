#include "daemon/rpc/pump.h"

#include <utility>

namespace futured::rpc {

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
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = waiting_.empty();
    waiting_.push_back(std::move(task));
  }
  if (first) wake_.notify_one();
}

void Pump::run() {
  std::vector<std::function<void()>> tasks;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      tasks.swap(waiting_);
    }
    for (auto& task : tasks) std::exchange(task, nullptr)();  // what a task holds ends with it
    tasks.clear();
  }
}

}  // namespace futured::rpc
