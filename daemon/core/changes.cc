// Changes of state, for those who watch. Nobody else pays for them.
#include "daemon/core/scheduler.h"

namespace futured {

void Scheduler::note_change(const Job& job, JobState state, Instant at, const Cause* cause, Moment now,
                            Effects& effects) const {
  if (!recording_) return;
  std::shared_ptr<Cause> told;
  if (cause != nullptr) {
    told = std::make_shared<Cause>(*cause);
    told->stdout_tail = {};
    told->stderr_tail = {};
  }
  effects.changes.push_back(
      {job.id, state, job.attempt, now.wall + (std::min(at, now.at) - now.at), job.owner, job.spec->shared, told});
}

void Scheduler::note_ran(const Job& job, Instant started, Moment now, Effects& effects) const {
  if (started.ns == 0 || job.phase == Phase::kTaken) return;
  note_change(job, JobState::kRunning, started, nullptr, now, effects);
}

}  // namespace futured
