// Zone: what the clocks of a place show, from the bytes of its file (RFC 8536). Pure: whoever has files reads them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace futured {

// Seconds since 1970 UTC, or as a clock shows them: the same count of what it shows.
using UtcSeconds = std::int64_t;
using ClockSeconds = std::int64_t;

// The rule at the end of such a file, for all times behind those that it lists: "CET-1CEST,M3.5.0,M10.5.0/3".
class ZoneRule {
 public:
  [[nodiscard]] static Result<ZoneRule> parse(std::string_view text);
  [[nodiscard]] std::int32_t offset_at(UtcSeconds at) const;

 private:
  struct Day {
    enum class Kind : std::uint8_t { kMonthWeekDay, kDayOfYear, kDayOfYearNoLeap } kind = Kind::kMonthWeekDay;
    std::int32_t month = 1, week = 1, day = 0;
    std::int32_t time = 7200;  // seconds after its midnight, by the clock that is left

    [[nodiscard]] ClockSeconds in_year(std::int32_t year) const;
  };
  class Reader;

  std::int32_t standard_ = 0;  // seconds east of UTC
  std::int32_t summer_ = 0;
  bool has_summer_ = false;
  Day begin_;  // of summer
  Day end_;
};

class Zone {
 public:
  Zone() = default;  // UTC
  [[nodiscard]] static Result<Zone> parse(std::string_view file);

  [[nodiscard]] std::int32_t offset_at(UtcSeconds at) const;  // seconds east of UTC
  [[nodiscard]] ClockSeconds clock_at(UtcSeconds at) const { return at + offset_at(at); }
  // When its clocks show that: the first time, where they show it twice; where they never do, because they are put
  // forward over it, the moment at which they are. Never falls when `shown` rises.
  [[nodiscard]] UtcSeconds when(ClockSeconds shown) const;

 private:
  std::vector<UtcSeconds> changes_;    // ascending
  std::vector<std::int32_t> offsets_;  // from each change on
  std::int32_t before_ = 0;            // the first change
  std::optional<ZoneRule> after_;      // the last change
};

}  // namespace futured
