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

  // What the first signal does, on a thread of its own. Returns when an earlier action is through, so that
  // on_first(nullptr) says that nothing of it is used any more.
  void on_first(std::function<void()> action);
  [[nodiscard]] bool interrupted() const { return interrupted_.load(); }

 private:
  void run();
  void start(std::function<void()> action);

  std::mutex mutex_;
  std::function<void()> action_;
  std::atomic<bool> interrupted_{false};
  std::atomic<bool> stopping_{false};
  std::thread action_thread_;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace futured::cli
