// Interrupt: Ctrl-C once asks, Ctrl-C twice leaves.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

namespace futured::cli {

// SIGINT and SIGTERM go to a thread of its own instead of ending the process. To be made before any other thread is,
// and so before connecting. Without an action, or at the second signal, the process leaves with code 130.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // What the first signal does; runs on the signal thread.
  void on_first(std::function<void()> action);
  [[nodiscard]] bool interrupted() const { return interrupted_.load(); }

 private:
  void run();

  std::mutex mutex_;
  std::function<void()> action_;
  std::atomic<bool> interrupted_{false};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace futured::cli
