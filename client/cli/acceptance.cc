#include "client/cli/acceptance.h"

#include "client/cli/cli.h"

namespace futured::cli {

namespace {

constexpr client::Milliseconds kAcceptWithin(3'000);  // a commit takes milliseconds, and a busy disk a second

}  // namespace

std::uint64_t AcceptanceWatch::id_of(const client::Future& future) {
  if (future.answered(client::Milliseconds(0))) return future.id();
  set_waiting(true);
  if (!told_ && !future.answered(kAcceptWithin)) {
    told_ = true;
    complain("the daemon has not accepted the job yet; fut doctor may tell why");
  }
  static_cast<void>(future.answered(client::kForever));
  set_waiting(false);
  return future.id();
}

bool AcceptanceWatch::settled_within(client::Milliseconds patience) {
  std::unique_lock lock(mutex_);
  return settled_.wait_for(lock, patience, [&] { return !waiting_; });
}

void AcceptanceWatch::set_waiting(bool waiting) {
  const std::lock_guard guard(mutex_);
  waiting_ = waiting;
  settled_.notify_all();
}

}  // namespace futured::cli
