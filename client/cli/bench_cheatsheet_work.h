// What the rows of fut bench cheatsheet have done, and how its results are checked: a wrong one is no measurement.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "futured/client.h"

namespace futured::cli::cheatsheet {

class WrongResult : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Seconds that `work` takes.
template <typename Work>
[[nodiscard]] double timed(const Work& work) {
  const Instant begin = monotonic_now();
  work();
  return static_cast<double>((monotonic_now() - begin).count()) / 1e9;
}

// Of the task sum_squares. Throws WrongResult.
void check_sum(const std::string& result, std::uint64_t expected);

// Numbers in the caller's ordinary memory, others each time: equal payloads would be stored once.
struct Numbers {
  std::vector<double> values;
  double sum = 0;
};
[[nodiscard]] Numbers make_numbers(std::uint64_t bytes, std::uint64_t seed);

// From the caller's memory to the task sum and back. They throw WrongResult.
using SendAndSum = void (*)(const client::Client&, const client::Executor&, const Numbers&);
// In jobs of at most 4 MiB, which is what one may be given inline.
void sum_through_grpc(const client::Client& client, const client::Executor& executor, const Numbers& numbers);
void sum_through_segment(const client::Client& client, const client::Executor& executor, const Numbers& numbers);
[[nodiscard]] std::uint64_t jobs_through_grpc(std::uint64_t bytes);

// Median seconds of `send`, over so many times.
[[nodiscard]] double median_of(std::uint32_t repeats, std::uint64_t bytes,
                               const std::function<void(const Numbers&)>& send);

// Of jobs that have ended, from the first start to the last. Throws WrongResult where that is no time.
[[nodiscard]] double starts_per_second(const client::Client& client, std::span<const client::Future> futures);
[[nodiscard]] double starts_per_second(std::span<const std::int64_t> started_us);
// "99.8/s of 100.0/s".
[[nodiscard]] std::string rate_text(double started, double asked);

}  // namespace futured::cli::cheatsheet
