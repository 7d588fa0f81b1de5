// Resumption: lets a coroutine that waits go on, once, on its loop. Internal.
#pragma once

#include <atomic>
#include <coroutine>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>

#include "futured/coroutine.h"

namespace futured::client {

// Shared between the coroutine and whoever will wake it: the first of them, and of a stop, does; the others do nothing.
class Resumption : public std::enable_shared_from_this<Resumption> {
 public:
  Resumption(const Surroundings& here, std::coroutine_handle<> handle) : here_(here), handle_(handle) {}

  // From any thread.
  void wake();
  // From now on a stop wakes it too. On the loop, while the coroutine is being suspended.
  void watch_stop();
  // After the coroutine went on. Throws Stopped when that was for a stop.
  void end();

 private:
  const Surroundings here_;
  const std::coroutine_handle<> handle_;
  std::atomic<bool> is_woken_{false};
  bool is_stopped_ = false;  // written before the loop is told
  std::optional<std::stop_callback<std::function<void()>>> on_stop_;
};

}  // namespace futured::client
