// Attempts that may have more memory than their pool's workers: after one that had too little. A limit is a worker's
// for its whole life, so the worker is replaced before such an attempt, and again behind it: what it has kept in memory
// by then may be more than the next job is allowed.
#include <algorithm>

#include "daemon/core/scheduler.h"

namespace futured {

namespace {

bool is_idle(const Slot& slot) { return slot.ready && !slot.killing && !slot.retiring && slot.offers.empty(); }

// A worker with this limit is there for the next job, or on its way.
bool has_worker(const PoolState& pool, std::uint64_t bytes_max) {
  return std::ranges::any_of(pool.slots, [&](const Slot* slot) {
    const bool comes = slot->wanted && (!slot->ready || slot->killing);
    return slot->memory_bytes_max == bytes_max && (comes || is_idle(*slot));
  });
}

void replace_worker(Slot& slot, std::uint64_t bytes_max, Effects& effects) {
  set_memory_limit(slot, bytes_max);
  if (slot.pool->reserved == &slot) slot.pool->reserved = nullptr;
  slot.killing = true;
  effects.kills.push_back({slot.id});
}

}  // namespace

Status Scheduler::check_memory(const JobSpec& spec, const PoolState& pool) {
  if (spec.retry_memory_factor == 0) return {};
  const std::string name = "pool \"" + pool.row.name + "\"";
  if (pool.memory_bytes_max == 0) {
    return Error{
        ErrorCode::kInvalidArgument,
        "spec.retries.memory_factor: " + name +
            " has no memory_max that it could raise; name a pool that has one (none of mode thread or async can)"};
  }
  if (spec.retry_memory_bytes_max > pool.memory_bytes_max) return {};
  return Error{ErrorCode::kInvalidArgument,
               "spec.retries.memory_bytes_max: " + std::to_string(spec.retry_memory_bytes_max) +
                   " bytes are no more than the memory_max of " + name + ", " + std::to_string(pool.memory_bytes_max) +
                   " bytes: allow more, or retry without a memory_factor"};
}

void Scheduler::raise_memory(Job& job, const Cause& cause) {
  const JobSpec& spec = job.spec->spec;
  const std::uint64_t of_pool = job.lane->pool->memory_bytes_max;
  if (spec.retry_memory_factor == 0 || cause.kind != CauseKind::kOutOfMemory || of_pool == 0) return;
  const std::uint64_t before = std::max(job.memory_bytes_max, of_pool);
  const double more = static_cast<double>(before) * spec.retry_memory_factor;
  const bool is_capped = more >= static_cast<double>(spec.retry_memory_bytes_max);
  job.memory_bytes_max = std::max(before, is_capped ? spec.retry_memory_bytes_max : static_cast<std::uint64_t>(more));
}

// Of the worker that the job's next attempt needs; 0: any of its pool's will do. The pool may have other settings than
// when the job was last tried.
std::uint64_t Scheduler::raised_limit(const Job& job) {
  const std::uint64_t of_pool = job.lane->pool->memory_bytes_max;
  return of_pool != 0 && job.memory_bytes_max > of_pool ? job.memory_bytes_max : 0;
}

// Some queue's next job does.
bool Scheduler::wants_limit(const PoolState& pool, std::uint64_t bytes_max) {
  return std::ranges::any_of(pool.runnable, [&](const Lane* lane) {
    return lane->has_next() && !lane->queue->is_halted() && !lane->held && raised_limit(*lane->next()) == bytes_max;
  });
}

// False: every worker has something to do. One that waits for a job with another limit is left to it: two such jobs
// would take it from each other for ever.
bool Scheduler::finds_worker(PoolState& pool, std::uint64_t bytes_max, Effects& effects) {
  if (has_worker(pool, bytes_max)) return true;
  for (Slot* const slot : pool.slots) {
    const bool is_free = slot->memory_bytes_max == 0 || !wants_limit(pool, slot->memory_bytes_max);
    if (!is_idle(*slot) || !is_free) continue;
    replace_worker(*slot, bytes_max, effects);
    return true;
  }
  return false;
}

// A worker that is started anyway is one that is waited for.
void Scheduler::choose_limit(Slot& slot) {
  const PoolState& pool = *slot.pool;
  if (slot.memory_bytes_max != 0 && slot.wanted && wants_limit(pool, slot.memory_bytes_max)) return;
  set_memory_limit(slot, 0);
  if (!slot.wanted) return;
  for (const Lane* const lane : pool.runnable) {
    if (!lane->has_next() || lane->queue->is_halted() || lane->held) continue;
    const std::uint64_t wanted = raised_limit(*lane->next());
    if (wanted != 0 && !has_worker(pool, wanted)) return set_memory_limit(slot, wanted);
  }
}

// To what the pool has, once no job waits for them.
void Scheduler::put_limits_back(PoolState& pool, Effects& effects) {
  if (pool.raised_slots == 0) return;
  for (Slot* const slot : pool.slots) {
    if (slot->memory_bytes_max == 0 || !is_idle(*slot) || wants_limit(pool, slot->memory_bytes_max)) continue;
    replace_worker(*slot, 0, effects);
  }
}

}  // namespace futured
