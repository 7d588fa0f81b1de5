#include <algorithm>
#include <unordered_set>
#include <utility>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

Scheduler::Scheduler(const SchedulerSetup& setup, Snapshot snapshot, LoadAnswer live, Moment now, Effects& effects)
    : setup_(setup),
      random_(setup.seed),
      window_bytes_max_(setup.window_bytes != 0 ? setup.window_bytes : limits::kWindowBytesMax),
      deliveries_(snapshot, setup.seed, now),
      next_spec_(snapshot.specs_until),
      next_id_(snapshot.ids_reserved_until),
      ids_until_(snapshot.ids_reserved_until),
      cache_(setup.cache, std::exchange(snapshot.cache, {})) {
  set_up_semaphores(snapshot);
  set_up_queues(snapshot, now, effects);
  set_up_pools(snapshot, effects);
  (void)take_ids(0, effects);  // no id leaves before its block is committed

  std::unordered_map<QueueId, QueueState*> queue_by_id;
  for (const auto& queue : queues_) queue_by_id[queue->row.id] = queue.get();
  std::unordered_map<PoolId, PoolState*> pool_by_id;
  for (const auto& pool : pools_) pool_by_id[pool->row.id] = pool.get();
  for (const LaneBacklog& backlog : snapshot.backlog) {
    const auto queue = queue_by_id.find(backlog.queue);
    const auto pool = pool_by_id.find(backlog.pool);
    FUTURED_CHECK(queue != queue_by_id.end() && pool != pool_by_id.end(), "the store knows its queues and pools");
    lane_of(*queue->second, *pool->second).backlog_jobs = backlog.jobs;
    queue->second->jobs += backlog.jobs;
  }

  for (const LaneBacklog& delayed : snapshot.delayed) {
    const auto queue = queue_by_id.find(delayed.queue);
    const auto pool = pool_by_id.find(delayed.pool);
    FUTURED_CHECK(queue != queue_by_id.end() && pool != pool_by_id.end(), "the store knows its queues and pools");
    lane_of(*queue->second, *pool->second).delayed_jobs = delayed.jobs;
    queue->second->jobs += delayed.jobs;
  }
  delayed_.next = snapshot.next_delayed;
  arm_delayed(now);

  for (const DeadlineRow& row : snapshot.deadlines) deadlines_[{row.at, row.first}] = row.count;
  arm_deadlines(now);

  set_up_cancels(snapshot);
  dependencies_.take_up(snapshot);
  know_specs(live.specs);
  know_specs(snapshot.specs);
  for (const StoredJob& stored : snapshot.resident) ++specs_by_id_.at(stored.spec)->lane->queue->jobs;
  for (const auto& queue : queues_) {
    if (queue->jobs == 0) queue->bytes = 0;
  }
  for (const StoredJob& stored : live.jobs) {
    if (is_terminal(stored.state)) continue;
    Job& job = take_up_held(stored, *specs_by_id_.at(stored.spec)->lane);
    job.counted = job.in_backlog;
    leave_delayed(job, effects);  // it was started, and that its time had come was not on disk
    held_.push_back(stored);
    lead_if_cached(job);
  }
  for (const StoredJob& stored : snapshot.resident) {
    if (jobs_.find(stored.id) != nullptr) continue;
    SpecState& spec = *specs_by_id_.at(stored.spec);
    if (dependencies_.is_blocked(stored.id)) {
      take_up_blocked(stored, *spec.lane, now);
      continue;
    }
    // A lane that has a backlog starts wholly from it: that keeps its order without a merge.
    if (spec.lane->backlog_jobs > 0 && !stored.started && !cancel_wishes_.contains(stored.id)) {
      const WallTime since = std::max(stored.submitted_at, stored.start_at);
      const OrderKey key = order_key(spec.lane->queue->row.discipline, spec.spec, stored.id, since);
      spill(*spec.lane, key, false, effects);
      note_deadline(spec.spec, stored.attempts, stored.submitted_at, since, stored.id, 1, now, effects);
    } else {
      take_up(stored, *spec.lane, now, effects);
    }
  }
  set_up_schedules(snapshot, now);
  load_cancelled(effects);
  settle_dependents(now, effects);
  for (auto& [key, lane] : lanes_) refill(*lane, effects);
  deliveries_.ask_for_batches(effects);
  dependencies_.ask_for_batches(effects);
}

Scheduler::~Scheduler() = default;

void Scheduler::set_up_queues(const Snapshot& snapshot, Moment now, Effects& effects) {
  for (const QueueRow& row : snapshot.queues) add_queue(row, /*is_restart=*/true, now.at);
  const auto ensure = [&](const std::string& name, Discipline discipline) {
    if (queue_by_name_.contains(name)) return;
    QueueRow row{QueueId{next_queue_}, name, discipline};
    row.created_at = now.wall;
    effects.rows.queues.push_back(add_queue(std::move(row), /*is_restart=*/false, now.at).row);
  };
  for (const QueueSetup& queue : setup_.queues) ensure(queue.name, queue.discipline);
  ensure("default", Discipline::kFifo);
}

void Scheduler::set_up_pools(const Snapshot& snapshot, Effects& effects) {
  std::uint32_t next = 1;
  std::unordered_map<std::string, PoolId> known;
  for (const PoolRow& row : snapshot.pools) {
    known[row.name] = row.id;
    next = std::max(next, row.id.value + 1);
  }
  for (const PoolSetup& pool_setup : setup_.pools) {
    PoolRow row{PoolId{}, pool_setup.name};
    const auto found = known.find(pool_setup.name);
    if (found != known.end()) {
      row.id = found->second;
    } else {
      row.id = PoolId{next++};
      effects.rows.pools.push_back(row);
    }
    PoolState& pool = add_pool(row);
    pool.commands = pool_setup.commands;
    pool.tasks = pool_setup.tasks;
    pool.versions = pool_setup.versions;
    pool.ready = pool_setup.commands || !pool_setup.tasks.empty();
    for (std::uint32_t i = 0; i < pool_setup.slots; ++i) {
      auto slot = std::make_unique<Slot>();
      slot->id = SlotId{static_cast<std::uint32_t>(slots_.size() + 1)};
      slot->pool = &pool;
      pool.slots.push_back(slot.get());
      slots_.push_back(std::move(slot));
    }
    pool.own_slots = pool.slots.size();
    pool.slots_per_worker = pool_setup.slots_per_worker;
    pool.runs_per_slot = pool_setup.runs_per_slot;
    pool.workers = pool.workers_max();
    pool.workers_min = std::min<std::size_t>(pool_setup.workers_min, pool.workers);
    pool.idle = pool_setup.idle;
    pool.memory_bytes_max = pool_setup.memory_bytes_max;
    for (std::size_t worker = pool.workers_min; worker < pool.workers_max(); ++worker) want(pool, worker, false);
  }
  own_slots_ = slots_.size();
  for (std::size_t i = 0; i < setup_.pools.size(); ++i) {
    PoolState& pool = *pools_[i];
    for (std::uint32_t k = 0; k < setup_.pools[i].spare_slots; ++k) {
      auto slot = std::make_unique<Slot>();
      slot->id = SlotId{static_cast<std::uint32_t>(slots_.size() + 1)};
      slot->pool = &pool;
      slot->wanted = slot->is_listed = false;
      slot->is_spare = true;
      pool.spares.push_back(slot.get());
      slots_.push_back(std::move(slot));
    }
  }
  // A pool that is configured no more keeps its jobs; they wait for it to come back.
  for (const PoolRow& row : snapshot.pools) {
    if (!pool_named(row.name).is_set()) add_pool(row);
  }
}

void Scheduler::set_up_cancels(const Snapshot& snapshot) {
  for (const CancelRow& row : snapshot.cancels) {
    cancel_wishes_[row.job] = {{}, {}, row.kill_at - row.asked_at, row.reason, row};
  }
}

// Those of the backlog end without waiting for their turn.
void Scheduler::load_cancelled(Effects& effects) {
  for (const auto& [id, wish] : cancel_wishes_) {
    if (jobs_.find(id) != nullptr) continue;
    loading_.try_emplace(id);
    effects.loads.push_back(id);
  }
  std::ranges::sort(effects.loads);
}

QueueState& Scheduler::add_queue(QueueRow row, bool is_restart, Instant now) {
  queues_.push_back(std::make_unique<QueueState>());
  QueueState& queue = *queues_.back();
  queue.row = std::move(row);
  queue.bytes = queue.row.bytes;
  next_queue_ = std::max(next_queue_, queue.row.id.value + 1);
  queue_by_name_[queue.row.name] = &queue;
  set_limits(queue, is_restart, now);
  return queue;
}

PoolState& Scheduler::add_pool(PoolRow row) {
  pools_.push_back(std::make_unique<PoolState>());
  pools_.back()->row = std::move(row);
  return *pools_.back();
}

void Scheduler::step(const Event& event, Moment now, Effects& effects) {
  std::visit([&](const auto& e) { on(e, now, effects); }, event);
  if (dependencies_.has_ended()) settle_dependents(now, effects);
  // The rest, and at the end of a turn this too, comes before work is handed out.
  const bool is_stopping = deliveries_.has_over_limit() || !came_back_.empty();
  if (is_stopping && !std::holds_alternative<event::TurnEnd>(event)) stop_batches(now, effects);
}

PoolState* Scheduler::pool_named_state(const std::string& name) const {
  for (const auto& pool : pools_) {
    if (pool->row.name == name) return pool.get();
  }
  return nullptr;
}

PoolId Scheduler::pool_named(const std::string& name) const {
  const PoolState* pool = pool_named_state(name);
  return pool != nullptr ? pool->row.id : PoolId{};
}

PoolId Scheduler::pool_of(SlotId slot) const { return slots_.at(slot.value - 1)->pool->row.id; }

const std::string& Scheduler::pool_name(PoolId id) const {
  const auto found = std::ranges::find_if(pools_, [&](const auto& pool) { return pool->row.id == id; });
  FUTURED_CHECK(found != pools_.end(), "ids of pools come from the scheduler");
  return (*found)->row.name;
}

}  // namespace futured
