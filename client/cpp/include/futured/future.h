// Future: a job's outcome to be, shaped like concurrent.futures. Also wait() and as_completed().
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "futured/input_iterator.h"
#include "futured/types.h"

namespace futured::client {

class Block;
class CompletionQueue;
class Future;

// An argument: every part of that job's result. The job that is given it waits for that, and fails without running if
// it does not succeed. Waits until the other one is accepted, as Future::id.
[[nodiscard]] Part result_of(const Future& future);

// A handle of 16 bytes, cheap to copy. Safe from any thread. Keeps the state it needs alive, but not the connection:
// when the client is destroyed first, open futures end as Unavailable. Letting go of a future cancels nothing. In a
// child of fork() whatever would wait for an open one, be it a function or a coroutine, throws Error of kind
// kFailedPrecondition.
class Future {
 public:
  Future() = default;
  Future(const Future& other) noexcept;
  Future(Future&& other) noexcept : block_(other.block_), index_(other.index_) { other.block_ = nullptr; }
  Future& operator=(Future other) noexcept {
    std::swap(block_, other.block_);
    std::swap(index_, other.index_);
    return *this;
  }
  ~Future();

  [[nodiscard]] bool valid() const { return block_ != nullptr; }

  // The job's number. Waits until the daemon has acknowledged the job, which means that it is on disk.
  // Throws what refused it, or Unavailable.
  [[nodiscard]] std::uint64_t id() const;

  // True once id() no longer waits: the daemon has accepted or refused the job.
  [[nodiscard]] bool answered(Milliseconds timeout) const;

  // Bytes of the first part of the result ("" when it has none; of a command, its standard output). Throws JobFailed,
  // JobCancelled, JobTimedOut, WaitTimeout (the job goes on), Unavailable, or what refused the submit.
  [[nodiscard]] std::string result(Milliseconds timeout = kForever) const;
  // All parts.
  [[nodiscard]] std::vector<Part> parts(Milliseconds timeout = kForever) const;
  // How it ended, good or bad, without throwing for a failed job.
  [[nodiscard]] Outcome outcome(Milliseconds timeout = kForever) const;
  // What result() would throw, or null.
  [[nodiscard]] std::exception_ptr exception(Milliseconds timeout = kForever) const;

  // Ended, in whatever way. Of a future that is not followed, asks the daemon.
  [[nodiscard]] bool done() const;
  // A worker is at it now. Asks the daemon.
  [[nodiscard]] bool running() const;
  [[nodiscard]] bool cancelled() const;

  // True when the job is, or now will be, cancelled: a queued one never runs; a running one is asked to stop and killed
  // after its grace. False when it had ended before.
  bool cancel() const;

  // Called once, when the job has ended: on the client's callback thread, in the order of adding, or at once on this
  // thread when it already has. Never on a network thread. What a callback throws goes to Client's on_callback_error.
  void add_done_callback(std::function<void(const Future&)> callback) const;

  friend bool operator==(const Future& a, const Future& b) { return a.block_ == b.block_ && a.index_ == b.index_; }

 private:
  friend class Block;
  friend struct FutureAccess;
  Future(Block* block, std::uint32_t index) noexcept : block_(block), index_(index) {}  // takes over one reference

  Block* block_ = nullptr;
  std::uint32_t index_ = 0;
};

enum class WaitFor : std::uint8_t { kAllCompleted, kFirstCompleted, kFirstException };

struct WaitResult {
  std::vector<Future> done;
  std::vector<Future> not_done;
};

// Waits as asked, or until the timeout; never cancels, never throws for a failed job. One registration for all of them,
// no polling.
[[nodiscard]] WaitResult wait(std::span<const Future> futures, WaitFor what = WaitFor::kAllCompleted,
                              Milliseconds timeout = kForever);

// The futures in the order in which they end. next() is for one thread.
class AsCompleted {
 public:
  AsCompleted(std::span<const Future> futures, Milliseconds timeout);
  AsCompleted(AsCompleted&&) noexcept;
  AsCompleted& operator=(AsCompleted&&) noexcept;
  ~AsCompleted();

  // The next that ended; nothing when all have been given out. Throws WaitTimeout when the whole timeout ran out.
  [[nodiscard]] std::optional<Future> next();

  using Iterator = InputIterator<AsCompleted, Future>;
  [[nodiscard]] Iterator begin() { return Iterator(this); }
  [[nodiscard]] static std::default_sentinel_t end() { return {}; }

 private:
  std::shared_ptr<CompletionQueue> queue_;
};

[[nodiscard]] inline AsCompleted as_completed(std::span<const Future> futures, Milliseconds timeout = kForever) {
  return {futures, timeout};
}

}  // namespace futured::client
