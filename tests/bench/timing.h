// What every load generator prints: one JSON object with a rate, or with the percentiles of a series.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace futured::bench {

class Stopwatch {
 public:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - from_).count();
  }

 private:
  std::chrono::steady_clock::time_point from_ = std::chrono::steady_clock::now();
};

// {"per_second": …, "count": …, "seconds": …}
void print_rate(std::uint64_t count, double seconds);
// {"p50_us": …, "p99_us": …, "count": …}; `seconds` is one entry per operation and must not be empty.
void print_latency(std::vector<double> seconds);

}  // namespace futured::bench
