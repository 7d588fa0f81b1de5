// Retention: for how long what has ended is kept. Pure rules, so that every store removes the same jobs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/id.h"
#include "base/limits.h"
#include "base/time.h"
#include "daemon/core/types.h"

namespace futured {

struct RetentionPolicy {
  Duration age = std::chrono::hours(limits::kRetentionHoursDefault);  // after the end; 0: for ever
  Duration failed_age =
      std::chrono::hours(limits::kRetentionFailedHoursDefault);  // of FAILED and TIMED_OUT; 0: for ever
  std::uint64_t jobs_max = limits::kRetentionJobsDefault;        // of the newest so many numbers; 0: any number
  std::uint64_t bytes_max = limits::kRetentionBytesDefault;  // database and files of payloads and results; 0: any size

  bool operator==(const RetentionPolicy&) const = default;
};

inline constexpr WallTime kForEver{INT64_MAX};

// What `age` makes of a job that ended then. Times so far ahead that they cannot be told are for ever.
[[nodiscard]] constexpr WallTime kept_until(WallTime finished_at, Duration age) {
  if (age.count() == 0 || finished_at.us > INT64_MAX - age.count() / 1000) return kForEver;
  return finished_at + age;
}

// `own` is what the job asked for itself; 0: nothing.
[[nodiscard]] constexpr Duration age_of(const RetentionPolicy& policy, JobState state, Duration own) {
  if (own.count() != 0) return own;
  return state == JobState::kFailed || state == JobState::kTimedOut ? policy.failed_age : policy.age;
}

// The shortest time for which any job is kept: one submitted later than that ago cannot be due. `own` is the shortest
// that jobs asked for; 0: none did.
[[nodiscard]] constexpr Duration shortest_age(const RetentionPolicy& policy, Duration own) {
  Duration shortest{0};
  for (const Duration age : {policy.age, policy.failed_age, own}) {
    if (age.count() != 0 && (shortest.count() == 0 || age < shortest)) shortest = age;
  }
  return shortest;
}

// Numbers up to this one are more than jobs_max behind the newest: they go as soon as they have ended. 0: none is.
[[nodiscard]] constexpr std::uint64_t surplus_until(const RetentionPolicy& policy, std::uint64_t newest) {
  return policy.jobs_max != 0 && newest > policy.jobs_max ? newest - policy.jobs_max : 0;
}

// One step of removing. The store decides nothing: it asks these rules of each job.
struct TrimQuestion {
  RetentionPolicy policy;
  WallTime now;
  std::uint32_t jobs_max = limits::kTrimJobsMax;  // looked at in this step
  std::uint64_t spool_bytes = 0;                  // of files that workers left, which count for bytes_max, too
  bool is_sweeping = false;  // some of them may be of jobs that are gone: nothing goes for their size
};

struct TrimAnswer {
  std::vector<JobId> removed;       // ascending
  std::uint64_t removed_bytes = 0;  // of payloads and results in their rows
  std::uint64_t removed_files = 0;  // of payloads and results
  std::uint64_t removed_specs = 0;
  std::uint64_t removed_keys = 0;
  std::uint64_t trimmed_until = 0;  // of the numbers below it only those kept by name are left
  std::uint64_t kept_bytes = 0;     // what bytes_max is held against, after the step
  bool more = false;                // the step was full: there may be more to do at once
};

}  // namespace futured
