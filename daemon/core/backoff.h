// Waits between tries that grow, with a share of chance in them.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace futured {

// Deterministic: the same seed gives the same row of numbers (splitmix64).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  [[nodiscard]] double share();  // of [0, 1)

 private:
  std::uint64_t state_;
};

struct Backoff {
  Duration first{0};
  double factor = 2;  // each further wait is so many times the last
  Duration most{0};   // no wait is longer
  double jitter = 0;  // share of each wait that is random
};

// How long to wait after so many failures; at least one.
[[nodiscard]] Duration wait_after(std::uint32_t failures, const Backoff& backoff, Random& random);

}  // namespace futured
