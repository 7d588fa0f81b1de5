#include "daemon/core/effects.h"

#include <algorithm>

namespace futured {

Ending& Effects::ending_of(JobId job) {
  if (!rows.jobs.empty() && job >= rows.jobs.front().id) {
    // Ids of one batch are mostly without gaps, so the first guess is nearly always right.
    const std::uint64_t guess = job.value - rows.jobs.front().id.value;
    if (guess < rows.jobs.size() && rows.jobs[guess].id == job) return rows.jobs[guess].ending;
    const auto found = std::lower_bound(rows.jobs.begin(), rows.jobs.end(), job,
                                        [](const JobRow& row, JobId id) { return row.id < id; });
    if (found != rows.jobs.end() && found->id == job) return found->ending;
  }
  return rows.outcomes.emplace_back(OutcomeRow{job, {}}).ending;
}

}  // namespace futured
