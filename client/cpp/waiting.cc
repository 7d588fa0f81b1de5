#include "client/cpp/waiting.h"

#include <algorithm>
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

void need(const Block* block) {
  if (block == nullptr) throw Error(ErrorKind::kInvalidArgument, "this Future is empty: it stands for no job");
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
  std::function<void()> then;
  {
    const std::lock_guard guard(mutex_);
    ended_ += count;
    for (std::size_t i = 0; i < count; ++i) failed_ = failed_ || !notices[i].succeeded;
    if (!is_satisfied()) return;
    wake_.notify_all();
    then = std::exchange(then_, nullptr);
  }
  if (then) then();
}

bool Waiter::wait(std::size_t enough, bool stop_at_failure, Deadline deadline) {
  std::unique_lock lock(mutex_);
  enough_ = enough;
  stop_at_failure_ = stop_at_failure;
  const auto satisfied = [&] { return is_satisfied(); };
  if (deadline) return wake_.wait_until(lock, *deadline, satisfied);
  wake_.wait(lock, satisfied);
  return true;
}

bool Waiter::call_when(std::size_t enough, bool stop_at_failure, std::function<void()> then) {
  const std::lock_guard guard(mutex_);
  enough_ = enough;
  stop_at_failure_ = stop_at_failure;
  if (is_satisfied()) return false;
  then_ = std::move(then);
  return true;
}

void Waiter::forget_call() {
  const std::lock_guard guard(mutex_);
  then_ = nullptr;
}

std::size_t listen_to(std::span<const Future> futures, WaitFor what, const std::shared_ptr<Waiter>& waiter) {
  std::size_t open = 0;
  bool failed = false;
  for (const Future& future : futures) {
    need(FutureAccess::block(future));
    if (listen(*FutureAccess::block(future), FutureAccess::index(future), waiter, 0)) {
      ++open;
    } else if (what == WaitFor::kFirstException) {
      failed = failed || future.exception() != nullptr;
    }
  }
  if (failed || (what == WaitFor::kFirstCompleted && open < futures.size())) return 0;
  return what == WaitFor::kFirstCompleted ? std::min<std::size_t>(open, 1) : open;
}

void stop_listening(std::span<const Future> futures, const Waiter* waiter) {
  for (const Future& future : futures) {
    if (!future.valid()) continue;
    Block& block = *FutureAccess::block(future);
    if (!block.ended(FutureAccess::index(future))) block.remove_listener(FutureAccess::index(future), waiter);
  }
}

WaitResult sorted_by_end(std::span<const Future> futures) {
  WaitResult result;
  for (const Future& future : futures) {
    const bool ended = FutureAccess::block(future)->ended(FutureAccess::index(future));
    (ended ? result.done : result.not_done).push_back(future);
  }
  return result;
}

void CompletionQueue::add(const Future& future, std::uint64_t cookie) {
  need(FutureAccess::block(future));
  const bool listens = listen(*FutureAccess::block(future), FutureAccess::index(future), shared_from_this(), cookie);
  std::function<void()> then;
  {
    const std::lock_guard guard(mutex_);
    ++open_;  // only now: of what listen() refused, no end would ever come
    if (listens) return;
    ready_.push_back({future, cookie});
    then = std::exchange(then_, nullptr);
  }
  if (then) then();
}

void CompletionQueue::completed(const Notice* notices, std::size_t count) {
  std::function<void()> then;
  {
    const std::lock_guard guard(mutex_);
    for (std::size_t i = 0; i < count; ++i) {
      ready_.push_back({notices[i].block->future(notices[i].index), notices[i].cookie});
    }
    wake_.notify_all();
    then = std::exchange(then_, nullptr);
  }
  if (then) then();
}

std::optional<Completion> CompletionQueue::next(Deadline deadline) {
  home_.check();
  std::unique_lock lock(mutex_);
  if (open_ == 0) return std::nullopt;
  const auto some = [&] { return !ready_.empty(); };
  if (!deadline) {
    wake_.wait(lock, some);
  } else if (!wake_.wait_until(lock, *deadline, some)) {
    throw WaitTimeout(std::to_string(open_) + " futures have not ended in time; their jobs go on");
  }
  return take();
}

std::optional<Completion> CompletionQueue::try_next() {
  const std::lock_guard guard(mutex_);
  if (ready_.empty()) return std::nullopt;
  return take();
}

bool CompletionQueue::call_when_ready(std::function<void()> then) {
  home_.check();
  const std::lock_guard guard(mutex_);
  if (open_ == 0 || !ready_.empty()) return false;
  then_ = std::move(then);
  return true;
}

void CompletionQueue::forget_call() {
  const std::lock_guard guard(mutex_);
  then_ = nullptr;
}

Completion CompletionQueue::take() {
  Completion next = std::move(ready_.front());
  ready_.pop_front();
  --open_;
  return next;
}

}  // namespace futured::client
