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

std::string base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    for (std::size_t j = 0; j < 4; ++j) out += j <= count ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

// 0 is a time that is not known, or has not come.
void put_time(Json& json, const char* name, std::int64_t us) {
  if (us != 0) json[name] = us;
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

std::string one_line(std::string text) {
  for (char& letter : text) {
    const auto code = static_cast<unsigned char>(letter);
    if (letter == '\n') letter = ' ';
    if (code == 0x7f || (code < 0x20 && code != '\n')) letter = '?';
  }
  return text;
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

std::string bytes_text(std::int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

void put_bytes(Json& object, const std::string& name, std::string_view bytes) {
  if (is_utf8(bytes)) {
    object[name] = bytes;
  } else {
    object[name + "_base64"] = base64(bytes);
  }
}

Json to_json(const client::Cause& cause) {
  Json json;
  json["kind"] = client::to_string(cause.kind);
  if (cause.kind == client::CauseKind::kTimeout) json["timeout"] = client::to_string(cause.timeout);
  if (!cause.error_class.empty()) put_bytes(json, "error_class", cause.error_class);
  if (!cause.message.empty()) put_bytes(json, "message", cause.message);
  json["exit_code"] = cause.exit_code;
  json["signal"] = cause.signal;
  if (cause.peak_memory_bytes != 0) json["peak_memory_bytes"] = cause.peak_memory_bytes;
  if (!cause.stdout_tail.empty()) put_bytes(json, "stdout_tail", cause.stdout_tail);
  if (!cause.stderr_tail.empty()) put_bytes(json, "stderr_tail", cause.stderr_tail);
  if (cause.retry_refused) json["retry_refused"] = true;
  if (!cause.stacks.empty()) put_bytes(json, "stacks", cause.stacks);
  return json;
}

Json to_json(const client::Outcome& outcome) {
  Json json;
  json["id"] = outcome.id;
  json["state"] = client::to_string(outcome.state);
  if (outcome.attempts != 0) json["attempts"] = outcome.attempts;
  put_time(json, "submitted_us", outcome.submitted_us);
  put_time(json, "started_us", outcome.started_us);
  put_time(json, "finished_us", outcome.finished_us);
  json["result_bytes"] = outcome.result_bytes;
  json["result"] = Json::array();
  for (const client::Part& part : outcome.result) {
    Json& entry = json["result"].emplace_back(Json::object());
    entry["content_type"] = part.content_type.empty() ? "application/octet-stream" : part.content_type;
    if (part.segment.id != 0) {
      entry["segment"] = {{"id", part.segment.id}, {"begin", part.segment.begin}, {"end", part.segment.end}};
    } else {
      put_bytes(entry, "data", part.bytes);
    }
  }
  if (!outcome.succeeded() || !outcome.cause.message.empty()) json["cause"] = to_json(outcome.cause);
  return json;
}

namespace {

Json to_json(const client::JobOptions& options) {
  const client::Retries& retries = options.retries;
  const client::Timeouts& timeouts = options.timeouts;
  Json json;
  json["retries"] = {{"max_attempts", retries.max_attempts},
                     {"backoff_ms", retries.backoff.count()},
                     {"factor", retries.factor},
                     {"backoff_ms_max", retries.backoff_max.count()},
                     {"jitter", retries.jitter},
                     {"only_classes", retries.only_classes},
                     {"except_classes", retries.except_classes}};
  json["timeouts"] = {{"queue_ms", timeouts.queue.count()},
                      {"run_ms", timeouts.run.count()},
                      {"total_ms", timeouts.total.count()},
                      {"grace_ms", timeouts.grace.count()}};
  json["crashes_max"] = options.crashes_max;
  return json;
}

Json to_json(const client::AttemptInfo& attempt) {
  Json json;
  json["number"] = attempt.number;
  json["epoch"] = attempt.epoch;
  json["state"] = client::to_string(attempt.state);
  put_time(json, "started_us", attempt.started_us);
  put_time(json, "finished_us", attempt.finished_us);
  if (!attempt.worker.empty()) json["worker"] = attempt.worker;
  if (attempt.worker_pid != 0) json["worker_pid"] = attempt.worker_pid;
  json["cpu_us"] = attempt.cpu_us;
  json["peak_memory_bytes"] = attempt.peak_memory_bytes;
  json["cause"] = cli::to_json(attempt.cause);
  return json;
}

}  // namespace

Json to_json(const client::JobInfo& job, Detail detail) {
  Json json;
  json["id"] = job.id;
  json["state"] = client::to_string(job.state);
  json["queue"] = job.queue;
  json["pool"] = job.pool;
  if (!job.task.empty()) json["task"] = job.task;
  if (!job.argv.empty()) {
    json["argv"] = Json::array();
    for (const std::string& word : job.argv) json["argv"].push_back(is_utf8(word) ? word : quoted({word}));
    json["cwd"] = job.cwd;
  }
  json["name"] = job.name;
  json["labels"] = job.labels;
  json["priority"] = job.priority;
  json["owner_uid"] = job.owner_uid;
  put_time(json, "submitted_us", job.submitted_us);
  put_time(json, "started_us", job.started_us);
  put_time(json, "finished_us", job.finished_us);
  json["attempts"] = job.attempts;
  json["retry_of"] = job.retry_of;
  json["retried_by"] = job.retried_by;
  if (detail == Detail::kAll) {
    json["payload_bytes"] = job.payload_bytes;
    json["result_bytes"] = job.result_bytes;
  }
  json["at_most_once"] = job.at_most_once;
  if (job.state == client::JobState::kRunning) {
    json["progress"] = job.progress;
    json["progress_message"] = job.progress_message;
  }
  if (job.cause.kind != client::CauseKind::kNone) json["cause"] = to_json(job.cause);
  if (job.options) json["spec"] = to_json(*job.options);
  if (job.attempt_history.empty()) return json;
  json["attempt_history"] = Json::array();
  for (const client::AttemptInfo& attempt : job.attempt_history) json["attempt_history"].push_back(to_json(attempt));
  return json;
}

void print_json(const Json& value) { print(value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"); }

void Table::print() const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  winsize window = {};
  const bool terminal = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 20;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    if (terminal && line.size() > window.ws_col) line.resize(window.ws_col);
    cli::print(line + "\n");
  }
}

}  // namespace futured::cli
