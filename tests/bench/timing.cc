#include "tests/bench/timing.h"

#include <algorithm>
#include <cstdio>

namespace futured::bench {

void print_rate(std::uint64_t count, double seconds) {
  std::printf("{\"per_second\": %.1f, \"count\": %llu, \"seconds\": %.6f}\n", static_cast<double>(count) / seconds,
              static_cast<unsigned long long>(count), seconds);
}

void print_latency(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const auto at = [&](double share) {
    return seconds[static_cast<std::size_t>(share * static_cast<double>(seconds.size() - 1))] * 1e6;
  };
  std::printf("{\"p50_us\": %.2f, \"p99_us\": %.2f, \"count\": %zu}\n", at(0.5), at(0.99), seconds.size());
}

}  // namespace futured::bench
