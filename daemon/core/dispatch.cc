#include <algorithm>

#include "base/limits.h"
#include "daemon/core/credit.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

// The slot with the fewest offers of those with this limit; null when none has room. A slot that is reserved takes only
// a job that must be alone.
Slot* roomiest_slot(PoolState& pool, bool alone, std::uint64_t memory_bytes_max, bool may_begin = true) {
  Slot* best = nullptr;
  for (Slot* const slot : pool.slots) {
    if (room(*slot) == 0 || slot->memory_bytes_max != memory_bytes_max) continue;
    if (!may_begin && (pool.runs_many() || slot->offers.empty())) continue;
    if (alone ? !slot->offers.empty() : slot == pool.reserved) continue;
    if (best == nullptr || slot->offers.size() < best->offers.size()) best = slot;
  }
  return best;
}

// A worker with a limit of its own waits for its job, whoever else has none.
bool has_raised_room(const PoolState& pool) {
  return pool.raised_slots != 0 && std::ranges::any_of(pool.slots, [](const Slot* slot) {
           return slot->memory_bytes_max != 0 && room(*slot) > 0;
         });
}

// A slot that others keep busy would never be free for a job that must be alone, so one is left to run dry.
void reserve_slot(PoolState& pool) {
  if (pool.reserved == nullptr) pool.reserved = roomiest_slot(pool, false, 0);
}

}  // namespace

// An at-most-once attempt is recorded as begun, so it must not be found behind another that goes on and on. And nothing
// may lie behind an attempt with a limit of its own: the worker goes with it.
bool Scheduler::must_be_alone(const Job& job) {
  return !job.lane->pool->runs_many() && (job.spec->spec.at_most_once || raised_limit(job) != 0);
}

void Scheduler::end_idle_reservation(PoolState& pool) {
  if (pool.reserved == nullptr) return;
  const bool wanted = std::ranges::any_of(pool.runnable, [](const Lane* lane) {
    return lane->has_next() && !lane->queue->is_halted() && !lane->held && must_be_alone(*lane->next());
  });
  // One whose job waits for others does not run dry before they have ended, and one of them may be this very job.
  if (!wanted || !pool.reserved->ready || pool.reserved->lent != 0) pool.reserved = nullptr;
}

void Scheduler::on(const event::TurnEnd&, Moment now, Effects& effects) {
  if (!held_.empty()) release_held(now, effects);
  if (!moves_.empty()) tend_moves(now, effects);
  let_in_held(now, effects);
  ask_for_keys(effects);
  claim_delayed(now, effects);
  if (!schedules_.empty()) fire_schedules(now, effects);
  tend_cache(now, effects);
  if (deliveries_.has_over_limit() || !stopped_batches_.empty()) stop_batches(now, effects);
  for (const auto& pool : pools_) {
    if (pool->retiring > 0) replace_retired(*pool, effects);
  }
  (void)wake_waiting(now);
  do {
    for (const auto& pool : pools_) {
      if (pool->ready) dispatch(*pool, now, effects);
    }
  } while (wake_waiting(now));
  for (const auto& pool : pools_) put_limits_back(*pool, effects);
  if (spares_listed_ == 0) return;
  for (const auto& pool : pools_) drop_spares(*pool);
}

// A worker with tasks of before a reload goes as soon as it has nothing to do, in none of its slots.
void Scheduler::replace_retired(PoolState& pool, Effects& effects) {
  const auto is_busy = [&](std::int32_t worker_pid) {
    return std::ranges::any_of(pool.slots, [&](const Slot* slot) {
      return slot->ready && slot->worker_pid == worker_pid && !slot->offers.empty();
    });
  };
  for (Slot* const slot : pool.slots) {
    if (!slot->retiring || !slot->ready || slot->killing || is_busy(slot->worker_pid)) continue;
    slot->killing = true;
    effects.kills.push_back({slot->id});
  }
}

void Scheduler::dispatch(PoolState& pool, Moment now, Effects& effects) {
  end_idle_reservation(pool);
  pool.is_starved = false;
  std::size_t stuck = 0;  // lanes in a row whose first job fits no slot
  while (stuck <= pool.runnable.size()) {
    const std::int64_t may_begin_now = may_begin(pool);
    if (may_begin_now < 0) return;  // it is over its size, since jobs that waited have gone on
    Lane* const lane = next_lane(pool, now, effects);
    if (lane == nullptr) return;
    const bool alone = must_be_alone(*lane->next());
    const std::uint64_t limit = raised_limit(*lane->next());
    Slot* const slot = roomiest_slot(pool, alone, limit, may_begin_now > 0);
    if (slot == nullptr && limit != 0 && finds_worker(pool, limit, effects)) {
      pass_turn(pool);
      ++stuck;
      continue;
    }
    if (slot == nullptr) {
      pool.is_starved = true;
      grow_later(pool, now);
      if (alone) reserve_slot(pool);
      if (pool.reserved == nullptr && !has_raised_room(pool)) return;  // it is still this lane's turn
      pass_turn(pool);
      ++stuck;
      continue;
    }
    stuck = 0;
    if (alone) pool.reserved = nullptr;
    // Shares that shrink as work runs out leave no slot idle while another has a heap.
    const std::size_t share = std::clamp<std::size_t>(
        pool.ready_jobs / std::max<std::size_t>(pool.workers * pool.slots_per_worker, 1), 1, 64);
    const std::size_t most = std::min(share, room(*slot));
    const auto begin_most = static_cast<std::size_t>(may_begin_now);
    for (std::size_t n = pool.runs_many() ? std::min(most, begin_most) : most; n > 0 && can_start(*lane, now); --n) {
      Job& job = *lane->next();
      if (must_be_alone(job) && !slot->offers.empty()) break;
      if (raised_limit(job) != slot->memory_bytes_max) break;
      start(*slot, job, now, effects);
      if (slot->exclusive) break;
    }
    if (++pool.turns >= lane->queue->row.options.weight) pass_turn(pool);
    refill(*lane, effects);
  }
}

void Scheduler::pass_turn(PoolState& pool) {
  pool.turns = 0;
  ++pool.next_lane;
}

// The lane whose turn it is, with something to hand out; lanes that ran dry leave the list on the way.
Lane* Scheduler::next_lane(PoolState& pool, Moment now, Effects& effects) {
  while (!pool.runnable.empty()) {
    pool.next_lane = pool.next_lane < pool.runnable.size() ? pool.next_lane : 0;
    Lane* const lane = pool.runnable[pool.next_lane];
    if (can_start(*lane, now)) return lane;
    lane->runnable = false;
    pool.turns = 0;
    pool.runnable[pool.next_lane] = pool.runnable.back();
    pool.runnable.pop_back();
    if (lane->groups) refill(*lane, effects);  // what lies in the backlog may be able to start
  }
  return nullptr;
}

void Scheduler::start(Slot& slot, Job& job, Moment now, Effects& effects) {
  if (job.lane->groups) count_start(group_of(job));
  unready(job);
  offer(slot, job, now, effects);
}

void Scheduler::offer(Slot& slot, Job& job, Moment now, Effects& effects) {
  const JobSpec& spec = job.spec->spec;
  if (!job.spec->task) resolve_task(*job.spec);
  if (!job.spec->task || job.lane->pool != job.spec->lane->pool) {
    auto cause = std::make_unique<Cause>();
    cause->kind = CauseKind::kUnknownTask;
    cause->message = "pool \"" + slot.pool->row.name + "\" has no task \"" + spec.task + "\" any more";
    return end(job, {JobState::kFailed, std::move(cause), {}, {{}, {}, now.at}}, now, effects);
  }
  if (job.lane->is_limited()) hold_permits(job, /*is_adopted=*/false, now.at);
  ++job.attempt;
  job.epoch = setup_.epoch;
  job.slot = slot.id;
  job.phase = Phase::kOffered;
  job.doom = Doom::kNone;
  if (slot.offers.empty()) slot.progress = now.at;
  slot.offers.push_back(job);
  watch(slot, now.at + Duration(limits::kHeadCheckNs));

  effect::Offer made{slot.id, job.fence(), *job.spec->task, spec.run_timeout, spec.task.empty(), job.payload};
  if (must_be_alone(job)) slot.exclusive = true;
  if (spec.at_most_once) {
    effects.rows.starts.push_back({job.fence()});
    effects.offers_after_commit.push_back(std::move(made));
  } else {
    effects.offers.push_back(std::move(made));
  }
}

void Scheduler::list_if_runnable(Lane& lane) {
  if (lane.runnable || !lane.has_next() || lane.queue->is_halted() || lane.held) return;
  lane.runnable = true;
  lane.pool->runnable.push_back(&lane);
}

void Scheduler::withdraw(Job& job) {
  Slot& slot = *slots_[job.slot.value - 1];
  if (job.waits) forget_waits(job);
  if (job.lane->is_limited()) release_permits(job);
  if (job.lends) {
    --slot.lent;
    --slot.pool->lent;
    --job.lane->lending_jobs;
  }
  job.waits = job.lends = job.lends_permits = false;
  slot.offers.remove(job);
  if (slot.offers.empty()) slot.exclusive = false;
  job.slot = SlotId{};
  job.phase = Phase::kDelayed;
}

// The attempt never began, so its number is free again. An at-most-once fence is on record and is not used twice.
void Scheduler::take_back(Job& job) {
  if (job.lane->is_limited()) give_tokens_back(job);
  withdraw(job);
  if (!job.spec->spec.at_most_once) --job.attempt;
}

void Scheduler::requeue(Job& job) {
  take_back(job);
  make_ready(job);
  if (!stopped_batches_.empty()) came_back_.push_back(job.id);
}

bool Scheduler::has(SlotId slot, const Fence& fence) const {
  const Job* const job = jobs_.find(fence.job);
  return job != nullptr && job->fence() == fence && job->slot == slot;
}

void Scheduler::on(const event::PoolReady& ready, Moment, Effects& effects) {
  for (const auto& pool : pools_) {
    if (pool->row.id != ready.pool) continue;
    pool->ready = true;
    pool->tasks = ready.tasks;
    pool->versions = ready.versions;
    if (ready.is_reloaded) retire_workers(*pool, effects);
    for (auto& [id, spec] : specs_by_id_) {
      if (spec->lane->pool == pool.get()) resolve_task(*spec);
    }
  }
}

// What none of them has taken goes to those who come; a job that runs is left to end where it is.
void Scheduler::retire_workers(PoolState& pool, Effects& effects) {
  for (Slot* const slot : pool.slots) {
    if (!slot->ready || slot->retiring) continue;
    slot->retiring = true;
    ++pool.retiring;
    for (Job* job = slot->offers.back(); job != nullptr; job = job->previous) {
      if (job->phase == Phase::kOffered && job->doom == Doom::kNone)
        effects.revokes.push_back({slot->id, job->fence()});
    }
  }
}

void Scheduler::on(const event::SlotReady& ready, Moment now, Effects& effects) {
  Slot* const slot = slot_of(ready.slot);
  if (slot == nullptr) return;
  list_spare(*slot);
  slot->ready = true;
  slot->full = false;
  slot->generation = ready.generation;
  set_memory_limit(*slot, ready.memory_bytes_max);
  slot->worker_pid = ready.worker_pid;
  slot->progress = now.at;
  PoolState& pool = *slot->pool;
  if (!slot->wanted) {  // of before a restart
    const auto place = static_cast<std::size_t>(std::ranges::find(pool.slots, slot) - pool.slots.begin());
    want(pool, place / pool.slots_per_worker, true);
  }
  if (pool.workers > pool.workers_min) shrink_later(pool, now.at + pool.idle);
  note_worker(*slot, nullptr, now, effects);
}

void Scheduler::on(const event::Revoked& revoked, Moment now, Effects& effects) {
  Job* const job = jobs_.find(revoked.fence.job);
  if (job == nullptr || job->fence() != revoked.fence || job->slot != revoked.slot) return;
  if (!purges_.empty()) {
    if (const auto purge = purges_.find(job->lane->queue->row.id); purge != purges_.end()) {
      purge->second.asked_back.erase(job->id);
    }
  }
  if (!moves_.empty() && !revoked.revoked) stays_for_move(job->id);
  if (revoked.revoked) {
    if (job->doom == Doom::kNone) return requeue(*job);
    take_back(*job);
    return end_doomed(*job, {}, nullptr, {}, now, effects);
  }
  switch (job->doom) {
    case Doom::kNone:
      return;
    case Doom::kQueueTimeout:
      return spare(*job);
    case Doom::kCancel:
    case Doom::kSoftTimeout:
    case Doom::kRunTimeout:
    case Doom::kHeartbeatTimeout:
    case Doom::kTotalTimeout:
      mark_taken(*job, now.at, now, effects);
      return stop_taken(*job, now, effects);
  }
}

// Room comes with the next job done. A slot that has none left to finish is tried again at the next head check.
void Scheduler::on(const event::OfferRefused& refused, Moment now, Effects&) {
  Job* const job = jobs_.find(refused.fence.job);
  if (job == nullptr || job->fence() != refused.fence || job->slot != refused.slot) return;
  Slot& slot = *slots_[refused.slot.value - 1];
  slot.full = true;
  watch(slot, now.at + Duration(limits::kHeadCheckNs));
  requeue(*job);
}

// A queue_timeout is void once the job was taken.
void Scheduler::spare(Job& job) {
  if (job.doom == Doom::kQueueTimeout) job.doom = Doom::kNone;
}

void Scheduler::mark_taken(Job& job, Instant taken_at, Moment now, Effects& effects) {
  if (job.phase == Phase::kTaken) return;
  note_change(job, JobState::kRunning, taken_at, nullptr, now, effects);
  count_start(job, taken_at, now);
  job.phase = Phase::kTaken;
  job.taken_at = taken_at;
  if (job.doom != Doom::kNone) return;
  const auto arm = [&](Duration timeout, TimerKind kind) {
    if (timeout.count() > 0) add_job_timer(job, kind, taken_at + timeout);
  };
  arm(job.spec->spec.soft_timeout, TimerKind::kSoftTimeout);
  arm(job.spec->spec.run_timeout, TimerKind::kRunTimeout);
  arm(job.spec->spec.heartbeat_timeout, TimerKind::kHeartbeat);
}

}  // namespace futured
