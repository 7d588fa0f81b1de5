// Queues: made, changed and deleted.
#include <algorithm>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

Error no_queue(const std::string& name) {
  return {ErrorCode::kNotFound, "no queue \"" + name + "\"; fut queue ls shows those that exist"};
}

QueueRow changed(const QueueRow& row, const event::PutQueue& put) {
  QueueRow wanted = row;
  wanted.paused = put.paused.value_or(row.paused);
  wanted.draining = put.draining.value_or(row.draining);
  if (put.options) change(wanted.options, *put.options, put.changed_options);
  return wanted;
}

bool differs(const QueueRow& a, const QueueRow& b) {
  return a.paused != b.paused || a.draining != b.draining || a.options != b.options;
}

}  // namespace

Result<QueueState*> Scheduler::queue_named(const std::string& name) const {
  const auto found = queue_by_name_.find(name);
  if (found == queue_by_name_.end()) return no_queue(name);
  return found->second;
}

void Scheduler::on(const event::PutQueue& put, Moment now, Effects& effects) {
  if (const Status sound = check_pools(put); !sound.ok()) {
    effects.refused.push_back({put.token, sound.error()});
    return;
  }
  const bool exists = has_queue(put.name);
  if (put.discipline && !exists) return create_queue(put, now, effects);
  const auto queue = queue_named(put.name);
  if (!queue.ok()) {
    effects.refused.push_back({put.token, queue.error()});
    return;
  }
  if (put.discipline) {
    if (const Status same = check_same((*queue)->row, put); !same.ok()) {
      effects.refused.push_back({put.token, same.error()});
      return;
    }
  }
  const QueueRow wanted = changed((*queue)->row, put);
  if (const Status sound = check_ageing(wanted, *queue); !sound.ok()) {
    effects.refused.push_back({put.token, sound.error()});
    return;
  }
  if (differs(wanted, (*queue)->row)) change_queue(**queue, wanted, now, effects);
  effects.queues_put.push_back({put.token, (*queue)->row});
}

void Scheduler::create_queue(const event::PutQueue& put, Moment now, Effects& effects) {
  if (queues_.size() >= limits::kQueuesMax) {
    const std::string why = "there are " + std::to_string(queues_.size()) + " queues already";
    effects.refused.push_back({put.token, {ErrorCode::kResourceExhausted, why}});
    return;
  }
  QueueRow row{QueueId{next_queue_}, put.name, *put.discipline, put.paused.value_or(false)};
  row.options = put.options.value_or(QueueOptions{});
  row.draining = put.draining.value_or(false);
  row.created_at = now.wall;
  if (const Status sound = check_ageing(row, nullptr); !sound.ok()) {
    effects.refused.push_back({put.token, sound.error()});
    return;
  }
  const QueueState& queue = add_queue(std::move(row), /*is_restart=*/false, now.at);
  effects.rows.queues.push_back(queue.row);
  note_queue(queue.row, now, effects);
  effects.queues_put.push_back({put.token, queue.row});
}

// Who makes a queue that is there already gets it only if it is the one that was meant.
Status Scheduler::check_same(const QueueRow& row, const event::PutQueue& put) {
  const std::string exists = "queue \"" + row.name + "\" exists and ";
  if (*put.discipline != row.discipline) {
    return Error{ErrorCode::kAlreadyExists,
                 exists + "is " + std::string(to_string(row.discipline)) + "; the order of a queue never changes"};
  }
  if (!put.options || !put.changed_options.empty() || *put.options == row.options) return {};
  return Error{ErrorCode::kAlreadyExists,
               exists + "has other options; fut queue show tells them, fut queue set changes them"};
}

// Where a job stands is settled when it comes: with another ageing, those that wait already would stand wrong among
// those that come.
Status Scheduler::check_ageing(const QueueRow& wanted, const QueueState* queue) {
  const std::string name = "queue \"" + wanted.name + "\" ";
  if (wanted.options.ageing.count() != 0 && wanted.discipline != Discipline::kPriority) {
    return Error{ErrorCode::kInvalidArgument, "options.ageing_ms: " + name + "is " +
                                                  std::string(to_string(wanted.discipline)) +
                                                  " and has no priorities that waiting could raise"};
  }
  if (queue == nullptr || wanted.options.ageing == queue->row.options.ageing) return {};
  if (queue->jobs == 0 && queue->held.empty()) return {};
  return Error{ErrorCode::kFailedPrecondition,
               "options.ageing_ms: " + name + "has " + std::to_string(queue->jobs) +
                   " jobs that have not ended, and their places are settled; fut queue drain and wait until it is "
                   "empty, or move them with fut queue move, then change it"};
}

Status Scheduler::check_pools(const event::PutQueue& put) const {
  if (!put.options) return {};
  for (const std::string& name : put.options->pools) {
    if (name.empty()) continue;
    const PoolState* const pool = pool_named_state(name);
    if (pool == nullptr || pool->slots.empty()) {
      return Error{ErrorCode::kNotFound, "options.pools: no pool \"" + name + "\"; fut pool ls shows those that exist"};
    }
  }
  return {};
}

void Scheduler::change_queue(QueueState& queue, const QueueRow& wanted, Moment now, Effects& effects) {
  // What was asked before means something else from now on. Jobs that are there keep what they got.
  if (wanted.options != queue.row.options) {
    std::erase_if(asked_specs_, [&](const auto& entry) { return entry.second->lane->queue == &queue; });
  }
  if (wanted.paused && !queue.row.paused) fetch_back_offers(queue, effects);
  queue.row.paused = wanted.paused;
  queue.row.draining = wanted.draining;
  if (wanted.options != queue.row.options) {
    queue.row.options = wanted.options;
    set_limits(queue, /*is_restart=*/false, now.at);
  }
  if (queue.row.paused) let_go_paused(queue);
  effects.rows.queues.push_back(queue.row);
  note_queue(queue.row, now, effects);
  wake_lanes(queue, effects);
}

// What no worker has taken waits with the rest.
void Scheduler::fetch_back_offers(const QueueState& queue, Effects& effects) {
  for (const auto& slot : slots_) {
    for (const Job* job = slot->offers.back(); job != nullptr; job = job->previous) {
      if (job->lane->queue != &queue || job->phase != Phase::kOffered || job->doom != Doom::kNone) continue;
      effects.revokes.push_back({slot->id, job->fence()});
    }
  }
}

// It may have been halted until now.
void Scheduler::wake_lanes(QueueState& queue, Effects& effects) {
  for (Lane* const lane : queue.lanes) {
    list_if_runnable(*lane);
    refill(*lane, effects);
  }
}

Status Scheduler::check_deletable(const QueueState& queue) const {
  const std::string name = "queue \"" + queue.row.name + "\"";
  if (queue.row.name == "default") {
    return Error{ErrorCode::kFailedPrecondition, name + " always exists; fut queue drain makes it refuse new jobs"};
  }
  if (queue.jobs != 0 || !queue.held.empty()) {
    std::uint64_t jobs = queue.jobs;
    for (const HeldSubmit& held : queue.held) jobs += held.jobs;
    return Error{
        ErrorCode::kFailedPrecondition,
        name + " has " + std::to_string(jobs) +
            " jobs that have not ended; fut queue drain and wait, or fut queue purge cancels what is queued, and "
            "fut cancel --queue " +
            queue.row.name + " --state scheduled what is to start later"};
  }
  // An answer of the store that is under way may still speak of its jobs.
  const bool is_claiming = std::ranges::any_of(
      lanes_, [&](const auto& lane) { return lane.second->queue == &queue && lane.second->claiming; });
  const bool is_reading = is_claiming || due_ || delayed_.claiming || !loading_.empty() ||
                          !results_wanted_.asked.empty() || !moves_.empty();
  if (queue.purging || is_reading) {
    return Error{ErrorCode::kResourceExhausted, name + ": jobs are just being read from the store; try again"};
  }
  return {};
}

void Scheduler::on(const event::DeleteQueue& asked, Moment now, Effects& effects) {
  const auto queue = queue_named(asked.name);
  const Status deletable = queue.ok() ? check_deletable(**queue) : Status(queue.error());
  if (!deletable.ok()) {
    effects.refused.push_back({asked.token, deletable.error()});
    return;
  }
  const QueueId id = (*queue)->row.id;
  const auto is_its_spec = [&](const auto& entry) { return entry.second->lane->queue == *queue; };
  forget_limits(**queue);
  for (auto& [semaphore, queues] : queues_in_need_) queues.erase(asked.name);
  for (const auto& [spec_id, spec] : specs_by_id_) {
    if (spec->lane->queue == *queue) note_forgotten(*spec, effects);
  }
  std::erase_if(asked_specs_, is_its_spec);
  std::erase_if(specs_, is_its_spec);
  std::erase_if(specs_by_id_, is_its_spec);
  for (const auto& pool : pools_) {
    std::erase_if(pool->runnable, [&](const Lane* lane) { return lane->queue == *queue; });
  }
  std::erase_if(lanes_, [&](const auto& lane) { return lane.second->queue == *queue; });
  queue_by_name_.erase(asked.name);
  std::erase_if(queues_, [&](const auto& one) { return one.get() == *queue; });
  std::erase_if(effects.rows.queues, [&](const QueueRow& row) { return row.id == id; });
  effects.rows.queues_removed.push_back(id);
  if (recording_) effects.changes.push_back({now.wall, effect::QueueGone{asked.name}});
  effects.queues_deleted.push_back({asked.token});
}

}  // namespace futured
