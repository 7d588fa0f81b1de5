// fut bench cheatsheet: rows of its table, and the sizes of what it measures.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "client/cli/text.h"
#include "futured/client.h"

namespace futured::cli::cheatsheet {

enum class Standing : std::uint8_t {
  kMeasured,
  kNotBuilt,  // the daemon answers UNIMPLEMENTED
  kNoWay,     // this daemon, or the way to it, is not set up for it
  kFailed,
};

struct Row {
  std::string name;    // in JSON; never changes
  std::string title;   // in the table
  std::string amount;  // of what: "100 sleeps of 50 ms"
  Standing standing = Standing::kMeasured;
  std::string why;             // it was not measured
  double seconds = 0;          // 0 = this row is no time
  std::int64_t bytes = 0;      // 0 = this row is no size
  double ratio = 0;            // 0 = none; else so many times as fast as `ratio_to`
  std::string ratio_to;        // a row's name
  std::string said;            // instead of a ratio, in the table
  Json more = Json::object();  // further figures, in JSON
};

// How much is done of each.
struct Sizes {
  std::uint32_t sleeps = 0;
  std::uint32_t sleep_ms = 0;
  std::uint32_t cpu_jobs = 0;
  std::uint64_t cpu_rounds = 0;  // of a job: what sum_squares is given
  std::uint32_t map_calls = 0;
  std::uint64_t map_rounds = 0;
  std::uint32_t switches = 0;
  std::uint32_t round_trips = 0;
  std::vector<std::uint64_t> payload_bytes;
  std::uint32_t payload_repeats = 0;  // the median counts
  std::uint32_t rate_jobs = 0;
  double rate_per_second = 0;
};
[[nodiscard]] Sizes sizes_of(bool quick);

// The pool of that mode ("PROCESS", as PoolInfo has it): the one that is called default, else the first; null where
// there is none.
[[nodiscard]] const client::PoolInfo* pool_of_mode(std::span<const client::PoolInfo> pools, std::string_view mode);
// What to do where there is none.
[[nodiscard]] std::string no_pool_text(std::string_view mode);

[[nodiscard]] double median(std::vector<double> values);  // 0 of none
// The work of the built-in task sum_squares, in the caller.
[[nodiscard]] std::uint64_t sum_squares(std::uint64_t rounds);

// A row after another one of the same work: how much faster it is. Nothing where one of them was not measured.
void compare(Row& row, const Row& base);
// What a row failed of.
void not_measured(Row& row, const client::Error& error);

// "1 : 1.9 : 1.8": how fast each is beside the first. "" where one was not measured.
[[nodiscard]] std::string speeds_text(std::span<const Row* const> rows);
[[nodiscard]] std::string seconds_text(double seconds);
[[nodiscard]] std::vector<std::string> cells_of(const Row& row);
[[nodiscard]] Json to_json(const Row& row);
// Whether some row failed, though it ought to have been measured.
[[nodiscard]] bool some_failed(std::span<const Row> rows);

}  // namespace futured::cli::cheatsheet
