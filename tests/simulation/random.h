// Random: the one source of chance of a history; the seed decides everything.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "base/time.h"

namespace futured::simulation {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {  // splitmix64
    std::uint64_t bits = state_ += 0x9e3779b97f4a7c15ULL;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9ULL;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebULL;
    return bits ^ (bits >> 31);
  }
  std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : next() % bound; }
  std::int64_t between(std::int64_t least, std::int64_t most) {
    return least + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(most - least + 1)));
  }
  bool chance(std::uint64_t per_mille) { return below(1000) < per_mille; }
  Duration duration(Duration least, Duration most) { return Duration(between(least.count(), most.count())); }

 private:
  std::uint64_t state_;
};

// A promise is broken. Carries what was expected and what happened.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace futured::simulation
