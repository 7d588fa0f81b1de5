#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

bool is_of_job(TimerKind kind) { return kind < TimerKind::kBacklogDeadline; }
bool is_of_slot(TimerKind kind) { return kind >= TimerKind::kHeadCheck; }

}  // namespace

void Scheduler::add_job_timer(Job& job, TimerKind kind, Instant at) {
  // A fixed share of slack keeps the sweep rare; what it costs is paid for by the timers that were added since.
  if (timers_.size() > 2 * (job_timers_ + 2 * slots_.size()) + 4096) {
    timers_.sweep(
        [&](const Timer& timer) { return !is_of_job(timer.kind) || jobs_.find(JobId{timer.target}) != nullptr; });
  }
  timers_.add({at, kind, job.attempt, job.id.value});
  ++job.timers;
  ++job_timers_;
}

void Scheduler::on(const event::TimerDue&, Moment now, Effects& effects) {
  while (const auto timer = timers_.pop_due(now.at)) {
    if (is_of_slot(timer->kind)) {
      if (Slot* const slot = slot_of(SlotId{static_cast<std::uint32_t>(timer->target)}))
        fire_slot(*timer, *slot, now, effects);
      continue;
    }
    if (timer->kind == TimerKind::kPurge) {
      purge_step(QueueId{static_cast<std::uint32_t>(timer->target)}, now, effects);
      continue;
    }
    if (timer->kind == TimerKind::kBacklogDeadline) {
      if (now.at < deadline_timer_) continue;  // an earlier one came after it and was set instead
      deadline_timer_ = Instant::never();
      if (!due_) load_due(now, effects);
      continue;
    }
    if (timer->kind == TimerKind::kDelayed) {
      if (now.at < delayed_.timer) continue;
      delayed_.timer = Instant::never();
      claim_delayed(now, effects);
      continue;
    }
    if (timer->kind == TimerKind::kSchedule) {
      if (now.at < schedule_timer_) continue;
      schedule_timer_ = Instant::never();
      fire_schedules(now, effects);
      continue;
    }
    if (timer->kind == TimerKind::kCache) continue;  // it only makes a turn
    if (timer->kind == TimerKind::kRate) {
      fire_rate(*timer, now);
      continue;
    }
    Job* const job = jobs_.find(JobId{timer->target});
    if (job == nullptr) continue;
    if (job->timers > 0) {
      --job->timers;
      --job_timers_;
    }
    fire_job(*timer, *job, now, effects);
  }
  deliveries_.on_time(now, effects);
}

void Scheduler::fire_job(const Timer& timer, Job& job, Moment now, Effects& effects) {
  const bool running = job.phase == Phase::kOffered || job.phase == Phase::kTaken;
  switch (timer.kind) {
    case TimerKind::kQueueTimeout:
      if (job.phase == Phase::kReady || job.phase == Phase::kOffered || job.phase == Phase::kFollowing ||
          job.phase == Phase::kBlocked || moving_.contains(job.id)) {
        const bool first = job.attempt == 0 || (job.attempt == 1 && job.phase == Phase::kOffered) ||
                           job.spec->spec.at_most_once;  // its number only tells how often it was offered
        if (first) doom(job, Doom::kQueueTimeout, now, effects);
      }
      return;
    case TimerKind::kTotalTimeout:
      return doom(job, Doom::kTotalTimeout, now, effects);
    case TimerKind::kSoftTimeout:
      if (running && job.attempt == timer.attempt) doom(job, Doom::kSoftTimeout, now, effects);
      return;
    case TimerKind::kRunTimeout:
      if (!running || job.attempt != timer.attempt) return;
      if (job.doom != Doom::kSoftTimeout) return doom(job, Doom::kRunTimeout, now, effects);
      kill_taken(job, effects);  // it was asked to stop, and has no more time
      job.doom = Doom::kRunTimeout;
      job.doomed_at = job.kill_at = now.at;
      return;
    case TimerKind::kHeartbeat:
      if (running && job.attempt == timer.attempt && job.doom == Doom::kNone) {
        effects.pulses.push_back({job.slot, job.fence()});
      }
      return;
    case TimerKind::kRetry:
      if (job.phase == Phase::kDelayed && job.attempt == timer.attempt && !job.slot.is_set()) admit(job, now);
      return;
    case TimerKind::kGrace:
      if (running && job.attempt == timer.attempt && job.doom != Doom::kNone) kill_taken(job, effects);
      return;
    case TimerKind::kBacklogDeadline:
    case TimerKind::kDelayed:
    case TimerKind::kSchedule:
    case TimerKind::kPurge:
    case TimerKind::kRate:
    case TimerKind::kCache:
    case TimerKind::kHeadCheck:
    case TimerKind::kRestartWorker:
    case TimerKind::kGrow:
    case TimerKind::kShrink:
    case TimerKind::kStrays:
      FUTURED_CHECK(false, "timers of no job go elsewhere");
  }
}

void Scheduler::fire_slot(const Timer& timer, Slot& slot, Moment now, Effects& effects) {
  if (timer.kind == TimerKind::kRestartWorker) {
    if (slot.wanted) effects.starts.push_back({slot.id, slot.pool->row.id, slot.memory_bytes_max});
    return;
  }
  if (timer.kind == TimerKind::kGrow) return grow(*slot.pool, now, effects);
  if (timer.kind == TimerKind::kShrink) return shrink(*slot.pool, now, effects);
  if (timer.kind == TimerKind::kStrays) return kill_strays(slot, effects);
  slot.check_armed = false;
  if (slot.offers.empty()) {
    slot.full = false;
    return;
  }
  const Instant silent_until = slot.progress + Duration(limits::kHeadCheckNs);
  if (slot.pool->runs_many()) {  // there is always some progress, and it says nothing of the others
    slot.full = false;
    effects.inspects.push_back(slot.id);
  } else if (now.at < silent_until) {
    watch(slot, silent_until);
  } else {
    effects.inspects.push_back(slot.id);
  }
}

}  // namespace futured
