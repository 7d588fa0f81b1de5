// Three kinds of time that never mix by accident: Duration, Instant (monotonic) and WallTime.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>

namespace futured {

using Duration = std::chrono::nanoseconds;

// A point on CLOCK_MONOTONIC, in nanoseconds. The same clock in every process of one boot, so a start time that a
// worker writes into its channel can be compared by any later daemon. Rules timeouts and delays while running.
struct Instant {
  std::int64_t ns = 0;

  auto operator<=>(const Instant&) const = default;
  static constexpr Instant never() { return {INT64_MAX}; }
};

constexpr Instant operator+(Instant at, Duration by) {
  if (by.count() > 0 && at.ns > INT64_MAX - by.count()) return Instant::never();
  return {at.ns + by.count()};
}
constexpr Duration operator-(Instant a, Instant b) { return Duration(a.ns - b.ns); }

// Microseconds since 1970-01-01 UTC. What is stored and shown; rules schedules only.
struct WallTime {
  std::int64_t us = 0;

  auto operator<=>(const WallTime&) const = default;
};

constexpr WallTime operator+(WallTime at, Duration by) { return {at.us + by.count() / 1000}; }
constexpr Duration operator-(WallTime a, WallTime b) { return Duration((a.us - b.us) * 1000); }

// The only places that read a clock.
[[nodiscard]] Instant monotonic_now();
[[nodiscard]] WallTime wall_now();
// monotonic_now() as of the kernel's last tick, up to 10 ms ago; costs a third.
[[nodiscard]] Instant coarse_now();

}  // namespace futured
