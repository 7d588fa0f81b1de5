// Rows of fut bench cheatsheet: their sizes, their ratios, and how they are told.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <utility>

#include "client/cli/bench_cheatsheet.h"

namespace futured::cli::cheatsheet {

namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;

std::string formatted(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string_view word_of(Standing standing) {
  switch (standing) {
    case Standing::kMeasured:
      return "measured";
    case Standing::kNotBuilt:
      return "not_built";
    case Standing::kNoWay:
      return "not_set_up";
    case Standing::kFailed:
      return "failed";
  }
  return "";
}

std::string ratio_text(const Row& row) {
  if (!row.said.empty()) return row.said;
  return row.ratio == 0 ? "" : formatted(row.ratio < 10 ? "%.2f x " : "%.0f x ", row.ratio) + row.ratio_to;
}

}  // namespace

Sizes sizes_of(bool quick) {
  if (quick) {
    return {.sleeps = 20,
            .sleep_ms = 20,
            .cpu_jobs = 8,
            .cpu_rounds = 5'000'000,
            .map_calls = 500,
            .map_rounds = 20'000,
            .switches = 2'000,
            .round_trips = 50,
            .payload_bytes = {64 * kKiB, kMiB, 8 * kMiB},
            .payload_repeats = 3,
            .rate_jobs = 11,
            .rate_per_second = 50};
  }
  return {.sleeps = 100,
          .sleep_ms = 50,
          .cpu_jobs = 16,
          .cpu_rounds = 100'000'000,
          .map_calls = 5'000,
          .map_rounds = 100'000,
          .switches = 50'000,
          .round_trips = 500,
          .payload_bytes = {64 * kKiB, kMiB, 4 * kMiB, 16 * kMiB, 64 * kMiB},
          .payload_repeats = 5,
          .rate_jobs = 201,
          .rate_per_second = 100};
}

const client::PoolInfo* pool_of_mode(std::span<const client::PoolInfo> pools, std::string_view mode) {
  const client::PoolInfo* found = nullptr;
  for (const client::PoolInfo& pool : pools) {
    if (pool.mode != mode) continue;
    if (pool.name == "default") return &pool;
    if (found == nullptr) found = &pool;
  }
  return found;
}

std::string no_pool_text(std::string_view mode) {
  std::string word(mode);
  std::transform(word.begin(), word.end(), word.begin(), [](unsigned char letter) { return std::tolower(letter); });
  return "the daemon has no pool of mode " + word + ": add [pools." + word + "] with mode = \"" + word +
         "\" to its futured.toml";
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::uint64_t sum_squares(std::uint64_t rounds) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < rounds; ++i) {
    sum += i * i;
    asm volatile("" : "+r"(sum));  // the compiler knows the closed formula
  }
  return sum;
}

void compare(Row& row, const Row& base) {
  if (row.standing != Standing::kMeasured || base.standing != Standing::kMeasured) return;
  if (row.seconds <= 0 || base.seconds <= 0) return;
  row.ratio = base.seconds / row.seconds;
  row.ratio_to = base.name;
}

void not_measured(Row& row, const client::Error& error) {
  const bool unbuilt = error.kind() == client::ErrorKind::kUnimplemented;
  row.standing = unbuilt ? Standing::kNotBuilt : Standing::kFailed;
  row.why = unbuilt ? "the daemon does not have it" : error.what();
  if (unbuilt) row.more["refusal"] = error.what();
}

std::string speeds_text(std::span<const Row* const> rows) {
  std::string text;
  for (const Row* row : rows) {
    if (row->standing != Standing::kMeasured || row->seconds <= 0) return "";
    text += text.empty() ? "1" : formatted(" : %.2f", rows.front()->seconds / row->seconds);
  }
  return text;
}

std::string seconds_text(double seconds) {
  if (seconds < 1e-3) return formatted("%.1f us", seconds * 1e6);
  if (seconds < 1) return formatted("%.1f ms", seconds * 1e3);
  return formatted("%.2f s", seconds);
}

std::vector<std::string> cells_of(const Row& row) {
  if (row.standing != Standing::kMeasured) return {row.title, row.amount, "-", "not measured: " + row.why};
  std::string figure = row.bytes != 0 ? bytes_text(row.bytes) : row.seconds > 0 ? seconds_text(row.seconds) : "";
  return {row.title, row.amount, std::move(figure), ratio_text(row)};
}

Json to_json(const Row& row) {
  Json json = {{"bench", "cheatsheet"},
               {"row", row.name},
               {"title", row.title},
               {"amount", row.amount},
               {"measured", row.standing == Standing::kMeasured}};
  if (row.standing != Standing::kMeasured) {
    json["standing"] = word_of(row.standing);
    json["why"] = row.why;
  } else {
    if (row.seconds > 0) json["seconds"] = row.seconds;
    if (row.bytes != 0) json["bytes"] = row.bytes;
    if (row.ratio != 0) json["ratio"] = row.ratio;
    if (row.ratio != 0) json["ratio_to"] = row.ratio_to;
  }
  for (const auto& [name, value] : row.more.items()) json[name] = value;
  return json;
}

bool some_failed(std::span<const Row> rows) {
  return std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.standing == Standing::kFailed; });
}

}  // namespace futured::cli::cheatsheet
