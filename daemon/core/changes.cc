// Changes, for those who watch. Nobody else pays for them.
#include "base/limits.h"
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
    told->stacks = {};
  }
  effects.changes.push_back({now.wall + (std::min(at, now.at) - now.at),
                             effect::JobChange{job.id, state, job.attempt, job.owner, job.spec->shared, told, {}, {}}});
}

// Now and then is enough, and leaves room among the events for others.
void Scheduler::note_alive(const Job& job, Instant alive_at, Moment now, Effects& effects) const {
  if (!recording_) return;
  Slot& slot = *slots_[job.slot.value - 1];
  if (now.at - slot.alive_told < Duration(limits::kAliveToldNs)) return;
  slot.alive_told = now.at;
  effects.changes.push_back({now.wall, effect::JobChange{.job = job.id,
                                                         .state = JobState::kRunning,
                                                         .attempt = job.attempt,
                                                         .owner = job.owner,
                                                         .spec = job.spec->shared,
                                                         .cause = {},
                                                         .report = {},
                                                         .alive_at = now.wall + (alive_at - now.at)}});
}

void Scheduler::note_ran(const Job& job, Instant started, Moment now, Effects& effects) const {
  if (started.ns == 0 || job.phase == Phase::kTaken) return;
  count_start(job, started, now);
  note_change(job, JobState::kRunning, started, nullptr, now, effects);
}

// Of what a task reports between two commits only the last is news.
void Scheduler::on(const event::Progress& progress, Moment now, Effects& effects) {
  if (!recording_) return;
  const Job* const job = jobs_.find(progress.fence.job);
  if (job == nullptr || job->fence() != progress.fence || job->slot != progress.slot) return;
  if (job->phase != Phase::kTaken) return;
  const auto report =
      std::make_shared<const effect::Report>(effect::Report{progress.fraction, std::string(progress.message)});
  Slot& slot = *slots_[job->slot.value - 1];
  if (slot.report_at < effects.changes.size()) {
    effect::Change& last = effects.changes[slot.report_at];
    auto* const told = std::get_if<effect::JobChange>(&last.what);
    if (told != nullptr && told->report && told->job == job->id && told->attempt == job->attempt) {
      last.at = now.wall;
      told->report = report;
      return;
    }
  }
  slot.report_at = effects.changes.size();
  effects.changes.push_back({now.wall, effect::JobChange{.job = job->id,
                                                         .state = JobState::kRunning,
                                                         .attempt = job->attempt,
                                                         .owner = job->owner,
                                                         .spec = job->spec->shared,
                                                         .cause = {},
                                                         .report = report,
                                                         .alive_at = {}}});
}

void Scheduler::note_queue(const QueueRow& queue, Moment now, Effects& effects) const {
  if (recording_) effects.changes.push_back({now.wall, queue});
}

// `ended`: how; null: it came.
void Scheduler::note_worker(const Slot& slot, const Cause* ended, Moment now, Effects& effects) const {
  if (!recording_) return;
  effect::WorkerChange change{slot.id, slot.pool->row.name, slot.generation, slot.worker_pid, ended != nullptr};
  if (ended != nullptr) {
    change.exit_code = ended->exit_code;
    change.signal = ended->signal;
  }
  effects.changes.push_back({now.wall, std::move(change)});
}

}  // namespace futured
