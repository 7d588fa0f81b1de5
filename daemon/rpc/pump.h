// Pump: the thread that serialises and sends what the loop has to say, so that the loop does not. Only when the loop
// has nothing else to do is a little of it sent on the loop's own thread: waking another takes longer than sending.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/loop_gauge.h"

namespace futured::rpc {

class Pump {
 public:
  Pump();
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;
  ~Pump();  // after everything that was posted

  // Any thread. What one thread posts runs in its order, one after another. What two threads post may run in any order,
  // and even at the same time while flush() runs some of the loop's. What is posted is bounded by who posts: a call has
  // at most one task waiting for each thing that it can do next.
  void post(std::function<void()> task);
  // The loop's thread, at the end of each turn: what it has posted goes out. `at_rest`: the loop has nothing to do.
  void flush(bool at_rest);

  // Turns are what its thread takes at once; they lag from the first post of it on. What flush() sends is the loop's.
  [[nodiscard]] std::shared_ptr<const LoopGauge> gauge() const { return gauge_; }

 private:
  void run();
  void hand_over();

  std::vector<std::function<void()>> from_loop_;  // the loop's own, up to its flush
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::function<void()>> waiting_;  // guarded by mutex_
  Instant since_;                               // guarded by mutex_: since when the first of them waits
  bool running_ = false;                        // guarded by mutex_: the thread has tasks that are not through
  bool stopping_ = false;                       // guarded by mutex_
  const std::shared_ptr<LoopGauge> gauge_ = std::make_shared<LoopGauge>("pump");
  std::thread thread_;
};

}  // namespace futured::rpc
