// WaitNotices: says why a verb waits, where nothing else would.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "client/cli/cli.h"
#include "futured/client.h"

namespace futured::cli {

// While it lives it asks the daemon now and then, from a thread of its own, and says on standard error, each once:
// what the first of `jobs` that has not ended waits for, when it has not started after two seconds; and that the store
// cannot commit, for until there is room no job ends and no cancel is answered, without a word on any call. To be made
// behind Interrupt, which wants to be before all other threads. `tell` is called on that thread.
class WaitNotices {
 public:
  using Tell = std::function<void(const std::string&)>;

  explicit WaitNotices(std::string address, std::vector<std::uint64_t> jobs = {}, Tell tell = complain);
  ~WaitNotices();
  WaitNotices(const WaitNotices&) = delete;
  WaitNotices& operator=(const WaitNotices&) = delete;

  // The verb waits for this job now and for no other. The two seconds begin anew.
  void turn_to(std::uint64_t job);

 private:
  using Clock = std::chrono::steady_clock;

  void run();
  bool look(const std::vector<std::uint64_t>& jobs);
  void tell_if_not_started(const client::Client& client, const std::vector<std::uint64_t>& jobs);
  void tell_if_failing(const client::Client& client);

  const std::string address_;
  const Tell tell_;
  bool not_started_told_ = false;  // both of the thread alone
  bool store_told_ = false;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<std::uint64_t> jobs_;  // not looked at yet
  Clock::time_point since_ = Clock::now();
  bool over_ = false;
  std::thread thread_;
};

// It has not begun, or waits for its next attempt.
[[nodiscard]] bool is_waiting(client::JobState state);

}  // namespace futured::cli
