// sum_of: doubles summed at the speed of memory, as the task `sum` does it.
#pragma once

#include <array>
#include <cstddef>
#include <numeric>

namespace futured::bench {

// Sixteen sums side by side: a single one would wait for its own additions and measure those instead of memory.
inline double sum_of(const double* numbers, std::size_t count) {
  constexpr std::size_t kLanes = 16;
  std::array<double, kLanes> sums{};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
#pragma GCC unroll 16
    for (std::size_t lane = 0; lane < kLanes; ++lane) sums[lane] += numbers[i + lane];
  }
  double sum = std::accumulate(sums.begin(), sums.end(), 0.0);
  for (; i < count; ++i) sum += numbers[i];
  return sum;
}

}  // namespace futured::bench
