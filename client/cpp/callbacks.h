// CallbackThread: where done callbacks run, one after the other, never on a network thread. Internal.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "futured/future.h"

namespace futured::client {

using DoneCallback = std::function<void(const Future&)>;
using CallbackError = std::function<void(const Future&, std::exception_ptr)>;

// Runs one callback; what it throws goes to `on_error`, or else to standard error.
void run_callback(const DoneCallback& callback, const Future& future, const CallbackError& on_error);

// Callbacks that are due. Shared with those who wait, so that a network thread never holds the client itself.
class CallbackQueue {
 public:
  void post(DoneCallback callback, Future future);

 private:
  friend class CallbackThread;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::pair<DoneCallback, Future>> calls_;  // as many as there are callbacks registered
  bool stopping_ = false;
};

class CallbackThread {
 public:
  explicit CallbackThread(CallbackError on_error);
  ~CallbackThread();  // runs what is queued first
  CallbackThread(const CallbackThread&) = delete;
  CallbackThread& operator=(const CallbackThread&) = delete;

  // The queue, with its thread running from now on.
  const std::shared_ptr<CallbackQueue>& start();
  [[nodiscard]] const CallbackError& on_error() const { return on_error_; }

 private:
  static void run(CallbackQueue& queue, const CallbackError& on_error);

  CallbackError on_error_;
  // Outlives the CallbackThread when a callback drops the last handle of its client.
  std::shared_ptr<CallbackQueue> queue_ = std::make_shared<CallbackQueue>();
  std::thread thread_;
};

}  // namespace futured::client
