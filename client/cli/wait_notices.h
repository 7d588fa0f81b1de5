// WaitNotices: says why a verb waits, where nothing else would.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "futured/client.h"

namespace futured::cli {

// While it lives it asks the daemon now and then, from a thread of its own, and says on standard error, each once:
// what the first of `jobs` that has not ended waits for, when it has not started after two seconds; and that the store
// cannot commit, for until there is room no job ends and no cancel is answered, without a word on any call. To be made
// behind Interrupt, which wants to be before all other threads.
class WaitNotices {
 public:
  explicit WaitNotices(std::string address, std::vector<std::uint64_t> jobs = {});
  ~WaitNotices();
  WaitNotices(const WaitNotices&) = delete;
  WaitNotices& operator=(const WaitNotices&) = delete;

 private:
  void run();
  void look();
  void tell_if_not_started(const client::Client& client) const;
  void tell_if_failing(const client::Client& client);

  const std::string address_;
  const std::vector<std::uint64_t> jobs_;
  bool jobs_looked_at_ = false;  // both of the thread alone
  bool store_told_ = false;
  std::mutex mutex_;  // guards over_
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;
};

// It has not begun, or waits for its next attempt.
[[nodiscard]] bool is_waiting(client::JobState state);

}  // namespace futured::cli
