#include "client/cli/text.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <limits>
#include <utility>

#include "base/limits.h"
#include "client/cli/cli.h"

namespace futured::cli {

namespace {

constexpr std::string_view kUnitLetters = "mshdin";

double unit_ms(std::string_view unit) {
  if (unit == "ms") return 1;
  if (unit.empty() || unit == "s") return 1'000;
  if (unit == "m" || unit == "min") return 60'000;
  if (unit == "h") return 3'600'000;
  if (unit == "d") return 86'400'000;
  return 0;
}

std::uint64_t parse_id(std::string_view word) {
  std::uint64_t id = 0;
  const auto [end, problem] = std::from_chars(word.data(), word.data() + word.size(), id);
  if (problem != std::errc() || end != word.data() + word.size() || id == 0) {
    throw UsageError("\"" + std::string(word) + "\" is no job number: give numbers such as 42, or ranges such as 3-10");
  }
  return id;
}

// Puts '?' in the place of each character that a terminal obeys, but for those in `kept`.
std::string without_controls(std::string text, std::string_view kept) {
  std::size_t length = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto code = static_cast<unsigned char>(text[i]);
    const unsigned char next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    const bool is_c0 = code < 0x20 || code == 0x7f;
    const bool is_c1 = code == 0xc2 && next >= 0x80 && next < 0xa0;  // two bytes in UTF-8
    const bool is_obeyed = is_c1 || (is_c0 && kept.find(text[i]) == std::string_view::npos);
    text[length++] = is_obeyed ? '?' : text[i];
    if (is_c1) ++i;
  }
  text.resize(length);
  return text;
}

bool begins_character(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }

std::size_t characters_of(std::string_view text) {
  if (!is_utf8(text)) return text.size();
  return static_cast<std::size_t>(std::ranges::count_if(text, begins_character));
}

// Bytes of the first so many characters; all when there are fewer.
std::size_t bytes_before(std::string_view text, std::size_t characters) {
  if (!is_utf8(text)) return std::min(characters, text.size());
  std::size_t seen = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (begins_character(text[i]) && seen++ == characters) return i;
  }
  return text.size();
}

}  // namespace

// By RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF.
bool is_utf8(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xc2 && lead < 0xe0 ? 2
                               : lead >= 0xe0 && lead < 0xf0 ? 3
                               : lead >= 0xf0 && lead < 0xf5 ? 4
                                                             : 0;
    if (length == 0 || i + length > bytes.size()) return false;
    for (std::size_t j = 1; j < length; ++j) {
      if ((static_cast<unsigned char>(bytes[i + j]) & 0xc0) != 0x80) return false;
    }
    const unsigned char second = length > 1 ? static_cast<unsigned char>(bytes[i + 1]) : 0;
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f)) return false;
    if ((lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) return false;
    i += length;
  }
  return true;
}

client::Milliseconds parse_duration(std::string_view word, std::string_view option) {
  double total_ms = 0;
  std::string_view rest = word;
  do {
    double value = 0;
    const auto [end, problem] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    const bool found = problem == std::errc() && !std::signbit(value);
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    const std::size_t length = std::min(rest.find_first_not_of(kUnitLetters), rest.size());
    const double unit = unit_ms(rest.substr(0, length));
    rest.remove_prefix(length);
    // Only a number that is all of the word may do without a unit.
    const bool whole = length != 0 || (rest.empty() && total_ms == 0);
    total_ms = found && whole && unit != 0 ? total_ms + value * unit : std::numeric_limits<double>::infinity();
  } while (!rest.empty() && std::isfinite(total_ms));
  if (!(total_ms <= static_cast<double>(limits::kTimeoutMsMax))) {
    throw UsageError(std::string(option) + ": \"" + std::string(word) +
                     "\" is no duration up to 366d: write 500ms, 5s, 2m, 1h30m or 1d");
  }
  return client::Milliseconds(static_cast<std::int64_t>(total_ms));
}

std::int64_t parse_bytes(std::string_view word, std::string_view option) {
  std::int64_t number = 0;
  const auto [rest, problem] = std::from_chars(word.data(), word.data() + word.size(), number);
  const std::string_view unit(rest, static_cast<std::size_t>(word.data() + word.size() - rest));
  static constexpr std::string_view kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  const auto known = std::ranges::find(kUnits, unit.empty() ? kUnits[0] : unit);
  const auto shift = 10 * (known - std::begin(kUnits));
  if (problem != std::errc() || known == std::end(kUnits) || number < 1 || number > (INT64_MAX >> shift)) {
    throw UsageError(std::string(option) + ": \"" + std::string(word) +
                     "\" is no number of bytes: write 65536, 512MiB or 2GiB");
  }
  return number << shift;
}

std::vector<std::uint64_t> parse_ids(const std::vector<std::string>& words) {
  std::vector<std::uint64_t> ids;
  for (const std::string_view word : words) {
    const std::size_t dash = word.find('-', 1);
    const std::uint64_t first = parse_id(word.substr(0, dash));
    const std::uint64_t last = dash == std::string_view::npos ? first : parse_id(word.substr(dash + 1));
    if (last < first)
      throw UsageError("\"" + std::string(word) + "\" ends before it begins: write the smaller number first");
    if (last - first >= limits::kWaitIdsMax || ids.size() + (last - first) >= limits::kWaitIdsMax) {
      throw UsageError("more than " + std::to_string(limits::kWaitIdsMax) + " jobs: name fewer at once");
    }
    for (std::uint64_t i = 0; i <= last - first; ++i) ids.push_back(first + i);
  }
  return ids;
}

std::vector<client::JobState> parse_states(const std::vector<std::string>& words) {
  std::vector<client::JobState> states;
  for (const std::string& word : words) {
    const client::JobState state = client::job_state_from(word);
    if (state == client::JobState::kUnknown) {
      throw UsageError("--state: \"" + word +
                       "\" is none of scheduled, blocked, queued, running, succeeded, failed, cancelled, timed_out");
    }
    states.push_back(state);
  }
  return states;
}

std::vector<std::string> fill_in(const std::vector<std::string>& words, const std::string& argument) {
  std::vector<std::string> filled;
  bool found = false;
  for (std::string word : words) {
    for (std::size_t at = word.find("{}"); at != std::string::npos; at = word.find("{}", at + argument.size())) {
      word.replace(at, 2, argument);
      found = true;
    }
    filled.push_back(std::move(word));
  }
  if (!found) filled.push_back(argument);
  return filled;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw UsageError("cannot read " + path + ": does it exist, and may you read it?");
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) throw UsageError("cannot read " + path + ": is it a file?");
  return bytes;
}

std::string quoted(const std::vector<std::string>& argv) {
  std::string line;
  for (const std::string& word : argv) {
    if (!line.empty()) line += ' ';
    const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 ||
             std::string_view("@%+=:,./_-").find(static_cast<char>(c)) != std::string_view::npos;
    });
    if (plain) {
      line += word;
      continue;
    }
    line += '\'';
    for (const char letter : word) {
      if (letter == '\'') {
        line += "'\\''";
      } else {
        line += static_cast<unsigned char>(letter) < 0x20 ? '?' : letter;
      }
    }
    line += '\'';
  }
  return line;
}

std::string harmless_lines(std::string text) { return without_controls(std::move(text), "\n\t"); }

std::string one_line(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  return without_controls(std::move(text), "");
}

std::string jobs_of_worker(const client::WorkerInfo& worker) {
  constexpr std::size_t kShown = 4;
  std::string text = std::to_string(worker.jobs_running) + " of " + std::to_string(worker.jobs_max);
  for (std::size_t i = 0; i < worker.job_ids.size() && i < kShown; ++i) {
    text += (i == 0 ? ": " : " ") + std::to_string(worker.job_ids[i]);
  }
  return worker.jobs_running > kShown ? text + " …" : text;
}

std::string numbers_text(const std::vector<std::uint64_t>& numbers, std::size_t most) {
  std::string text;
  for (std::size_t i = 0; i < std::min(numbers.size(), most); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(numbers[i]);
  }
  return numbers.size() <= most ? text : text + " and " + std::to_string(numbers.size() - most) + " more";
}

std::string stop_text(const client::StopInfo& stop) {
  client::Cause cause;
  cause.kind = stop.why;
  cause.timeout = stop.timeout;
  std::string why = client::describe(cause);
  if (!stop.reason.empty()) why += (why.empty() ? "" : ": ") + stop.reason;
  const std::string then = stop.killed ? "being killed" : "will be killed at " + time_text(stop.kill_at_us);
  return "since " + time_text(stop.since_us) + ", " + then + (why.empty() ? "" : ": " + why);
}

std::string why_text(client::JobState state, const client::Cause& cause) {
  constexpr std::string_view kCancelled = "cancelled";
  std::string why = cause_text(cause);
  if (state != client::JobState::kCancelled || !why.starts_with(kCancelled)) return why;
  why.erase(0, kCancelled.size());
  return why.starts_with(": ") ? why.substr(2) : why;
}

std::string ended_text(const client::Outcome& outcome) {
  const std::string why = why_text(outcome.state, outcome.cause);
  return "job " + std::to_string(outcome.id) + " " + std::string(client::to_string(outcome.state)) +
         (why.empty() ? "" : ": " + why);
}

std::string cut_to(const std::string& text, std::size_t width) {
  if (text.size() <= width || characters_of(text) <= width) return text;
  return text.substr(0, bytes_before(text, width - 1)) + "…";
}

std::string shortened(const std::string& text, std::size_t width) {
  if (text.size() <= width) return text;
  const std::size_t characters = characters_of(text);
  if (characters <= width) return text;
  const std::size_t head = width / 2;
  const std::size_t tail = width - head - 1;
  return text.substr(0, bytes_before(text, head)) + "…" + text.substr(bytes_before(text, characters - tail));
}

std::string time_text(std::int64_t us) {
  if (us == 0) return {};
  const std::time_t seconds = us / 1'000'000;
  std::tm local = {};
  ::localtime_r(&seconds, &local);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
  return text;
}

std::string clock_text(std::int64_t us) {
  const std::time_t seconds = us / 1'000'000;
  std::tm local = {};
  ::localtime_r(&seconds, &local);
  char text[32];
  const std::size_t length = std::strftime(text, sizeof text, "%H:%M:%S", &local);
  const std::string millis = std::to_string(1'000 + us / 1'000 % 1'000);
  return std::string(text, length) + "." + millis.substr(1);
}

std::string duration_text(std::int64_t us) {
  us = std::max<std::int64_t>(us, 0);  // clocks are set, and those of two processes are read one after the other
  char text[48];
  if (us < 1'000) {
    std::snprintf(text, sizeof text, "%lld us", static_cast<long long>(us));
  } else if (us < 1'000'000) {
    std::snprintf(text, sizeof text, "%lld ms", static_cast<long long>(us / 1'000));
  } else if (us < 60'000'000) {
    std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(us) / 1e6);
  } else if (us < 3'600'000'000) {
    std::snprintf(text, sizeof text, "%lld min %lld s", static_cast<long long>(us / 60'000'000),
                  static_cast<long long>(us / 1'000'000 % 60));
  } else {
    std::snprintf(text, sizeof text, "%lld h %lld min", static_cast<long long>(us / 3'600'000'000),
                  static_cast<long long>(us / 60'000'000 % 60));
  }
  return text;
}

std::string exact_duration_text(client::Milliseconds duration) {
  static constexpr std::pair<std::int64_t, const char*> kUnits[] = {
      {86'400'000, "d"}, {3'600'000, "h"}, {60'000, "min"}, {1'000, "s"}, {1, "ms"}};
  std::string text;
  std::int64_t left_ms = duration.count();
  for (const auto& [each_ms, name] : kUnits) {
    if (left_ms < each_ms) continue;
    text += (text.empty() ? "" : " ") + std::to_string(left_ms / each_ms) + " " + name;
    left_ms %= each_ms;
  }
  return text.empty() ? "0 s" : text;
}

std::string bytes_text(std::int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

void Table::print() const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], characters_of(row[i]));
  }
  winsize window = {};
  const bool terminal = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 20;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - characters_of(row[i]) + 2, ' ');
    }
    cli::print((terminal ? cut_to(line, window.ws_col) : line) + "\n");
  }
}

}  // namespace futured::cli
