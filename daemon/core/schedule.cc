#include "daemon/core/schedule.h"

#include <algorithm>

#include "base/hash.h"

namespace futured {

namespace {

constexpr std::int64_t kSecondUs = 1'000'000;

std::int64_t floor_div(std::int64_t value, std::int64_t by) { return value / by - (value % by < 0 ? 1 : 0); }

}  // namespace

Result<Timing> Timing::of(const ScheduleRow& row, std::shared_ptr<const Zone> zone) {
  Timing timing;
  timing.zone_ = std::move(zone);
  timing.every_ = row.every;
  timing.anchor_ = row.anchor;
  if (row.cron.empty()) return timing;
  auto cron = Cron::parse(row.cron);
  if (!cron.ok()) return cron.error();
  timing.cron_ = *cron;
  return timing;
}

std::optional<WallTime> Timing::next(WallTime after) const {
  if (cron_) {
    const auto second = cron_->next(*zone_, floor_div(after.us, kSecondUs));
    return second ? std::optional(WallTime{*second * kSecondUs}) : std::nullopt;
  }
  const std::int64_t every_us = every_.count() / 1000;
  const std::int64_t passed = std::max<std::int64_t>(floor_div(after.us - anchor_.us, every_us), 0);
  return WallTime{anchor_.us + (passed + 1) * every_us};
}

// `next` never falls, so the last time from which it stays within `until` is found by halving.
std::optional<WallTime> Timing::newest(WallTime after, WallTime until) const {
  const auto fires_within = [&](std::int64_t from_us) {
    const auto at = next(WallTime{from_us});
    return at && *at <= until;
  };
  if (!fires_within(after.us)) return std::nullopt;
  std::int64_t back_us = kSecondUs;
  while (until.us - back_us > after.us && !fires_within(until.us - back_us)) back_us *= 2;
  std::int64_t yes = std::max(until.us - back_us, after.us);
  std::int64_t no = until.us;
  while (no - yes > 1) {
    const std::int64_t middle = yes + (no - yes) / 2;
    (fires_within(middle) ? yes : no) = middle;
  }
  return next(WallTime{yes});
}

std::vector<WallTime> Timing::newest(WallTime after, WallTime until, std::size_t count_max) const {
  std::vector<WallTime> times;
  for (auto at = next(after); at && *at <= until && times.size() <= count_max; at = next(*at)) times.push_back(*at);
  if (times.size() <= count_max) return times;
  times.clear();
  for (WallTime end = until; times.size() < count_max;) {
    const auto at = newest(after, end);
    if (!at) break;
    times.push_back(*at);
    end = WallTime{at->us - 1};
  }
  std::ranges::reverse(times);
  return times;
}

WallTime due_at(const ScheduleRow& row, WallTime firing) {
  const std::int64_t jitter_us = row.jitter.count() / 1000;
  if (jitter_us <= 0) return firing;
  const std::uint64_t draw = stable_hash(row.name, static_cast<std::uint64_t>(firing.us));
  return {firing.us + static_cast<std::int64_t>(draw % static_cast<std::uint64_t>(jitter_us + 1))};
}

}  // namespace futured
