#include "daemon/rpc/open_calls.h"

#include <vector>

namespace futured::rpc {

bool OpenCalls::add(const std::shared_ptr<OpenCall>& call) {
  const Instant now = monotonic_now();
  const std::lock_guard lock(mutex_);
  if (stopping_) return false;
  calls_.emplace(call.get(), call);
  last_change_ = now;
  return true;
}

void OpenCalls::remove(OpenCall* call) {
  const Instant now = monotonic_now();
  const std::lock_guard lock(mutex_);
  calls_.erase(call);
  last_change_ = now;
}

void OpenCalls::stop_all(const Error& why) {
  std::vector<std::shared_ptr<OpenCall>> open;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const auto& [call, weak] : calls_) {
      if (auto strong = weak.lock()) open.push_back(std::move(strong));
    }
  }
  for (const auto& call : open) call->stop(why);
}

std::size_t OpenCalls::size() const {
  const std::lock_guard lock(mutex_);
  return calls_.size();
}

Instant OpenCalls::last_change() const {
  const std::lock_guard lock(mutex_);
  return last_change_;
}

}  // namespace futured::rpc
