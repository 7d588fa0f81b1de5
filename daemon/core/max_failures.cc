// JobSpec::max_failures: of a batch with too many failures the jobs that have not begun are cancelled. How many failed
// is of the commit of the last failure, so a daemon that dies meanwhile is followed by one that goes on.
#include <algorithm>
#include <string>
#include <utility>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

std::string reason_of(const WholeBatchRow& batch) {
  return "more than " + std::to_string(*batch.max_failures) + " of the " + std::to_string(batch.count) +
         " jobs of batch " + std::to_string(batch.first.value) + " have failed (max_failures)";
}

}  // namespace

void Scheduler::stop_batches(Moment now, Effects& effects) {
  if (!held_.empty()) return;  // which of their jobs run is not known before the first turn ends
  while (deliveries_.has_over_limit()) {
    for (const WholeBatchRow& row : deliveries_.take_over_limit()) {
      stopped_batches_[row.first].row = row;
      for (std::uint32_t i = 0; i < row.count; ++i) {
        Job* const job = jobs_.find(JobId{row.first.value + i});
        if (job != nullptr) cancel_unbegun(*job, now, effects);
      }
    }
    settle_dependents(now, effects);
  }
  sweep_stopped(now, effects);
  settle_dependents(now, effects);
}

// Whatever of them is not resident lies on disk, and is looked up, so many at a time.
void Scheduler::ask_for_stopped(Effects& effects) {
  for (auto& [first, batch] : stopped_batches_) {
    if (!batch.asked.empty()) continue;
    for (; batch.next < batch.row.count && batch.asked.size() < limits::kStoppedLoadMax; ++batch.next) {
      const JobId job{first.value + batch.next};
      if (jobs_.find(job) != nullptr) continue;
      const auto [loading, is_new] = loading_.try_emplace(job);
      if (loading->second.ended) continue;
      if (is_new) effects.loads.push_back(job);
      event::Cancel cancel;
      cancel.job = job;
      cancel.reason = reason_of(batch.row);
      cancel.spares_begun = true;
      loading->second.cancels.push_back(std::move(cancel));
      batch.asked.insert(job);
    }
  }
}

// One that has begun goes on, through all its attempts. Whether an offer was taken is not known: it is asked back.
void Scheduler::cancel_unbegun(Job& job, Moment now, Effects& effects) {
  auto stopped = stopped_batches_.upper_bound(job.id);
  if (stopped == stopped_batches_.begin()) return;
  --stopped;
  if (job.id.value >= stopped->first.value + stopped->second.row.count || job.doom != Doom::kNone ||
      job.phase == Phase::kTaken)
    return;
  const std::uint32_t current = job.phase == Phase::kOffered ? 1 : 0;
  // An at-most-once job that began is never offered again.
  if (job.attempt > current && !job.spec->spec.at_most_once) return;
  if (job.phase == Phase::kOffered) {
    effects.revokes.push_back({job.slot, job.fence()});
    return;
  }
  CancelWish& wish = cancel_wishes_[job.id];
  if (wish.reason.empty()) wish.reason = reason_of(stopped->second.row);
  doom(job, Doom::kCancel, now, effects);
}

void Scheduler::sweep_stopped(Moment now, Effects& effects) {
  for (const JobId id : std::exchange(came_back_, {})) {
    Job* const job = jobs_.find(id);
    if (job != nullptr) cancel_unbegun(*job, now, effects);
  }
  for (auto& [first, batch] : stopped_batches_) {
    std::erase_if(batch.asked, [&](JobId job) { return !loading_.contains(job); });
  }
  std::erase_if(stopped_batches_, [&](const auto& entry) { return !deliveries_.is_watched(entry.first); });
  ask_for_stopped(effects);
}

}  // namespace futured
