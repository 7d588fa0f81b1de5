#include "client/cpp/waiting.h"

#include <string>
#include <utility>

#include "client/cpp/client_state.h"

namespace futured::client {

Deadline deadline_after(Milliseconds timeout) {
  const auto now = std::chrono::steady_clock::now();
  // Saturates: milliseconds near the maximum do not fit into the clock's nanoseconds.
  if (timeout > std::chrono::duration_cast<Milliseconds>(std::chrono::steady_clock::time_point::max() - now)) return {};
  return now + timeout;
}

bool listen(Block& block, std::uint32_t index, const std::shared_ptr<Sink>& sink, std::uint64_t cookie) {
  switch (block.add_listener(index, sink, cookie)) {
    case Listening::kEnded:
      return false;
    case Listening::kFollowed:
      return true;
    case Listening::kNotFollowed:
      break;
  }
  const auto client = block.client();
  if (!client) {
    block.remove_listener(index, sink.get());
    throw Unavailable("the client of this future is closed");
  }
  client->follow(block, index);
  return true;
}

void Waiter::completed(const Notice* notices, std::size_t count) {
  const std::lock_guard guard(mutex_);
  ended_ += count;
  for (std::size_t i = 0; i < count; ++i) failed_ = failed_ || !notices[i].succeeded;
  if (ended_ >= enough_ || (failed_ && stop_at_failure_)) wake_.notify_all();
}

bool Waiter::wait(std::size_t enough, bool stop_at_failure, Deadline deadline) {
  std::unique_lock lock(mutex_);
  enough_ = enough;
  stop_at_failure_ = stop_at_failure;
  const auto satisfied = [&] { return ended_ >= enough_ || (failed_ && stop_at_failure_); };
  if (deadline) return wake_.wait_until(lock, *deadline, satisfied);
  wake_.wait(lock, satisfied);
  return true;
}

void CompletionQueue::add(const Future& future) {
  {
    const std::lock_guard guard(mutex_);
    ++open_;
  }
  if (listen(*FutureAccess::block(future), FutureAccess::index(future), shared_from_this(), 0)) return;
  const std::lock_guard guard(mutex_);
  ready_.push_back(future);
}

void CompletionQueue::completed(const Notice* notices, std::size_t count) {
  const std::lock_guard guard(mutex_);
  for (std::size_t i = 0; i < count; ++i) ready_.push_back(notices[i].block->future(notices[i].index));
  wake_.notify_all();
}

std::optional<Future> CompletionQueue::next(Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (open_ == 0) return std::nullopt;
  const auto some = [&] { return !ready_.empty(); };
  if (!deadline) {
    wake_.wait(lock, some);
  } else if (!wake_.wait_until(lock, *deadline, some)) {
    throw WaitTimeout(std::to_string(open_) + " futures have not ended in time; their jobs go on");
  }
  Future next = std::move(ready_.front());
  ready_.pop_front();
  --open_;
  return next;
}

}  // namespace futured::client
