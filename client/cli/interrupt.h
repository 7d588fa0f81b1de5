// Interrupt: Ctrl-C once asks, Ctrl-C twice leaves.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "base/time.h"
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

  // From now on a job is on its way to the daemon, and cannot be cancelled before its number is known. The first signal
  // gives on_first() a moment, for an acceptance that is on its way back, and then the process leaves with code 130.
  void hold();
  // The job is accepted, and goes on without us: the next signal leaves.
  void release() { on_first(nullptr); }
  // What the first signal does, on a thread of its own; at once if one has been held back. Returns when an earlier
  // action is through, so that on_first(nullptr) says that nothing of it is used any more.
  void on_first(std::function<void()> action);
  [[nodiscard]] bool interrupted() const { return interrupted_.load(); }

 private:
  void run();
  [[nodiscard]] bool handle_first();
  void start(std::function<void()> action);

  std::atomic<bool> interrupted_{false};
  Instant interrupted_at_;  // of the watching thread
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;  // guards what follows
  std::function<void()> action_;
  bool holding_ = false;
  bool held_back_ = false;  // a signal came while holding
  std::thread action_thread_;
  std::thread thread_;
};

// How long Ctrl-C waits for an acceptance that is on its way back.
inline constexpr client::Milliseconds kAcceptanceGrace(300);

// Ends the process with code 130: jobs were sent, and nobody knows what became of them.
[[noreturn]] void leave_unaccepted();

// Ctrl-C cancels this job. When the daemon cannot be told, the process leaves with code 3 and says so.
void cancel_at_interrupt(Interrupt& interrupt, const client::Client& client, std::uint64_t job);

}  // namespace futured::cli
