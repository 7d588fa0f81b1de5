#include "base/time.h"

#include <ctime>

namespace futured {

Instant monotonic_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return {now.tv_sec * 1'000'000'000LL + now.tv_nsec};
}

WallTime wall_now() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return {now.tv_sec * 1'000'000LL + now.tv_nsec / 1000};
}

Instant coarse_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return {now.tv_sec * 1'000'000'000LL + now.tv_nsec};
}

}  // namespace futured
