// StoreWatch: says why a verb waits when that is the daemon's disk.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace futured::cli {

// While it lives it asks the daemon now and then, from a thread of its own, and says once that the store cannot commit:
// until there is room no job ends and no cancel is answered, without a word on any call. To be made behind Interrupt,
// which wants to be before all other threads.
class StoreWatch {
 public:
  explicit StoreWatch(std::string address);
  ~StoreWatch();
  StoreWatch(const StoreWatch&) = delete;
  StoreWatch& operator=(const StoreWatch&) = delete;

 private:
  void run();
  [[nodiscard]] bool tell_if_failing() const;  // true: told

  const std::string address_;
  std::mutex mutex_;  // guards over_
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace futured::cli
