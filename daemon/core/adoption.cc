// Runs that an earlier daemon left in the channels: those that the store knows go on, the others may not.
#include <algorithm>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

void Scheduler::on(const event::Adopt& adopt, Moment now, Effects& effects) {
  Slot* const slot = slot_of(adopt.slot);
  Job* const job = jobs_.find(adopt.fence.job);
  // A later attempt is offered only when nothing is left of the earlier one, whose report was merely not committed.
  if (slot != nullptr && job != nullptr && job->phase == Phase::kTaken && !held_.empty() &&
      adopt.fence > job->fence()) {
    withdraw(*job);
  }
  // What the store does not know as unfinished may not go on: its submit was never acknowledged, or it has ended.
  // What is on record as ended, and only was not released, is the same.
  if (slot == nullptr || job == nullptr || job->phase != Phase::kDelayed || job->slot.is_set() ||
      adopt.fence.attempt <= job->attempt) {
    if (slot != nullptr && !adopt.done) turn_out(*slot, adopt.fence, job != nullptr, now, effects);
    return;
  }
  // It was let go, and its parent's end was not on disk yet.
  if (dependencies_.is_blocked(job->id)) dependencies_.forget(job->id, effects);
  if (job->lane->is_limited()) hold_permits(*job, /*is_adopted=*/true, now.at);
  job->epoch = adopt.fence.epoch;
  job->attempt = adopt.fence.attempt;
  job->slot = slot->id;
  job->phase = Phase::kOffered;
  // Its worker knows its limit even if the attempt before it is not on record.
  job->memory_bytes_max = std::max(job->memory_bytes_max, slot->memory_bytes_max);
  slot->exclusive = must_be_alone(*job);
  slot->offers.push_back(*job);
  slot->progress = now.at;
  arm_submit_timers(*job, now);
  mark_taken(*job, std::min(adopt.taken_at, now.at), now, effects);  // a worker wrote it
  resume_cancel(*job, now, effects);
}

// An offer is shown before its commit, so a daemon can die and leave a run that no store has heard of. Where a kill
// would take neighbours with it, such a run is asked to stop first, and has the usual grace. `is_known`: its job is
// unfinished and will be offered again, which must not happen beside it.
void Scheduler::turn_out(Slot& slot, const Fence& fence, bool is_known, Moment now, Effects& effects) {
  if (slot.killing) return;
  if (is_known || slot.pool->runs_per_worker() == 1) {
    slot.killing = true;
    effects.kills.push_back({slot.id});
    return;
  }
  effects.stops.push_back({slot.id, fence, effect::StopWhy::kCancel});
  if (slot.strays.empty()) {
    const Duration grace = std::chrono::milliseconds(limits::kKillGraceMs);
    timers_.add({now.at + grace, TimerKind::kStrays, 0, slot.id.value});
  }
  slot.strays.push_back(fence);
}

bool Scheduler::has_stray(SlotId id, const Fence& fence) const {
  if (id.value < 1 || id.value > slots_.size()) return false;
  return std::ranges::find(slots_[id.value - 1]->strays, fence) != slots_[id.value - 1]->strays.end();
}

// They had their grace. Their neighbours run again at no charge.
void Scheduler::kill_strays(Slot& slot, Effects& effects) {
  if (slot.strays.empty() || slot.killing) return;
  slot.killing = true;
  effects.kills.push_back({slot.id});
}

}  // namespace futured
