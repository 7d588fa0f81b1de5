// Cron: a line of five fields, or six with seconds in front, and when it fires by the clocks of a place.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "daemon/core/zone.h"

namespace futured {

class Cron {
 public:
  // Errors name the field and the way out.
  [[nodiscard]] static Result<Cron> parse(std::string_view line);

  // The first time after `after`; nothing: it does not fire within twelve years, that is never. A time that the clocks
  // show twice counts the first time; one that they are put forward over, at the moment at which they are.
  [[nodiscard]] std::optional<UtcSeconds> next(const Zone& zone, UtcSeconds after) const;

 private:
  // The first time that is shown at `from` or later.
  [[nodiscard]] std::optional<ClockSeconds> next_shown(ClockSeconds from) const;
  [[nodiscard]] std::optional<std::int32_t> next_of_day(std::int32_t from) const;

  std::uint64_t seconds_ = 1;  // a bit each
  std::uint64_t minutes_ = 0;
  std::uint64_t hours_ = 0;
  std::uint64_t days_ = 0;      // of the month, from 1
  std::uint64_t months_ = 0;    // from 1
  std::uint64_t weekdays_ = 0;  // Sunday is 0
  bool either_day_ = false;     // both kinds of days are restricted: one of them is enough
};

}  // namespace futured
