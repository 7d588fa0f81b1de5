#include "daemon/rpc/found_segments.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>

#include "daemon/rpc/submit.h"

namespace futured::rpc {

namespace {

constexpr std::uint64_t kJobsReadAtOnce = 16;  // each comes with its whole result

// A stretch of job ids, and which of the segments found may be named by its jobs.
struct Stretch {
  JobRange jobs;
  std::vector<std::size_t> found;  // indices
};

// Jobs may name several segments, and a segment may be named by several batches: disjoint stretches of jobs, each with
// all that may be needed there.
std::vector<Stretch> stretches_of(const std::vector<SegmentTable::Found>& found) {
  std::map<std::uint64_t, std::vector<std::pair<std::size_t, int>>> borders;  // by job: what begins (1) or ends (-1)
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (const spawner::JobRange& jobs : found[i].needed_by) {
      if (jobs.first >= jobs.end) continue;
      borders[jobs.first].emplace_back(i, 1);
      borders[jobs.end].emplace_back(i, -1);
    }
  }
  std::vector<Stretch> stretches;
  std::map<std::size_t, int> open;
  for (auto border = borders.begin(); border != borders.end(); ++border) {
    for (const auto& [index, change] : border->second) {
      if ((open[index] += change) == 0) open.erase(index);
    }
    if (open.empty()) continue;
    Stretch& stretch = stretches.emplace_back(Stretch{{border->first, std::next(border)->first}, {}});
    for (const auto& [index, count] : open) stretch.found.push_back(index);
  }
  return stretches;
}

// Runs of jobs that have not ended.
Result<std::vector<JobRange>> unfinished(JobRange jobs, StoreReader& reader) {
  std::vector<JobRange> runs;
  while (jobs.size() > 0) {
    const std::uint64_t until = jobs.first + std::min(kJobsReadAtOnce, jobs.size());
    std::vector<JobId> ids;
    for (std::uint64_t id = jobs.first; id < until; ++id) ids.push_back(JobId{id});
    const auto endings = reader.endings(ids);
    if (!endings.ok()) return endings.error();
    for (const OutcomeRow& row : *endings) {
      if (is_terminal(row.ending.state)) continue;
      if (runs.empty() || runs.back().end != row.id.value) runs.push_back({row.id.value, row.id.value});
      ++runs.back().end;
    }
    jobs.first = until;
  }
  return runs;
}

}  // namespace

Status give_back(const std::vector<SegmentTable::Found>& found, StoreReader& reader, Loop& loop) {
  for (const Stretch& stretch : stretches_of(found)) {
    const auto runs = unfinished(stretch.jobs, reader);
    if (!runs.ok()) return runs.error();
    for (const JobRange& jobs : *runs) {
      SegmentHold hold;
      for (const std::size_t index : stretch.found) hold.share_with(found[index].hold);
      loop.watch_batch(jobs, sink_of(std::move(hold), nullptr));
    }
  }
  return {};
}

}  // namespace futured::rpc
