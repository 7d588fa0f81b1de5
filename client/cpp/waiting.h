// How threads wait for futures: Waiter for wait() and result(), CompletionQueue for as_completed(). Internal.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include "client/cpp/block.h"
#include "futured/future.h"

namespace futured::client {

using Deadline = std::optional<std::chrono::steady_clock::time_point>;  // nothing: for ever
[[nodiscard]] Deadline deadline_after(Milliseconds timeout);

// Throws Error of kind kInvalidArgument for the block of an empty future.
void need(const Block* block);

// Adds a listener, and sees to it that the daemon is asked. False when the future has ended already. When it throws, no
// listener was added.
bool listen(Block& block, std::uint32_t index, const std::shared_ptr<Sink>& sink, std::uint64_t cookie);

// Throws WaitTimeout at the deadline.
void wait_for_end(const Future& future, Deadline deadline);

// Counts completions until there are enough of them.
class Waiter final : public Sink {
 public:
  void completed(const Notice* notices, std::size_t count) override;
  // Until `enough` have ended, or one without success when `stop_at_failure`. False: the deadline came first.
  bool wait(std::size_t enough, bool stop_at_failure, Deadline deadline);
  // The same for who does not wait on a thread: has `then` called once, on a network thread. False when that many had
  // ended before: it will not be called.
  bool call_when(std::size_t enough, bool stop_at_failure, std::function<void()> then);
  void forget_call();

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::size_t ended_ = 0;
  std::size_t enough_ = SIZE_MAX;
  bool failed_ = false;
  bool stop_at_failure_ = false;
  std::function<void()> then_;

  [[nodiscard]] bool is_satisfied() const { return ended_ >= enough_ || (failed_ && stop_at_failure_); }
};

// Has `waiter` told of every one. The number of ends that it is to wait for; 0 when it need not wait.
[[nodiscard]] std::size_t listen_to(std::span<const Future> futures, WaitFor what,
                                    const std::shared_ptr<Waiter>& waiter);
void stop_listening(std::span<const Future> futures, const Waiter* waiter);
[[nodiscard]] WaitResult sorted_by_end(std::span<const Future> futures);

struct Completion {
  Future future;
  std::uint64_t cookie = 0;  // whatever the future was added with
};

// Ended futures in the order of their ends.
class CompletionQueue final : public Sink, public std::enable_shared_from_this<CompletionQueue> {
 public:
  void add(const Future& future, std::uint64_t cookie = 0);
  void completed(const Notice* notices, std::size_t count) override;
  // Nothing when all that were added have been taken. Throws WaitTimeout; in a child of fork(), Error.
  std::optional<Completion> next(Deadline deadline);
  // The same without waiting: nothing when none is ready.
  std::optional<Completion> try_next();
  // Has `then` called once, as soon as one is ready. False when one is, or none is open: it will not be called. Throws
  // in a child of fork().
  bool call_when_ready(std::function<void()> then);
  void forget_call();
  void set_deadline(Deadline deadline) { deadline_ = deadline; }
  [[nodiscard]] Deadline deadline() const { return deadline_; }

 private:
  Completion take();  // under mutex_

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Completion> ready_;
  const HomeProcess home_;
  std::size_t open_ = 0;  // added and not taken
  std::function<void()> then_;
  Deadline deadline_;
};

}  // namespace futured::client
