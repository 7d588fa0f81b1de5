// Jobs whose payloads name results of other jobs. When nothing blocks such a job any more, the store reads it once more
// with the results in it: they are on disk by then, and a few at a time take bounded memory, however many wait.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "base/payload.h"
#include "daemon/core/scheduler.h"

namespace futured {

// It stays among the blocked ones, of which it costs no more than before.
void Scheduler::want_results(Job& job, Effects& effects) {
  results_wanted_.jobs.insert(job.id);
  results_wanted_.waiting.push_back(job.id);
  ask_for_results(effects);
}

void Scheduler::ask_for_results(Effects& effects) {
  ResultsWanted& wanted = results_wanted_;
  while (!wanted.waiting.empty() && wanted.asked.size() < limits::kResultsReadAtOnce) {
    const JobId job = wanted.waiting.front();
    wanted.waiting.pop_front();
    if (!wanted.jobs.contains(job) || !wanted.asked.insert(job).second) continue;
    effects.loads.push_back(job);
  }
}

void Scheduler::take_results(const StoredJob& found, Moment now, Effects& effects) {
  if (!results_wanted_.jobs.contains(found.id)) return;  // it has ended meanwhile
  Job& job = *jobs_.find(found.id);
  if (!found.unfit.empty()) return fail_blocked(job, found.unfit, now, effects);
  if (names_result(found.payload.view())) return fail_blocked(job, "a result that it takes is not there", now, effects);
  leave_blocked(job, effects);
  window_bytes_ -= job.cost();
  job.payload = found.payload;
  job.taken_bytes = found.taken_bytes();
  window_bytes_ += job.cost();
  if (job.attempt == 0) return let_run(job, now, effects);
  // It had begun before a restart.
  if (found.retry_at > now.wall) {
    add_job_timer(job, TimerKind::kRetry, now.at + (found.retry_at - now.wall));
  } else {
    admit(job, now);
  }
}

}  // namespace futured
