// BacklogRun: neighbours of one lane's order. They mostly come and end together, so the database keeps them as one row.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/core/rows.h"

namespace futured {

struct BacklogRun {
  BacklogKey first;
  std::uint64_t count = 0;  // orders first.key.order, and so many that follow it

  [[nodiscard]] std::int64_t last() const { return first.key.order + static_cast<std::int64_t>(count) - 1; }
  // Its jobs: every id from the smallest to the largest.
  [[nodiscard]] std::uint64_t smallest_id() const { return first.key.order < 0 ? id(last()) : id(first.key.order); }
  [[nodiscard]] std::uint64_t largest_id() const { return first.key.order < 0 ? id(first.key.order) : id(last()); }
  bool operator==(const BacklogRun&) const = default;

 private:
  [[nodiscard]] static std::uint64_t id(std::int64_t order) { return job_of({0, order}).value; }
};

// In any order; as runs that are as long as they can be, ascending. A key that is there twice begins a run of its own.
[[nodiscard]] std::vector<BacklogRun> runs_of(std::vector<BacklogKey> keys);

}  // namespace futured
