#include "daemon/core/cron.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace futured {

namespace {

constexpr std::int64_t kDaysMax = 12 * 366;  // from a 29th of February to the next, across a century

struct Field {
  const char* name;
  std::int32_t least;
  std::int32_t most;
  std::span<const std::string_view> names;  // of least, least + 1, …
};

constexpr std::array<std::string_view, 12> kMonths = {"jan", "feb", "mar", "apr", "may", "jun",
                                                      "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> kWeekdays = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
const Field kSecond{"second", 0, 59, {}};
const Field kMinute{"minute", 0, 59, {}};
const Field kHour{"hour", 0, 23, {}};
const Field kDayOfMonth{"day of month", 1, 31, {}};
const Field kMonth{"month", 1, 12, kMonths};
const Field kDayOfWeek{"day of week", 0, 7, kWeekdays};  // 7 is Sunday, too

Error wrong(const Field& field, std::string_view word, const std::string& why) {
  return {ErrorCode::kInvalidArgument, std::string("the ") + field.name + " \"" + std::string(word) + "\": " + why};
}

std::string range_of(const Field& field) {
  std::string text = "write " + std::to_string(field.least) + " to " + std::to_string(field.most);
  if (!field.names.empty()) {
    text += ", or " + std::string(field.names.front()) + " to " + std::string(field.names.back());
  }
  return text;
}

bool is_same_word(std::string_view word, std::string_view name) {
  if (word.size() != name.size()) return false;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if ((word[i] | 0x20) != name[i]) return false;
  }
  return true;
}

std::optional<std::int32_t> number_of(std::string_view word) {
  if (word.empty() || word.size() > 4) return std::nullopt;
  std::int32_t value = 0;
  for (const char digit : word) {
    if (digit < '0' || digit > '9') return std::nullopt;
    value = value * 10 + (digit - '0');
  }
  return value;
}

Result<std::int32_t> value_of(const Field& field, std::string_view word, std::string_view entry) {
  for (std::size_t i = 0; i < field.names.size(); ++i) {
    if (is_same_word(word, field.names[i])) return field.least + static_cast<std::int32_t>(i);
  }
  const std::optional<std::int32_t> value = number_of(word);
  if (!value || *value < field.least || *value > field.most) return wrong(field, entry, range_of(field));
  return *value;
}

// One of the words between commas: *, 5, 1-5, */15, 8-18/2.
Result<std::uint64_t> parse_entry(const Field& field, std::string_view entry) {
  const std::size_t slash = entry.find('/');
  const std::string_view range = entry.substr(0, slash);
  std::int32_t first = field.least;
  std::int32_t last = field.most;
  const std::size_t dash = range.find('-');
  if (range != "*") {
    const auto begin = value_of(field, range.substr(0, dash), entry);
    if (!begin.ok()) return begin.error();
    first = last = *begin;
    if (dash != std::string_view::npos) {
      const auto end = value_of(field, range.substr(dash + 1), entry);
      if (!end.ok()) return end.error();
      last = *end;
      // "fri-sun": Sunday is at the end, too.
      if (&field == &kDayOfWeek && last == 0 && first > 0) last = 7;
    }
    if (first > last) return wrong(field, entry, "a range ascends: write its two parts with a comma between them");
  } else if (&field == &kDayOfWeek) {
    last = 6;
  }
  std::int32_t step = 1;
  if (slash != std::string_view::npos) {
    const std::optional<std::int32_t> asked = number_of(entry.substr(slash + 1));
    if (!asked || *asked == 0) return wrong(field, entry, "a step is a number over 0, as in */15");
    if (range != "*" && dash == std::string_view::npos) {
      return wrong(field, entry,
                   "a step is taken within a range: write " + std::string(range) + "-" + std::to_string(field.most) +
                       "/" + std::to_string(*asked));
    }
    if (*asked > last - first) {
      return wrong(field, entry, "the step leads out of its range, and only the first value is left: write that");
    }
    step = *asked;
  }
  std::uint64_t bits = 0;
  for (std::int32_t value = first; value <= last; value += step) bits |= std::uint64_t{1} << value;
  return bits;
}

Result<std::uint64_t> parse_field(const Field& field, std::string_view word) {
  std::uint64_t bits = 0;
  for (;;) {
    const std::size_t comma = word.find(',');
    const auto entry = parse_entry(field, word.substr(0, comma));
    if (!entry.ok()) return entry.error();
    bits |= *entry;
    if (comma == std::string_view::npos) break;
    word.remove_prefix(comma + 1);
  }
  if (&field == &kDayOfWeek && (bits >> 7 & 1) != 0) bits |= 1;
  return bits;
}

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> words;
  while (true) {
    const std::size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return words;
    line.remove_prefix(begin);
    const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

Result<std::string_view> expand(std::string_view line) {
  constexpr std::pair<std::string_view, std::string_view> kShort[] = {
      {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
      {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"}};
  for (const auto& [name, fields] : kShort) {
    if (line == name) return fields;
  }
  return Error{ErrorCode::kInvalidArgument,
               "\"" + std::string(line) +
                   "\" is no short form: there are @yearly, @monthly, @weekly, @daily and @hourly; an interval is "
                   "given as such, not in a cron line"};
}

bool has(std::uint64_t bits, std::int32_t value) { return (bits >> value & 1) != 0; }

// The first bit from `from` on; `end`: none.
std::int32_t first_from(std::uint64_t bits, std::int32_t from, std::int32_t end) {
  while (from < end && !has(bits, from)) ++from;
  return from;
}

}  // namespace

Result<Cron> Cron::parse(std::string_view line) {
  std::vector<std::string_view> words = split(line);
  if (words.size() == 1 && words[0].starts_with('@')) {
    const auto fields = expand(words[0]);
    if (!fields.ok()) return fields.error();
    words = split(*fields);
  }
  if (words.size() != 5 && words.size() != 6) {
    return Error{ErrorCode::kInvalidArgument,
                 "it has " + std::to_string(words.size()) +
                     " fields: write minute, hour, day of month, month and day of week, such as 0 8 * * mon-fri, and "
                     "a second in front of them if it matters"};
  }
  Cron cron;
  const std::size_t shift = words.size() - 5;
  const std::pair<const Field*, std::uint64_t*> fields[] = {{&kSecond, &cron.seconds_}, {&kMinute, &cron.minutes_},
                                                            {&kHour, &cron.hours_},     {&kDayOfMonth, &cron.days_},
                                                            {&kMonth, &cron.months_},   {&kDayOfWeek, &cron.weekdays_}};
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto& [field, bits] = fields[i + 1 - shift];
    const auto parsed = parse_field(*field, words[i]);
    if (!parsed.ok()) return parsed.error();
    *bits = *parsed;
  }
  cron.either_day_ = !words[2 + shift].starts_with('*') && !words[4 + shift].starts_with('*');
  return cron;
}

std::optional<UtcSeconds> Cron::next(const Zone& zone, UtcSeconds after) const {
  ClockSeconds from = zone.clock_at(after) + 1;
  for (;;) {
    const std::optional<ClockSeconds> shown = next_shown(from);
    if (!shown) return std::nullopt;
    const UtcSeconds at = zone.when(*shown);
    if (at > after) return at;
    from = *shown + 1;  // it is shown for the second time
  }
}

std::optional<ClockSeconds> Cron::next_shown(ClockSeconds from) const {
  using namespace std::chrono;
  const auto first = floor<days>(sys_seconds(seconds(from)));
  auto day = first;
  while ((day - first).count() <= kDaysMax) {
    const year_month_day date(day);
    if (!has(months_, static_cast<std::int32_t>(static_cast<unsigned>(date.month())))) {
      day = sys_days((date.year() / date.month() + months(1)) / 1);
      continue;
    }
    const bool is_day = has(days_, static_cast<std::int32_t>(static_cast<unsigned>(date.day())));
    const bool is_weekday = has(weekdays_, static_cast<std::int32_t>(weekday(day).c_encoding()));
    if (either_day_ ? is_day || is_weekday : is_day && is_weekday) {
      const std::int64_t midnight = sys_seconds(day).time_since_epoch().count();
      const auto time = next_of_day(day == first ? static_cast<std::int32_t>(from - midnight) : 0);
      if (time) return midnight + *time;
    }
    day += days(1);
  }
  return std::nullopt;
}

std::optional<std::int32_t> Cron::next_of_day(std::int32_t from) const {
  for (std::int32_t hour = first_from(hours_, from / 3600, 24); hour < 24; hour = first_from(hours_, hour + 1, 24)) {
    const std::int32_t in_hour = std::max(from - hour * 3600, 0);
    for (std::int32_t minute = first_from(minutes_, in_hour / 60, 60); minute < 60;
         minute = first_from(minutes_, minute + 1, 60)) {
      const std::int32_t second = first_from(seconds_, std::max(in_hour - minute * 60, 0), 60);
      if (second < 60) return hour * 3600 + minute * 60 + second;
    }
  }
  return std::nullopt;
}

}  // namespace futured
