#include "client/cpp/callbacks.h"

#include <cstdio>
#include <utility>

namespace futured::client {

void run_callback(const DoneCallback& callback, const Future& future, const CallbackError& on_error) {
  try {
    callback(future);
  } catch (...) {
    if (on_error) {
      on_error(future, std::current_exception());
      return;
    }
    try {
      throw;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "futured: a done callback threw: %s\n", error.what());
    } catch (...) {
      std::fprintf(stderr, "futured: a done callback threw something that is no std::exception\n");
    }
  }
}

void CallbackQueue::post(DoneCallback callback, Future future) {
  const std::lock_guard guard(mutex_);
  calls_.emplace_back(std::move(callback), std::move(future));
  wake_.notify_all();
}

CallbackThread::CallbackThread(CallbackError on_error) : on_error_(std::move(on_error)) {}

CallbackThread::~CallbackThread() {
  {
    const std::lock_guard guard(queue_->mutex_);
    queue_->stopping_ = true;
    queue_->wake_.notify_all();
  }
  if (!thread_.joinable()) return;
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

const std::shared_ptr<CallbackQueue>& CallbackThread::start() {
  const std::lock_guard guard(queue_->mutex_);
  if (!thread_.joinable()) {
    thread_ = std::thread([queue = queue_, on_error = on_error_] { run(*queue, on_error); });
  }
  return queue_;
}

void CallbackThread::run(CallbackQueue& queue, const CallbackError& on_error) {
  std::unique_lock lock(queue.mutex_);
  while (true) {
    queue.wake_.wait(lock, [&] { return queue.stopping_ || !queue.calls_.empty(); });
    if (queue.calls_.empty()) return;
    auto [callback, future] = std::move(queue.calls_.front());
    queue.calls_.pop_front();
    lock.unlock();
    run_callback(callback, future, on_error);
    callback = nullptr;  // what it holds is let go of without the lock
    future = Future();
    lock.lock();
  }
}

}  // namespace futured::client
