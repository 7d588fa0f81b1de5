// RunLoop: a loop on the thread that calls it, for programs that have no other.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include "futured/coroutine.h"

namespace futured::client {

class RunLoop final : public Loop {
 public:
  RunLoop();
  RunLoop(const RunLoop&) = delete;
  RunLoop& operator=(const RunLoop&) = delete;
  ~RunLoop();

  // Runs the coroutine, and whatever else is posted, until it has ended: its result, or what it threw.
  template <typename T>
  T run(Coroutine<T> coroutine, std::stop_token stop = {}) {
    std::optional<Ended<T>> how;
    start<T>(
        *this, std::move(coroutine), [&](Ended<T> ended) { how = std::move(ended); }, std::move(stop));
    while (!how) run_next();
    return how->take();
  }

  void post(Work work) override;
  [[nodiscard]] std::shared_ptr<void> post_at(std::chrono::steady_clock::time_point when, Work work) override;

 private:
  void run_next();  // waits for it

  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace futured::client
