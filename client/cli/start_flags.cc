#include "client/cli/start_flags.h"

#include <cstring>
#include <ctime>
#include <optional>

#include "base/time.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

// The fields as they are written; nothing: it is no such time.
std::optional<std::tm> fields_of(const std::string& word, bool& is_utc) {
  std::tm fields{};
  const char* rest = ::strptime(word.c_str(), "%Y-%m-%dT%H:%M", &fields);
  if (rest != nullptr && *rest == ':') rest = ::strptime(rest, ":%S", &fields);
  if (rest == nullptr) return std::nullopt;
  is_utc = std::strcmp(rest, "Z") == 0;
  if (*rest != '\0' && !is_utc) return std::nullopt;
  return fields;
}

bool same_time(const std::tm& a, const std::tm& b) {
  return a.tm_year == b.tm_year && a.tm_mon == b.tm_mon && a.tm_mday == b.tm_mday && a.tm_hour == b.tm_hour &&
         a.tm_min == b.tm_min && a.tm_sec == b.tm_sec;
}

}  // namespace

std::int64_t parse_time(const std::string& word, std::string_view option) {
  bool is_utc = false;
  const std::optional<std::tm> asked = fields_of(word, is_utc);
  const std::string what = std::string(option) + ": \"" + word + "\" ";
  if (!asked) {
    throw UsageError(what + "is no time: write 2026-12-01T08:00 or 2026-12-01T08:00:30, and a Z behind it for UTC");
  }
  std::tm made = *asked;
  made.tm_isdst = -1;
  const std::time_t seconds = is_utc ? ::timegm(&made) : ::mktime(&made);
  if (!same_time(*asked, made)) {
    throw UsageError(what + "is no time that there is: no such day, or the clock is put forward over it");
  }
  return std::int64_t{seconds} * 1'000'000;
}

void StartFlags::add_to(CLI::App& verb) {
  CLI::Option* const time =
      verb.add_option("--at", at, "Start it no earlier: 2026-12-01T08:00, by this clock; with a Z behind it, UTC")
          ->group("Job");
  verb.add_option("--in", in, "Start it no earlier than so long from now, such as 5m")
      ->group("Job")
      ->check(duration_over_zero("--in", "leave it out to start at once"))
      ->excludes(time);
}

void StartFlags::put_into(client::JobOptions& options) const {
  if (!in.empty()) options.start_after = parse_duration(in, "--in");
  if (at.empty()) return;
  options.start_at_us = parse_time(at, "--at");
  if (options.start_at_us <= wall_now().us) {
    throw UsageError("--at: " + at + " is past: leave it out to start at once");
  }
}

}  // namespace futured::cli
