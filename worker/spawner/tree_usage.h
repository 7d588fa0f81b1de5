// What a process and everything below it use, looked up in /proc: for limits that no control group keeps.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "worker/spawner/slot_groups.h"

namespace futured::spawner {

// Between two looks. What a tree uses for a shorter time is not seen.
inline constexpr std::int64_t kSampleEveryMs = 250;

struct ProcessUsage {
  std::uint64_t memory_bytes = 0;  // resident or in swap, pages that it shares with others counted in full
  std::uint32_t threads = 0;       // a zombie has one
};

// `status`: the text of /proc/PID/status.
[[nodiscard]] ProcessUsage parse_status(std::string_view status);
// The process's own share of what it has in memory and in swap. `rollup`: the text of /proc/PID/smaps_rollup; nothing
// when it has no such figure.
[[nodiscard]] std::optional<std::uint64_t> parse_rollup(std::string_view rollup);

struct TreeUsage {
  std::uint64_t memory_bytes = 0;
  std::uint32_t threads = 0;  // of all its processes
};

// Of the tree below `root`, itself included. Looking ends early once it is over one of the limits, so the figure is
// then the least that it has. Memory is each process's share, or for one that may not be asked for it, all that it has.
[[nodiscard]] TreeUsage usage_of_tree(pid_t root, const WorkerLimits& limits);

}  // namespace futured::spawner
