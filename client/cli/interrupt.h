// Interrupt: Ctrl-C once asks, Ctrl-C twice leaves.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "futured/client.h"

namespace futured::cli {

// SIGINT and SIGTERM go to a thread of its own instead of ending the process. To be made before any other thread is,
// and so before connecting. Without an action, or at the second signal, the process leaves with code 130.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // From now on the first signal waits for on_first(): what it is to cancel is on its way to the daemon, and must be
  // known by its id before it can be cancelled.
  void hold();
  // What the first signal does, on a thread of its own; at once if one has been held back. Returns when an earlier
  // action is through, so that on_first(nullptr) says that nothing of it is used any more.
  void on_first(std::function<void()> action);
  [[nodiscard]] bool interrupted() const { return interrupted_.load(); }

 private:
  void run();
  void start(std::function<void()> action);

  std::atomic<bool> interrupted_{false};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;  // guards what follows
  std::function<void()> action_;
  bool holding_ = false;
  bool held_back_ = false;  // a signal came while holding
  std::thread action_thread_;
  std::thread thread_;
};

// Ctrl-C cancels this job.
void cancel_at_interrupt(Interrupt& interrupt, const client::Client& client, std::uint64_t job);

}  // namespace futured::cli
