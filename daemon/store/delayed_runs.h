// DelayedRun: jobs with ids that follow one another which wait for one time. A batch mostly does, and is one row.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/core/rows.h"

namespace futured {

struct DelayedRun {
  DelayedKey first;
  std::uint64_t count = 0;

  [[nodiscard]] std::uint64_t last_id() const { return first.job.value + count - 1; }
  bool operator==(const DelayedRun&) const = default;
};

// In any order; as runs that are as long as they can be, ascending.
[[nodiscard]] std::vector<DelayedRun> runs_of(std::vector<DelayedKey> keys);

}  // namespace futured
