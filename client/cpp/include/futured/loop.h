// Loop: where a caller's coroutines run. RunLoop (run_loop.h) needs nothing else; asio.h has one for Asio.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace futured::client {

// An event loop, as little of one as coroutines need. It runs what is posted one after the other, never two at once, on
// whatever threads it likes (as a strand does), so coroutines on one loop need no locks between them. Outlives all that
// runs on it. None of its functions throws or waits: the client's network thread calls post().
class Loop {
 public:
  using Work = std::function<void()>;

  // From any thread: runs `work` later, not within this call.
  virtual void post(Work work) = 0;
  // From the loop itself: runs `work` at that time, unless what is returned has been let go of before, on the loop too.
  [[nodiscard]] virtual std::shared_ptr<void> post_at(std::chrono::steady_clock::time_point when, Work work) = 0;

 protected:
  ~Loop() = default;
};

}  // namespace futured::client
