// Words on the command line and on the screen: durations, ids, arguments, tables, JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "client/cli/output.h"
#include "futured/client.h"

namespace futured::cli {

using Json = nlohmann::ordered_json;

// "500ms", "5s", "2m", "1.5h", "1h30m", "1d"; a bare number is seconds. Throws UsageError naming `option`.
[[nodiscard]] client::Milliseconds parse_duration(std::string_view word, std::string_view option);
// "42", "3-10" and lists of them. Throws UsageError; at most a million ids.
[[nodiscard]] std::vector<std::uint64_t> parse_ids(const std::vector<std::string>& words);
// Names of states, in any case. Throws UsageError naming --state.
[[nodiscard]] std::vector<client::JobState> parse_states(const std::vector<std::string>& words);
// {} in every word, or the argument as one more word where there is none.
[[nodiscard]] std::vector<std::string> fill_in(const std::vector<std::string>& words, const std::string& argument);

[[nodiscard]] std::string read_file(const std::string& path);  // throws UsageError

[[nodiscard]] bool is_utf8(std::string_view bytes);
// Words as one would type them into a shell.
[[nodiscard]] std::string quoted(const std::vector<std::string>& argv);
[[nodiscard]] std::string time_text(std::int64_t us);      // local time, "" for 0
[[nodiscard]] std::string clock_text(std::int64_t us);     // "12:34:56.789", local time
[[nodiscard]] std::string duration_text(std::int64_t us);  // "12 ms", "3.4 s", "2 h 5 min"; never below 0
// "500 ms", "1 h 30 min": to the millisecond, as somebody asked for it.
[[nodiscard]] std::string exact_duration_text(client::Milliseconds duration);
[[nodiscard]] std::string bytes_text(std::int64_t bytes);
// "512MiB", as the configuration has them; a bare number is bytes. From 1 on. Throws UsageError naming `option`.
[[nodiscard]] std::int64_t parse_bytes(std::string_view word, std::string_view option);

// What follows up to print_json() is in json.cc.
// Bytes as a JSON string; bytes that are not UTF-8 go under `name` + "_base64".
void put_bytes(Json& object, const std::string& name, std::string_view bytes);
[[nodiscard]] Json to_json(const client::Cause& cause);
[[nodiscard]] Json to_json(const client::Outcome& outcome);
// A list reads neither payloads nor results, and so knows no sizes.
enum class Detail { kAll, kListed };
[[nodiscard]] Json to_json(const client::JobInfo& job, Detail detail = Detail::kAll);
[[nodiscard]] Json to_json(const client::CallbackInfo& info);
void print_json(const Json& value);  // on standard output, with a newline; throws WriteError

// Text that somebody else wrote, fit for a terminal: what would move the cursor or worse becomes '?', C1 controls
// included. Line breaks and tabs stay; in one line a line break is a space.
[[nodiscard]] std::string harmless_lines(std::string text);
[[nodiscard]] std::string one_line(std::string text);
[[nodiscard]] inline std::string cause_text(const client::Cause& cause) { return one_line(client::describe(cause)); }
// Of that, what the state does not say already; may be empty.
[[nodiscard]] std::string why_text(client::JobState state, const client::Cause& cause);
// "13, 14 and 7 more".
[[nodiscard]] std::string numbers_text(const std::vector<std::uint64_t>& numbers, std::size_t most);
// "since 2026-01-02 12:34:56, will be killed at 2026-01-02 12:35:06: cancelled: not needed".
[[nodiscard]] std::string stop_text(const client::StopInfo& stop);
// "job 7 FAILED: exit code 3".
[[nodiscard]] std::string ended_text(const client::Outcome& outcome);

// Text of more characters than `width`, which is at least 2, has "…" for what is left out: its end, or its middle,
// since both ends tell one file from another. Of bytes that are no UTF-8 each is a character.
[[nodiscard]] std::string cut_to(const std::string& text, std::size_t width);
[[nodiscard]] std::string shortened(const std::string& text, std::size_t width);

// "3 of 64: 17 18 19", of those that it runs.
[[nodiscard]] std::string jobs_of_worker(const client::WorkerInfo& worker);

// Columns as wide as their widest cell; a line may be cut to the terminal.
class Table {
 public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  void add(std::vector<std::string> row) {
    for (std::string& cell : row) cell = one_line(std::move(cell));
    rows_.push_back(std::move(row));
  }
  void print() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace futured::cli
