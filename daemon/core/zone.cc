#include "daemon/core/zone.h"

#include <algorithm>
#include <chrono>

namespace futured {

namespace {

constexpr std::int64_t kDay = 86'400;
constexpr std::size_t kHeaderBytes = 44;
constexpr std::uint32_t kCountMax = 100'000;  // of anything in such a file

Error damaged(const char* what) {
  return {ErrorCode::kDataLoss, std::string("the time zone file is damaged: ") + what};
}

std::int64_t big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  const unsigned spare = 64 - 8 * static_cast<unsigned>(bytes.size());
  return static_cast<std::int64_t>(value << spare) >> spare;
}

// How many of each thing follow a header.
struct Counts {
  std::uint32_t utc = 0, standard = 0, leaps = 0, times = 0, types = 0, letters = 0;

  [[nodiscard]] std::size_t block_bytes(std::size_t time_bytes) const {
    return std::size_t{times} * (time_bytes + 1) + std::size_t{types} * 6 + letters +
           std::size_t{leaps} * (time_bytes + 4) + standard + utc;
  }
};

std::optional<Counts> read_header(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes || !bytes.starts_with("TZif")) return std::nullopt;
  Counts counts;
  std::size_t at = 20;
  for (std::uint32_t* const count :
       {&counts.utc, &counts.standard, &counts.leaps, &counts.times, &counts.types, &counts.letters}) {
    *count = static_cast<std::uint32_t>(big_endian(bytes.substr(at, 4)));
    if (*count > kCountMax) return std::nullopt;
    at += 4;
  }
  return counts;
}

std::int64_t days_of(std::int32_t year, unsigned month, unsigned day) {
  using namespace std::chrono;
  return sys_days(std::chrono::year(year) / std::chrono::month(month) / std::chrono::day(day))
      .time_since_epoch()
      .count();
}

std::int32_t year_of(ClockSeconds at) {
  using namespace std::chrono;
  return static_cast<std::int32_t>(static_cast<int>(year_month_day(floor<days>(sys_seconds(seconds(at)))).year()));
}

}  // namespace

// Reads the words of a rule from its front.
class ZoneRule::Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  bool take(char wanted) {
    if (rest_.empty() || rest_[0] != wanted) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool name() {
    std::size_t length = 0;
    if (take('<')) {
      length = rest_.find('>');
      if (length == std::string_view::npos) return false;
      rest_.remove_prefix(length + 1);
      return length > 0;
    }
    while (length < rest_.size() && ((rest_[length] | 0x20) >= 'a' && (rest_[length] | 0x20) <= 'z')) ++length;
    rest_.remove_prefix(length);
    return length >= 3;
  }
  bool number(std::int32_t most, std::int32_t& into) {
    std::size_t length = 0;
    std::int32_t value = 0;
    while (length < rest_.size() && length < 4 && rest_[length] >= '0' && rest_[length] <= '9') {
      value = value * 10 + (rest_[length++] - '0');
    }
    rest_.remove_prefix(length);
    into = value;
    return length > 0 && value <= most;
  }
  // [+-]hours[:minutes[:seconds]]
  bool hours(std::int32_t& into) {
    const bool negative = take('-');
    if (!negative) take('+');
    std::int32_t hour = 0;
    std::int32_t minute = 0;
    std::int32_t second = 0;
    if (!number(167, hour)) return false;
    if (take(':') && !number(59, minute)) return false;
    if (take(':') && !number(59, second)) return false;
    into = (hour * 3600 + minute * 60 + second) * (negative ? -1 : 1);
    return true;
  }
  bool day(Day& into) {
    if (!take(',')) return false;
    if (take('M')) {
      into.kind = Day::Kind::kMonthWeekDay;
      if (!number(12, into.month) || !take('.') || !number(5, into.week) || !take('.') || !number(6, into.day))
        return false;
      if (into.month == 0 || into.week == 0) return false;
    } else {
      into.kind = take('J') ? Day::Kind::kDayOfYearNoLeap : Day::Kind::kDayOfYear;
      if (!number(365, into.day)) return false;
      if (into.kind == Day::Kind::kDayOfYearNoLeap && into.day == 0) return false;
    }
    return !take('/') || hours(into.time);
  }

 private:
  std::string_view rest_;
};

ClockSeconds ZoneRule::Day::in_year(std::int32_t year) const {
  using namespace std::chrono;
  std::int64_t days = 0;
  switch (kind) {
    case Kind::kMonthWeekDay: {
      const auto first = sys_days(std::chrono::year(year) / std::chrono::month(static_cast<unsigned>(month)) / 1);
      const auto wanted = weekday(static_cast<unsigned>(day));
      days = (first + (wanted - weekday(first))).time_since_epoch().count() + 7 * (week - 1);
      const auto last =
          sys_days(std::chrono::year(year) / std::chrono::month(static_cast<unsigned>(month)) / std::chrono::last);
      while (days > last.time_since_epoch().count()) days -= 7;
      break;
    }
    case Kind::kDayOfYear:
      days = days_of(year, 1, 1) + day;
      break;
    case Kind::kDayOfYearNoLeap:
      days = days_of(year, 1, 1) + day - 1 + (std::chrono::year(year).is_leap() && day >= 60 ? 1 : 0);
      break;
  }
  return days * kDay + time;
}

Result<ZoneRule> ZoneRule::parse(std::string_view text) {
  ZoneRule rule;
  Reader reader(text);
  const Error wrong = damaged("its last line is no rule");
  std::int32_t west = 0;
  if (!reader.name() || !reader.hours(west)) return wrong;
  rule.standard_ = -west;
  if (reader.at_end()) return rule;
  rule.has_summer_ = true;
  rule.summer_ = rule.standard_ + 3600;
  if (!reader.name()) return wrong;
  if (Reader ahead = reader; ahead.hours(west)) {
    rule.summer_ = -west;
    reader = ahead;
  }
  if (!reader.day(rule.begin_) || !reader.day(rule.end_) || !reader.at_end()) return wrong;
  return rule;
}

std::int32_t ZoneRule::offset_at(UtcSeconds at) const {
  if (!has_summer_) return standard_;
  const std::int32_t year = year_of(at + standard_);
  const UtcSeconds begin = begin_.in_year(year) - standard_;
  const UtcSeconds end = end_.in_year(year) - summer_;
  const bool is_summer = begin < end ? at >= begin && at < end : at >= begin || at < end;
  return is_summer ? summer_ : standard_;
}

Result<Zone> Zone::parse(std::string_view file) {
  const std::optional<Counts> old = read_header(file);
  if (!old) return damaged("it is none");
  if (file[4] < '2')
    return Error{ErrorCode::kFailedPrecondition, "the time zone file is of version 1, with times up to 2038 only"};
  const std::size_t skipped = kHeaderBytes + old->block_bytes(4);
  if (file.size() < skipped) return damaged("it is cut off");
  file.remove_prefix(skipped);
  const std::optional<Counts> counts = read_header(file);
  if (!counts || counts->types == 0) return damaged("its second part is none");
  if (file.size() < kHeaderBytes + counts->block_bytes(8)) return damaged("it is cut off");
  if (counts->leaps != 0) {
    return Error{ErrorCode::kFailedPrecondition, "the time zone file counts leap seconds, which the clock does not"};
  }
  const std::string_view block = file.substr(kHeaderBytes, counts->block_bytes(8));
  const std::size_t index_at = std::size_t{counts->times} * 8;
  const std::size_t types_at = index_at + counts->times;
  const auto offset_of = [&](std::size_t type) {
    return static_cast<std::int32_t>(big_endian(block.substr(types_at + type * 6, 4)));
  };
  Zone zone;
  zone.before_ = offset_of(0);
  for (std::size_t i = 0; i < counts->times; ++i) {
    const auto type = static_cast<unsigned char>(block[index_at + i]);
    if (type >= counts->types) return damaged("it names what it does not have");
    zone.changes_.push_back(big_endian(block.substr(i * 8, 8)));
    zone.offsets_.push_back(offset_of(type));
  }
  if (!std::ranges::is_sorted(zone.changes_)) return damaged("its times do not ascend");
  std::string_view rule = file.substr(kHeaderBytes + block.size());
  if (rule.size() < 2 || rule.front() != '\n' || rule.back() != '\n') return damaged("it has no last line");
  rule = rule.substr(1, rule.size() - 2);
  if (rule.empty()) return zone;
  auto parsed = ZoneRule::parse(rule);
  if (!parsed.ok()) return parsed.error();
  zone.after_ = *parsed;
  return zone;
}

std::int32_t Zone::offset_at(UtcSeconds at) const {
  const auto next = std::ranges::upper_bound(changes_, at);
  if (next == changes_.end() && after_) return after_->offset_at(at);
  if (next == changes_.begin()) return before_;
  return offsets_[static_cast<std::size_t>(next - changes_.begin()) - 1];
}

// Clocks change at most once in two days.
UtcSeconds Zone::when(ClockSeconds shown) const {
  const std::int32_t before = offset_at(shown - kDay);
  const std::int32_t after = offset_at(shown + kDay);
  const auto [least, most] = std::minmax(before, after);
  for (const std::int32_t offset : {most, least}) {  // the larger one gives the earlier moment
    if (offset_at(shown - offset) == offset) return shown - offset;
  }
  UtcSeconds early = shown - most;  // its clocks show less then
  UtcSeconds late = shown - least;  // and more
  while (late - early > 1) {
    const UtcSeconds middle = early + (late - early) / 2;
    (clock_at(middle) > shown ? late : early) = middle;
  }
  return late;
}

}  // namespace futured
