// How many workers a pool has: more under load, fewer when they are idle.
#include <algorithm>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

void Scheduler::want(PoolState& pool, std::size_t worker, bool wanted) {
  for (Slot* const slot : pool.of_worker(worker)) slot->wanted = wanted;
  wanted ? ++pool.workers : --pool.workers;
}

// Not at once: a burst of short jobs is over before a new worker would be there. But one that stands in for others,
// which wait, is needed for as long as they do; unless some worker comes or goes just now, which is waited for.
void Scheduler::grow_later(PoolState& pool, Moment now) {
  if (pool.grow_armed || pool.workers >= pool.workers_allowed()) return;
  pool.grow_armed = true;
  const bool is_settled = std::ranges::all_of(pool.slots, [](const Slot* slot) { return slot->wanted == slot->ready; });
  const bool is_stand_in = is_settled && pool.workers >= pool.own_slots / pool.slots_per_worker;
  const Duration after(is_stand_in ? 0 : limits::kGrowAfterNs);
  timers_.add({now.at + after, TimerKind::kGrow, 0, pool.slots.front()->id.value});
}

void Scheduler::shrink_later(PoolState& pool, Instant at) {
  if (pool.shrink_armed) return;
  pool.shrink_armed = true;
  timers_.add({at, TimerKind::kShrink, 0, pool.slots.front()->id.value});
}

// By half as many again each time, at least one, and never more than there are jobs for. Those under way come first.
// Beyond its size only so many as wait with their jobs.
void Scheduler::grow(PoolState& pool, Moment, Effects& effects) {
  pool.grow_armed = false;
  const bool is_under_way =
      std::ranges::any_of(pool.slots, [](const Slot* slot) { return slot->wanted && !slot->ready; });
  if (!pool.is_starved || is_under_way) return;  // the next dispatch asks again
  const std::size_t jobs = std::max<std::size_t>(pool.ready_jobs / pool.runs_per_worker(), 1);
  std::size_t more = std::clamp<std::size_t>(pool.workers / 2, 1, jobs);
  for (std::size_t worker = 0; more > 0 && pool.workers < pool.workers_allowed(); ++worker) {
    if (worker == pool.workers_max() && !add_spare_worker(pool)) return;
    const auto slots = pool.of_worker(worker);
    if (std::ranges::any_of(slots, [](const Slot* slot) { return slot->wanted || slot->ready; })) continue;
    want(pool, worker, true);
    for (const Slot* const slot : slots) effects.starts.push_back({slot->id, pool.row.id, slot->memory_bytes_max});
    --more;
  }
}

// The last ones first, so that those that are kept stay the same.
void Scheduler::shrink(PoolState& pool, Moment now, Effects& effects) {
  pool.shrink_armed = false;
  Instant next = now.at + pool.idle;
  const std::size_t least = pool.workers_min + std::min(pool.lent_workers(), pool.spare_workers());
  for (std::size_t worker = pool.workers_max(); worker-- > 0 && pool.workers > least;) {
    const auto slots = pool.of_worker(worker);
    const bool is_idle = std::ranges::all_of(
        slots, [](const Slot* slot) { return slot->wanted && slot->ready && !slot->killing && slot->offers.empty(); });
    if (!is_idle) continue;
    const Instant idle_since = (*std::ranges::max_element(slots, {}, &Slot::progress))->progress;
    if (idle_since + pool.idle > now.at) {
      next = std::min(next, idle_since + pool.idle);
      continue;
    }
    want(pool, worker, false);
    for (Slot* const slot : slots) {
      if (slot == pool.reserved) pool.reserved = nullptr;
      slot->killing = true;
      effects.kills.push_back({slot->id});
    }
  }
  if (pool.workers > pool.workers_min) shrink_later(pool, next);
}

}  // namespace futured
