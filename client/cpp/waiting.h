// How threads wait for futures: Waiter for wait() and result(), CompletionQueue for as_completed(). Internal.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "client/cpp/block.h"
#include "futured/future.h"

namespace futured::client {

using Deadline = std::optional<std::chrono::steady_clock::time_point>;  // nothing: for ever
[[nodiscard]] Deadline deadline_after(Milliseconds timeout);

// Adds a listener, and sees to it that the daemon is asked. False when the future has ended already.
bool listen(Block& block, std::uint32_t index, const std::shared_ptr<Sink>& sink, std::uint64_t cookie);

// Throws WaitTimeout at the deadline.
void wait_for_end(const Future& future, Deadline deadline);

// Counts completions until there are enough of them.
class Waiter final : public Sink {
 public:
  void completed(const Notice* notices, std::size_t count) override;
  // Until `enough` have ended, or one without success when `stop_at_failure`. False: the deadline came first.
  bool wait(std::size_t enough, bool stop_at_failure, Deadline deadline);

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::size_t ended_ = 0;
  std::size_t enough_ = SIZE_MAX;
  bool failed_ = false;
  bool stop_at_failure_ = false;
};

// Ended futures in the order of their ends.
class CompletionQueue final : public Sink, public std::enable_shared_from_this<CompletionQueue> {
 public:
  void add(const Future& future);
  void completed(const Notice* notices, std::size_t count) override;
  // Nothing when all that were added have been taken. Throws WaitTimeout.
  std::optional<Future> next(Deadline deadline);
  void set_deadline(Deadline deadline) { deadline_ = deadline; }
  [[nodiscard]] Deadline deadline() const { return deadline_; }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Future> ready_;
  std::size_t open_ = 0;  // added and not taken
  Deadline deadline_;
};

}  // namespace futured::client
