#include <algorithm>

#include "base/limits.h"
#include "base/payload.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

}  // namespace

void Scheduler::on(const event::Submit& submit, Moment now, Effects& effects) {
  if (submit.has_dependencies() && !submit.parents) return ask_for_parents(submit, now, effects);
  if (std::ranges::any_of(submit.keys, [](const event::SubmitKey& key) { return !key.key.empty(); })) {
    keyed_.jobs += submit.ends.size();
    keyed_.waiting.push_back(submit);
    return;
  }
  const auto spec = intern(submit.spec, effects);
  if (!spec.ok()) {
    effects.refused.push_back({submit.token, spec.error()});
    return;
  }
  if (const Status sound = check_submit(submit, **spec, now); !sound.ok()) {
    effects.refused.push_back({submit.token, sound.error()});
    return;
  }
  const auto count = static_cast<std::uint64_t>(submit.ends.size());
  if (!has_room(submit, *(*spec)->lane->queue, count, submit.bytes->size(), effects)) return;
  const JobId first = add_jobs(submit, {}, **spec, now, effects);
  effects.accepted.push_back({submit.token, first, static_cast<std::uint32_t>(submit.ends.size()), {}, {}});
}

// Jobs for `items` of the batch, or for all of them when none is named. Their ids are consecutive from the one
// returned.
JobId Scheduler::add_jobs(const event::Submit& submit, const std::vector<std::uint32_t>& items, SpecState& spec,
                          Moment now, Effects& effects) {
  Lane& lane = *spec.lane;
  const auto count = static_cast<std::uint32_t>(items.empty() ? submit.ends.size() : items.size());
  const JobId first = take_ids(count, effects);
  if (count > 1) effects.rows.batches.push_back({first, count});
  if (spec.counts_batch()) deliveries_.watch_batch(first, count, spec.spec.max_failures, effects);
  if (submit.settles.is_set()) deliveries_.on(event::Delivered{submit.settles, /*ok=*/true, {}, {}}, now, effects);
  if (submit.has_dependencies()) {
    block(submit, items, spec, first, now, effects);
    return first;
  }
  if (start_of(submit, now) > now.wall) {
    delay(submit, items, spec, first, now, effects);
    return first;
  }
  std::uint32_t spilled = 0;
  JobId first_spilled;
  std::uint64_t bytes = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const JobId id{first.value + i};
    const std::uint32_t item = items.empty() ? i : items[i];
    const std::uint32_t begin = item == 0 ? 0 : submit.ends[item - 1];
    SharedBytes payload{submit.bytes, begin, submit.ends[item] - begin};
    bytes += payload.size;
    const OrderKey key = order_key(lane.queue->row.discipline, spec.spec, id, now.wall);
    const auto cache_key = submit.cache_digests.empty() ? nullptr : cache_key_of(submit, item, spec);
    const bool is_answered =
        cache_key != nullptr && window_bytes_ < window_bytes_max_ && kept_for(*cache_key, spec.spec, now) != nullptr;
    const bool resident = is_answered || !goes_to_backlog(lane, key, sizeof(Job) + payload.size);
    if (cache_key) note_new_key(id, cache_key);
    if (resident) {
      Job& job = add_job(id, spec, lane, payload);
      job.owner = submit.who.uid;
      job.submitted_at = now.wall;
      job.start_at = start_of(submit, now);
      job.depth = submit.lineage.depth;
      arm_submit_timers(job, now);
      if (cache_key) {
        know_key(job, cache_key);
        know_remark(job, submit, item);
      }
      admit(job, now);
      if (lane.backlog_jobs > 0 && !lane.boundary && job.phase == Phase::kReady) lane.boundary = key;
    } else {
      spill(lane, key, false, effects);
      if (spilled == 0) first_spilled = id;
      spilled = i + 1;
    }
    if (recording_) {
      const effect::JobChange queued{.job = id, .owner = submit.who.uid, .spec = spec.shared};
      effects.changes.push_back({now.wall, queued});
    }
    effects.rows.jobs.push_back({id,
                                 spec.id,
                                 submit.who.uid,
                                 submit.retry_of,
                                 now.wall,
                                 std::move(payload),
                                 {},
                                 submit.lineage,
                                 start_of(submit, now)});
  }
  if (spilled != 0) {
    const auto run = static_cast<std::uint32_t>(first.value + spilled - first_spilled.value);
    note_deadline(spec.spec, 0, now.wall, now.wall, first_spilled, run, now, effects);
  }
  count_added(*lane.queue, count, bytes, effects);
  spill_excess(lane, now, effects);
  refill(lane, effects);
  return first;
}

Status Scheduler::check_priority(const QueueRow& queue, std::int32_t priority) {
  if (priority == 0 || queue.discipline == Discipline::kPriority) return {};
  return Error{ErrorCode::kInvalidArgument, "queue \"" + queue.name + "\" is " +
                                                std::string(to_string(queue.discipline)) +
                                                " and knows no priority; use a queue of kind priority"};
}

// The row of what is found is stored when the batch of this turn is.
Result<SpecState*> Scheduler::intern(const JobSpec& spec, Effects& effects) {
  const auto found = [&](SpecState* known) -> Result<SpecState*> {
    hold(*known, effects);
    return known;
  };
  const auto asked = asked_specs_.find(spec);
  if (asked != asked_specs_.end() && asked->second->task) return found(asked->second);

  const auto queue = queue_by_name_.find(spec.queue);
  if (queue == queue_by_name_.end()) {
    return Error{ErrorCode::kNotFound, "no queue \"" + spec.queue +
                                           "\"; fut queue ls shows those that exist, fut queue " + "create makes one"};
  }
  // What the queue gives and the pool are settled here, once: a later change of the queue, or tasks that another pool
  // has after a restart, change nothing of a job.
  auto settled = settle(spec, queue->second->row);
  if (!settled.ok()) return settled.error();
  if (const Status fits = check_priority(queue->second->row, spec.priority); !fits.ok()) return fits.error();
  const auto pool = pool_for(*settled);
  if (!pool.ok()) return pool.error();
  if (asked != asked_specs_.end()) return found(asked->second);
  const auto field = [](std::size_t i) { return "spec.callbacks[" + std::to_string(i) + "]"; };
  if (const Status sound = check_callbacks(spec.callbacks, field); !sound.ok()) return sound.error();

  settled->pool = (*pool)->row.name;
  settle_memory(spec, *settled, **pool);
  const auto same = specs_.find(*settled);
  if (same != specs_.end()) return found(asked_specs_[spec] = same->second);
  forget_unused_specs(effects);
  const SpecRow row{SpecId{next_spec_++}, *std::move(settled)};
  return found(asked_specs_[spec] = &know_spec(row));
}

// Retention removes a row that no job names. That of a spec which came back from the store, with one of its jobs or
// with a schedule, may be gone before the next job that is asked with it: so it is handed in again with that job.
void Scheduler::hold(SpecState& spec, Effects& effects) {
  if (std::exchange(spec.is_held, true)) return;
  std::erase_if(effects.rows.specs_forgotten, [&](const SpecForgotten& row) { return row.id == spec.id; });
  effects.rows.specs.push_back({spec.id, spec.spec});
}

void Scheduler::note_forgotten(const SpecState& spec, Effects& effects) {
  if (spec.is_held) effects.rows.specs_forgotten.push_back({spec.id, JobId{next_id_ - 1}});
}

Result<PoolState*> Scheduler::pool_for(const JobSpec& spec) const {
  const bool command = spec.task.empty();
  const auto has = [&](const PoolState& pool) {
    return command ? pool.commands : std::ranges::find(pool.tasks, spec.task) != pool.tasks.end();
  };
  if (!spec.pool.empty()) {
    PoolState* const pool = pool_named_state(spec.pool);
    if (pool == nullptr || pool->slots.empty()) return Error{ErrorCode::kNotFound, "no pool \"" + spec.pool + "\""};
    if (has(*pool)) return pool;
    if (command) return Error{ErrorCode::kInvalidArgument, "pool \"" + spec.pool + "\" does not run commands"};
    return Error{ErrorCode::kNotFound,
                 "pool \"" + spec.pool + "\" has no task \"" + spec.task + "\"; it has: " + joined(pool->tasks)};
  }
  std::vector<std::string> known;
  for (const auto& pool : pools_) {
    if (has(*pool) && !pool->slots.empty()) return pool.get();
    known.insert(known.end(), pool->tasks.begin(), pool->tasks.end());
  }
  if (command) return Error{ErrorCode::kFailedPrecondition, "no pool runs commands here"};
  return Error{ErrorCode::kNotFound, "no task \"" + spec.task + "\"; known tasks: " + joined(known)};
}

// A spec of an earlier life may name a task or pool that is gone. Its jobs keep a lane, so that nothing is lost.
SpecState& Scheduler::know_spec(const SpecRow& row) {
  auto& slot = specs_by_id_[row.id];
  if (slot) return *slot;
  const auto shared = std::make_shared<const JobSpec>(row.spec);
  slot = std::make_unique<SpecState>(SpecState{row.id, shared, *shared, {}, nullptr, std::nullopt, 0});
  SpecState& spec = *slot;
  if (const auto callbacks = decode_callbacks(row.spec.callbacks); callbacks.ok()) {
    for (const CallbackSpec& callback : *callbacks) spec.callbacks.push_back(terms_of(callback));
  }
  const auto queue = queue_by_name_.find(row.spec.queue);
  FUTURED_CHECK(queue != queue_by_name_.end(), "a spec is known once its queue was found");
  const auto pool = pool_for(row.spec);
  PoolState* home = pool.ok() ? *pool : nullptr;
  if (home == nullptr) home = pool_named_state(row.spec.pool);
  for (const auto& candidate : pools_) {
    if (home == nullptr && candidate->commands == row.spec.task.empty()) home = candidate.get();
  }
  FUTURED_CHECK(home != nullptr || !pools_.empty(), "a daemon has pools");
  spec.lane = &lane_of(*queue->second, home != nullptr ? *home : *pools_.front());
  if (!row.spec.needs.empty() && !spec.lane->has_needs) {
    spec.lane->has_needs = true;
    regroup(*spec.lane);
  }
  for (const Need& need : row.spec.needs) queues_in_need_[need.semaphore].insert(row.spec.queue);
  resolve_task(spec);
  specs_[row.spec] = &spec;
  return spec;
}

void Scheduler::know_specs(const std::vector<SpecRow>& rows) {
  for (const SpecRow& row : rows) {
    if (has_queue(row.spec.queue)) know_spec(row);
  }
}

void Scheduler::resolve_task(SpecState& spec) const {
  const PoolState& pool = *spec.lane->pool;
  spec.task.reset();
  if (spec.spec.task.empty()) {
    if (pool.commands) spec.task = 0;
    return;
  }
  const auto found = std::ranges::find(pool.tasks, spec.spec.task);
  if (found != pool.tasks.end()) spec.task = static_cast<std::uint32_t>(found - pool.tasks.begin());
}

// Interning must not grow with the history of the daemon: specs without resident jobs are dropped once there are many.
void Scheduler::forget_unused_specs(Effects& effects) {
  constexpr std::size_t kSpecsKept = 4096;
  if (specs_by_id_.size() < 2 * kSpecsKept) return;
  const auto is_unused = [](const auto& entry) { return entry.second->jobs == 0; };
  for (const auto& [id, spec] : specs_by_id_) {
    if (spec->jobs == 0) note_forgotten(*spec, effects);
  }
  std::erase_if(asked_specs_, is_unused);
  std::erase_if(specs_, is_unused);
  std::erase_if(specs_by_id_, is_unused);
}

// Reserves the next block while the last one still has room, so that an id is committed as reserved long before use.
JobId Scheduler::take_ids(std::uint64_t count, Effects& effects) {
  const JobId first{next_id_};
  next_id_ += count;
  if (next_id_ + limits::kIdBlock / 2 > ids_until_) {
    ids_until_ = next_id_ + limits::kIdBlock;
    effects.rows.ids_reserved_until = ids_until_;
  }
  return first;
}

Job& Scheduler::add_job(JobId id, SpecState& spec, Lane& lane, SharedBytes payload) {
  Job& job = jobs_.add(id);
  job.phase = Phase::kDelayed;  // until it is put somewhere
  if (due_) due_->changed.insert(id);
  job.spec = &spec;
  job.lane = &lane;
  job.payload = std::move(payload);
  ++spec.jobs;
  ++lane.resident_jobs;
  window_bytes_ += job.cost();
  return job;
}

Job& Scheduler::take_up_held(const StoredJob& stored, Lane& lane) {
  Job& job = add_job(stored.id, *specs_by_id_.at(stored.spec), lane, stored.payload);
  job.owner = stored.owner;
  job.submitted_at = stored.submitted_at;
  job.start_at = stored.start_at;
  job.in_delayed = stored.delayed;
  job.depth = stored.lineage.depth;
  job.attempt = stored.attempts;
  job.crashes = static_cast<std::uint8_t>(std::min<std::uint32_t>(stored.crashes, 255));
  job.spared = static_cast<std::uint8_t>(std::min<std::uint32_t>(stored.spared, 255));
  job.memory_bytes_max = stored.memory_bytes_max;
  if (stored.cache_key) know_key(job, stored.cache_key);
  job.in_backlog = stored.in_backlog;
  job.taken_bytes = stored.taken_bytes();
  return job;
}

void Scheduler::take_up(const StoredJob& stored, Lane& lane, Moment now, Effects& effects) {
  place(take_up_held(stored, lane), stored, now, effects);
}

void Scheduler::place(Job& job, const StoredJob& stored, Moment now, Effects& effects) {
  if (ends_as_wished(job, now, effects)) return;
  if (stored.started) {
    auto cause = std::make_unique<Cause>();
    cause->kind = CauseKind::kMayHaveRun;
    cause->message = "its worker was lost with the daemon or the machine";
    return end(job, {JobState::kFailed, std::move(cause), {}, {{}, {}, now.at}}, now, effects);
  }
  if (!stored.unfit.empty()) {
    auto cause = std::make_unique<Cause>();
    cause->kind = CauseKind::kDependency;
    cause->message = stored.unfit;
    return end(job, {JobState::kFailed, std::move(cause), {}, {{}, {}, now.at}}, now, effects);
  }
  arm_submit_timers(job, now);
  if (names_result(job.payload.view())) {
    mark_blocked(job);
    return want_results(job, effects);
  }
  if (stored.retry_at > now.wall) {
    add_job_timer(job, TimerKind::kRetry, now.at + (stored.retry_at - now.wall));
  } else {
    admit(job, now);
  }
}

// Jobs whose fence was seen in a channel, but not as an attempt that can go on.
void Scheduler::release_held(Moment now, Effects& effects) {
  for (const StoredJob& stored : std::exchange(held_, {})) {
    Job* const job = jobs_.find(stored.id);
    if (job == nullptr || job->phase != Phase::kDelayed || job->slot.is_set() || job->attempt != stored.attempts)
      continue;
    if (dependencies_.is_blocked(job->id)) {  // its offer is gone, and that it might go on was not on disk
      lead_no_more(*job);
      mark_blocked(*job);
      arm_submit_timers(*job, now);
      continue;
    }
    if (ends_as_wished(*job, now, effects)) continue;
    if (job->counted) {
      back_to_backlog(*job, now, effects);
    } else {
      place(*job, stored, now, effects);
    }
  }
}

void Scheduler::arm_submit_timers(Job& job, Moment now) {
  const JobSpec& spec = job.spec->spec;
  const auto instant_of = [&](WallTime at) { return now.at + (at - now.wall); };
  if (spec.queue_timeout.count() > 0 && job.attempt == 0) {
    add_job_timer(job, TimerKind::kQueueTimeout, instant_of(job.waits_since() + spec.queue_timeout));
  }
  if (spec.total_timeout.count() > 0) {
    add_job_timer(job, TimerKind::kTotalTimeout, instant_of(job.submitted_at + spec.total_timeout));
  }
}

}  // namespace futured
