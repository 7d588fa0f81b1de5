#include "daemon/core/backoff.h"

#include <algorithm>
#include <cmath>

#include "base/hash.h"

namespace futured {

double Random::share() {
  state_ += 0x9e3779b97f4a7c15ULL;
  return static_cast<double>(mix_bits(state_) >> 11) / static_cast<double>(1ULL << 53);
}

Duration wait_after(std::uint32_t failures, const Backoff& backoff, Random& random) {
  if (backoff.first.count() == 0) return Duration(0);  // times infinity it would be no number
  const auto most = static_cast<double>(backoff.most.count());
  const double wait = std::min(
      most, static_cast<double>(backoff.first.count()) * std::pow(backoff.factor, static_cast<double>(failures - 1)));
  const double swing = 1 + backoff.jitter * (2 * random.share() - 1);
  return Duration(static_cast<std::int64_t>(std::min(most, wait * swing)));
}

}  // namespace futured
