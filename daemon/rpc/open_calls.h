// OpenCalls: the calls that have not been answered yet, so that a stopping daemon can end them all.
#pragma once

#include <memory>
#include <mutex>
#include <unordered_map>

#include "base/result.h"
#include "base/time.h"

namespace futured::rpc {

class OpenCall {
 public:
  virtual ~OpenCall() = default;
  // Ends the call with this error, unless it has ended or its last answer is under way. Any thread.
  virtual void stop(const Error& why) = 0;
};

// Any thread.
class OpenCalls {
 public:
  // False: the daemon is stopping, and the call must be refused.
  [[nodiscard]] bool add(const std::shared_ptr<OpenCall>& call);
  void remove(OpenCall* call);
  // Stops all, and whatever is added later is refused.
  void stop_all(const Error& why);

  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] Instant last_change() const;

 private:
  mutable std::mutex mutex_;  // guards all below
  std::unordered_map<OpenCall*, std::weak_ptr<OpenCall>> calls_;
  bool stopping_ = false;
  Instant last_change_ = monotonic_now();
};

}  // namespace futured::rpc
