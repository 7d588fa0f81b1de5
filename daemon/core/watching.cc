// Looks at what workers do with their offers: whether they take them, and whether those who work are alive.
#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "daemon/core/credit.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

// So long a job is no short one that the machine keeps waiting.
constexpr Duration kLongRun = std::chrono::milliseconds(100);

}  // namespace

// A look at its head then, unless one is due already.
void Scheduler::watch(Slot& slot, Instant at) {
  if (std::exchange(slot.check_armed, true)) return;
  timers_.add({at, TimerKind::kHeadCheck, 0, slot.id.value});
}

// The head of a slot has run for a while: what waits behind it goes where it can run sooner. When no other slot gets
// on either, the machine is what is slow, and taking work back would only cost more of it.
void Scheduler::on(const event::Head& head, Moment now, Effects& effects) {
  Slot* const slot = slot_of(head.slot);
  if (slot == nullptr) return;
  if (slot->offers.empty()) {
    slot->full = false;  // all that it held was fetched back meanwhile
    return;
  }
  if (head.is_read_for) slot->progress = now.at;
  if (!head.taken) return not_taken(*slot, now, effects);
  const Duration again(limits::kHeadCheckNs);
  Job* const job = jobs_.find(head.taken->job);
  if (job == nullptr || job->fence() != *head.taken || job->slot != slot->id) return watch(*slot, now.at + again);
  spare(*job);
  mark_taken(*job, std::min(head.taken_at, now.at), now, effects);
  if (now.at - job->taken_at < again) return watch(*slot, job->taken_at + again);
  slot->mean = std::max(slot->mean, now.at - job->taken_at);
  if (slot->offers.size() == 1) return;
  // Behind a long one nothing may lie that others, who are ready, have to wait for.
  const bool is_in_the_way = now.at - job->taken_at >= kLongRun && slot->pool->ready_jobs > 0;
  if (!is_in_the_way && !could_run_sooner(*slot, now)) return watch(*slot, now.at + (now.at - job->taken_at));
  fetch_back(*slot, job, effects);
}

// What waits in it, elsewhere.
bool Scheduler::could_run_sooner(const Slot& slot, Moment now) const {
  const PoolState& pool = *slot.pool;
  return pool.slots.size() == 1 || pool.workers < pool.workers_max() ||
         std::ranges::any_of(pool.slots, [&](const Slot* other) {
           return other != &slot && (room(*other) > 0 || other->progress + Duration(limits::kHeadCheckNs) > now.at);
         });
}

// What nobody has taken as far as is known, but for one.
void Scheduler::fetch_back(const Slot& slot, const Job* but, Effects& effects) {
  for (const Job* job = slot.offers.back(); job != nullptr; job = job->previous) {
    const bool is_offered = job->phase == Phase::kOffered && job->doom == Doom::kNone;
    if (job != but && is_offered) effects.revokes.push_back({slot.id, job->fence()});
  }
}

// A worker that runs many jobs takes what it is offered as soon as it comes to it. While it is held up by one that
// computes, what lies there goes where it can run sooner.
void Scheduler::on(const event::Taken& taken, Moment now, Effects& effects) {
  Slot* const slot = slot_of(taken.slot);
  if (slot == nullptr) return;
  for (const event::Taken::Run& run : taken.runs) {
    Job* const job = jobs_.find(run.fence.job);
    if (job == nullptr || job->fence() != run.fence || job->slot != slot->id) continue;
    spare(*job);
    mark_taken(*job, std::min(run.taken_at, now.at), now, effects);
  }
  if (!taken.runs.empty() || taken.is_read_for) slot->progress = now.at;
  slot->full = false;
  // Not the newest alone: an offer that waited for its commit lies behind those that were made after it.
  std::size_t untaken = 0;
  for (const Job* job = slot->offers.front(); job != nullptr; job = job->next) {
    untaken += job->phase == Phase::kOffered ? 1 : 0;
  }
  if (untaken == 0) return;
  if (untaken == slot->offers.size()) return not_taken(*slot, now, effects);
  const Duration silent = now.at - slot->progress;
  const Duration again(limits::kHeadCheckNs);
  const bool is_held_up = silent >= again;
  if (is_held_up && slot->pool->slots.size() > 1 && could_run_sooner(*slot, now)) fetch_back(*slot, nullptr, effects);
  watch(*slot, now.at + std::max(again, silent));
}

// A worker that is stopped, or hides what it took. Its jobs can run elsewhere only when nothing is left of it.
void Scheduler::not_taken(Slot& slot, Moment now, Effects& effects) {
  const Duration silent = now.at - slot.progress;
  const Duration most(limits::kTakeWithinNs);
  if (silent < most) {
    const Duration next = std::clamp(silent, Duration(limits::kHeadCheckNs), most - silent);
    watch(slot, now.at + next);
  } else if (slot.ready && !slot.killing) {
    slot.stalled = true;
    slot.killing = true;
    effects.kills.push_back({slot.id});
  }
}

// Silent for as long as the job may be, as far as was known when the timer was armed. Now it is known exactly.
void Scheduler::on(const event::Pulse& pulse, Moment now, Effects& effects) {
  Job* const job = jobs_.find(pulse.fence.job);
  if (job == nullptr || job->fence() != pulse.fence || job->slot != pulse.slot) return;
  if (job->phase != Phase::kTaken || job->doom != Doom::kNone) return;
  // Who waits for others is still for as long as they need.
  const Instant seen_at = job->waits ? now.at : pulse.alive_at;
  const Instant alive_at = std::max(job->taken_at, std::min(seen_at, now.at));
  const Instant until = alive_at + job->spec->spec.heartbeat_timeout;
  if (now.at < until) {
    note_alive(*job, alive_at, now, effects);
    return add_job_timer(*job, TimerKind::kHeartbeat, until);
  }
  doom(*job, Doom::kHeartbeatTimeout, now, effects);
}

}  // namespace futured
