// AcceptanceWatch: waits until jobs are accepted, and says so when that takes long.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "futured/client.h"

namespace futured::cli {

// id_of() is for one thread, settled_within() for any.
class AcceptanceWatch {
 public:
  // The job's number, once the daemon has accepted it. Throws what refused it.
  std::uint64_t id_of(const client::Future& future);
  // False: id_of() has been waiting all this time.
  [[nodiscard]] bool settled_within(client::Milliseconds patience);

 private:
  void set_waiting(bool waiting);

  bool told_ = false;
  std::mutex mutex_;  // guards what follows
  std::condition_variable settled_;
  bool waiting_ = false;
};

}  // namespace futured::cli
