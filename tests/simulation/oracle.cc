#include "tests/simulation/oracle.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"

namespace futured::simulation {

namespace {

std::string name(JobId job) { return "job " + std::to_string(job.value); }
std::string name(const Fence& fence) {
  return name(fence.job) + " attempt " + std::to_string(fence.attempt) + " of epoch " +
         std::to_string(fence.epoch.value);
}

// Whether a job with these options is tried again after an error of this class, or after a cause of this name.
bool retries(const JobSpec& spec, const std::string& error_class, const std::string& cause) {
  const auto names_it = [&](const std::vector<std::string>& entries) {
    return std::ranges::count(entries, error_class) + std::ranges::count(entries, cause) > 0;
  };
  return (spec.retry_only.empty() || names_it(spec.retry_only)) && !names_it(spec.retry_except);
}

void hold(bool condition, const std::string& what) {
  if (!condition) throw Violation(what);
}

}  // namespace

void Oracle::asked_submit(Token token, std::uint32_t count, std::vector<event::SubmitKey> keys) {
  open_submits_[token] = {count, std::move(keys)};
}
void Oracle::asked_queue(Token token) { open_queues_.insert(token); }
void Oracle::asked_purge(Token token, const std::string& queue) {
  open_queues_.insert(token);
  purged_.insert(queue);
}

// While they are collected others may go past them, and if the move is refused they are late.
void Oracle::asked_move(Token token, const std::vector<JobId>& jobs) {
  open_queues_.insert(token);
  moves_asked_.insert(jobs.begin(), jobs.end());
  for (const JobId job : jobs) {
    const auto facts = facts_.find(job);
    if (facts == facts_.end() || !facts->second.spec) continue;
    const JobSpec& spec = *facts->second.spec;
    if (waiting_[lane_of(spec)].erase(key_of(spec, job)) > 0) aside_.insert(job);
  }
}

void Oracle::asked_cancel(Token token, JobId job, bool waits) {
  open_cancels_[token] = job;
  if (!waits) hurried_.insert(token);
  cancels_asked_.insert(job);
}

void Oracle::answered(Token token, const char* what) {
  const std::size_t open = open_submits_.erase(token) + open_cancels_.erase(token) + open_queues_.erase(token) +
                           open_registers_.erase(token);
  hold(open == 1, "request " + std::to_string(token) + " is answered once, but also: " + what);
}

void Oracle::heard_accepted(const effect::Accepted& accepted) {
  const auto asked = open_submits_.find(accepted.token);
  hold(asked != open_submits_.end(), "a receipt answers a submit");
  const AskedSubmit submit = asked->second;
  answered(accepted.token, "accepted");
  std::vector<JobId> ids = accepted.ids;
  for (std::uint32_t i = 0; accepted.ids.empty() && i < accepted.count; ++i) ids.push_back({accepted.first.value + i});
  hold(ids.size() == submit.jobs && accepted.count + accepted.old_items.size() == submit.jobs,
       "a receipt tells of each job of its submit");
  for (const JobId id : ids) {
    hold(facts_[id].is_committed, "acknowledged means on disk");
    facts_[id].is_acknowledged = true;
  }
  check_keys(submit, ids);
}

// A key stands for the jobs that it stood for first, whoever crashed meanwhile.
void Oracle::check_keys(const AskedSubmit& asked, const std::vector<JobId>& ids) const {
  const std::size_t items = asked.keys.empty() ? 1 : asked.jobs / asked.keys.size();
  for (std::size_t i = 0; i < asked.keys.size(); ++i) {
    const event::SubmitKey& key = asked.keys[i];
    if (key.key.empty()) continue;
    const auto row = keys_.find(key.key);
    hold(row != keys_.end(), "key " + key.key + " is acknowledged and not on disk");
    hold(row->second.fingerprint == key.fingerprint, "key " + key.key + " is acknowledged for other work");
    for (std::size_t item = 0; item < items; ++item) {
      hold(ids[i * items + item].value == row->second.first.value + item, "key " + key.key + " names other jobs");
    }
  }
}

void Oracle::heard_refused(const effect::Refused& refused) {
  if (const auto asked = open_submits_.find(refused.token); asked != open_submits_.end()) {
    const auto& keys = asked->second.keys;
    const bool other_work = std::ranges::any_of(keys, [&](const event::SubmitKey& key) {
      const auto row = keys_.find(key.key);
      return row == keys_.end() || row->second.fingerprint != key.fingerprint;
    });
    hold(refused.error.code != ErrorCode::kAlreadyExists || other_work, "a key is refused to its own work");
  }
  answered(refused.token, "refused");
}
void Oracle::heard_cancelled(const effect::Cancelled& cancelled) {
  const auto asked = open_cancels_.find(cancelled.token);
  hold(asked != open_cancels_.end() && asked->second == cancelled.job, "a cancel is answered for the job it named");
  answered(cancelled.token, "cancelled");
  if (cancelled.state == JobState::kRunning) return told_stopping(cancelled);
  const Facts& facts = facts_[cancelled.job];
  hold(facts.end && facts.end->state == cancelled.state, name(cancelled.job) + ": a cancel tells the end on disk");
  for (const auto& [fence, attempt] : facts.attempts) {
    hold(attempt.run != Run::kTaken, name(fence) + " runs after its cancel was acknowledged");
  }
}

// From now on it does not go on, whoever crashes.
void Oracle::told_stopping(const effect::Cancelled& cancelled) {
  hold(hurried_.contains(cancelled.token), name(cancelled.job) + ": who waits for its end is told no less");
  Facts& facts = facts_[cancelled.job];
  hold(facts.is_committed, name(cancelled.job) + ": acknowledged means on disk");
  facts.is_stopping = true;
  facts.must_stop |= std::ranges::any_of(facts.attempts, [](const auto& one) { return one.second.run == Run::kTaken; });
}

void Oracle::heard_schedule(Token token) { answered(token, "schedule"); }
void Oracle::heard_queue(Token token) { answered(token, "queue"); }
void Oracle::heard_registered(Token token) { answered(token, "registered"); }

OrderKey Oracle::key_of(const JobSpec& spec, JobId job) const {
  return order_key(queues_.at(spec.queue), spec, job, facts_.at(job).since);
}

// Jobs that name the same keys and needs go in the lane's order; others may pass them while a limit holds them up.
Oracle::LaneName Oracle::lane_of(const JobSpec& spec) {
  std::string alike = spec.pool + " limit " + spec.limit_key + " fair " + spec.fairness_key;
  for (const Need& need : spec.needs) alike += " " + need.semaphore + "=" + std::to_string(need.permits);
  return {spec.queue, alike};
}

void Oracle::gathered(const Batch& rows, std::optional<WallTime> now) {
  if (gathering_ != &rows) {
    jobs_seen_ = outcomes_seen_ = delayed_seen_ = released_seen_ = schedules_seen_ = 0;
    dependencies_seen_ = closed_seen_ = moved_seen_ = 0;
  }
  gathering_ = &rows;
  for (const SpecRow& row : rows.specs) specs_[row.id] = std::make_shared<const JobSpec>(row.spec);
  for (const QueueRow& row : rows.queues) queues_.try_emplace(row.name, row.discipline);
  for (; jobs_seen_ < rows.jobs.size(); ++jobs_seen_) {
    const JobRow& row = rows.jobs[jobs_seen_];
    hold(row.id.value > newest_id_, name(row.id) + ": an id is used once");
    newest_id_ = row.id.value;
    Facts& facts = facts_[row.id];
    facts.spec = specs_.at(row.spec);
    facts.since = std::max(row.submitted_at, row.start_at);
    facts.born_in = life_;
    facts.waits_for.clear();
    const JobSpec& spec = *facts.spec;
    // One that waits for the same one's outcome is passed by.
    if (spec.cache.enabled) continue;
    if (moves_asked_.contains(row.id)) {
      aside_.insert(row.id);
    } else {
      waiting_[lane_of(spec)].emplace(key_of(spec, row.id), row.id);
    }
  }
  for (; outcomes_seen_ < rows.outcomes.size(); ++outcomes_seen_) {
    outcomes_gathered_.insert(rows.outcomes[outcomes_seen_].id);
  }
  gathered_dependencies(rows);
  for (; schedules_seen_ < rows.schedules.size(); ++schedules_seen_) {
    const ScheduleRow& row = rows.schedules[schedules_seen_];
    if (row.overlap == Overlap::kReplace && !row.waiting.empty()) cancels_asked_.insert(row.last_job);
  }
  gathered_moves(rows);
  for (; released_seen_ < rows.delayed_removed.size(); ++released_seen_) {
    const DelayedKey& key = rows.delayed_removed[released_seen_];
    Facts& facts = facts_.at(key.job);
    hold(facts.delayed_until == key.at, name(key.job) + " is released, and was not delayed until that time");
    const bool is_moved = std::ranges::find(rows.moved, key.job, &MovedRow::job) != rows.moved.end();
    hold(!now || *now >= key.at || is_moved || ended_in_core(key.job), name(key.job) + " is released before its time");
    facts.delayed_until.reset();
  }
  for (; delayed_seen_ < rows.delayed_added.size(); ++delayed_seen_) {
    const DelayedKey& key = rows.delayed_added[delayed_seen_];
    facts_.at(key.job).delayed_until = key.at;
    waiting_forget(key.job);  // when its time comes it may be late, and then goes first
  }
}

// A job stands in its new queue where its submit would have put it, and was in none meanwhile that let it run.
void Oracle::gathered_moves(const Batch& rows) {
  for (; moved_seen_ < rows.moved.size(); ++moved_seen_) {
    const MovedRow& row = rows.moved[moved_seen_];
    Facts& facts = facts_.at(row.job);
    for (const auto& [fence, attempt] : facts.attempts) {
      hold(attempt.run != Run::kTaken, name(fence) + " runs, and its job goes to another queue");
    }
    const bool waited = waiting_[lane_of(*facts.spec)].erase(key_of(*facts.spec, row.job)) + aside_.erase(row.job) > 0;
    const auto spec = specs_.at(row.spec);
    JobSpec same = *spec;
    same.queue = facts.spec->queue;
    same.ageing = facts.spec->ageing;
    hold(same == *facts.spec && spec->queue != facts.spec->queue, name(row.job) + " is another job in its new queue");
    facts.spec = spec;
    if (waited) waiting_[lane_of(*spec)].emplace(key_of(*spec, row.job), row.job);
  }
}

// A blocked job comes late to its lane, and then goes first.
void Oracle::gathered_dependencies(const Batch& rows) {
  for (const NamedEventRow& row : rows.events_set) events_set_.insert(row.name);
  for (; dependencies_seen_ < rows.dependencies.size(); ++dependencies_seen_) {
    const DependencyRow& row = rows.dependencies[dependencies_seen_];
    if (row.on.takes_result) waiting_forget(row.job);
    if (row.state == DependencyState::kHolds) check_holds(row);
    if (row.state == DependencyState::kHolds && row.on.any_of != 0)
      facts_.at(row.job).groups_held.insert(row.on.any_of);
    if (row.state != DependencyState::kOpen) continue;
    facts_.at(row.job).waits_for.emplace(row.number, row);
    waiting_forget(row.job);
  }
  for (; closed_seen_ < rows.dependencies_closed.size(); ++closed_seen_) {
    const DependencyClosed& closed = rows.dependencies_closed[closed_seen_];
    auto& waits_for = facts_.at(closed.job).waits_for;
    const auto open = waits_for.find(closed.number);
    hold(open != waits_for.end(), name(closed.job) + ": a dependency is closed that was not open");
    if (closed.state == DependencyState::kHolds) {
      check_holds(open->second);
      if (open->second.on.any_of != 0) facts_.at(closed.job).groups_held.insert(open->second.on.any_of);
    } else {
      const Dependency& on = open->second.on;
      const bool gives_way = on.any_of != 0 && (facts_.at(closed.job).groups_held.contains(on.any_of) || is_broken(on));
      hold(gives_way || ended_in_core(closed.job) || facts_.at(closed.job).takes > 0,
           name(closed.job) + " waits no more, and has not ended");
    }
    waits_for.erase(open);
  }
}

void Oracle::check_holds(const DependencyRow& row) const {
  if (!row.on.job.is_set()) {
    hold(events_set_.contains(row.on.event), name(row.job) + " goes on, and its event was never set");
    return;
  }
  for (std::uint32_t i = 1; i < row.on.batch_jobs; ++i) {
    const JobId job{row.on.job.value + i};
    const auto other = end_in_core(job);
    hold(other && holds(row.on.condition, *other),
         name(row.job) + " goes on before " + name(job) + " of a batch ended so");
  }
  const auto end = end_in_core(row.on.job);
  hold(end && holds(row.on.condition, *end), name(row.job) + " goes on before " + name(row.on.job) + " ended so");
}

bool Oracle::is_broken(const Dependency& on) const {
  if (!on.job.is_set()) return false;
  for (std::uint32_t i = 0; i < std::max(on.batch_jobs, 1U); ++i) {
    const auto parent = end_in_core(JobId{on.job.value + i});
    if (parent && !holds(on.condition, *parent)) return true;
  }
  return false;
}

// Of the batch that this job is of, itself included.
std::uint32_t Oracle::failures_of_batch(JobId job) const {
  BatchRow batch{job, 1};
  for (const BatchRow& row : batches_) {
    if (job >= row.first && job.value < row.first.value + row.count) batch = row;
  }
  std::uint32_t failures = 0;
  for (std::uint32_t i = 0; i < batch.count; ++i) {
    const auto end = end_in_core(JobId{batch.first.value + i});
    if (end && *end != JobState::kSucceeded) ++failures;
  }
  return failures;
}

void Oracle::sent(const Batch& rows) {
  in_flight_ = &rows;
  gathering_ = nullptr;
  jobs_seen_ = outcomes_seen_ = delayed_seen_ = released_seen_ = schedules_seen_ = 0;
  dependencies_seen_ = closed_seen_ = moved_seen_ = 0;
}

std::optional<JobState> Oracle::end_in_core(JobId job) const {
  const Facts& facts = facts_.at(job);
  if (facts.end) return facts.end->state;
  for (const Batch* batch : {gathering_, in_flight_}) {
    if (batch == nullptr) continue;
    const auto row = std::ranges::lower_bound(batch->jobs, job, {}, &JobRow::id);
    if (row != batch->jobs.end() && row->id == job && is_terminal(row->ending.state)) return row->ending.state;
    const auto end = std::ranges::find(batch->outcomes, job, &OutcomeRow::id);
    if (end != batch->outcomes.end()) return end->ending.state;
  }
  return std::nullopt;
}

bool Oracle::ended_in_core(JobId job) const {
  const Facts& facts = facts_.at(job);
  if (facts.end || outcomes_gathered_.contains(job)) return true;
  for (const Batch* batch : {gathering_, in_flight_}) {
    if (batch == nullptr) continue;
    const auto row = std::ranges::lower_bound(batch->jobs, job, {}, &JobRow::id);
    if (row != batch->jobs.end() && row->id == job) return is_terminal(row->ending.state);
  }
  return false;
}

void Oracle::waiting_forget(JobId job) {
  const JobSpec& spec = *facts_.at(job).spec;
  waiting_[lane_of(spec)].erase(key_of(spec, job));
  aside_.erase(job);
}

// A lane hands out in its order. Jobs that came back are not held to it: they may be late, and then go first.
void Oracle::handed_out(const std::vector<effect::Offer>& at_once, const std::vector<effect::Offer>& after_commit,
                        std::size_t seen_after_commit) {
  std::map<LaneName, OrderKey> last;
  const auto note = [&](const effect::Offer& offer) {
    const Facts& facts = facts_.at(offer.fence.job);
    const LaneName lane = lane_of(*facts.spec);
    const OrderKey key = key_of(*facts.spec, offer.fence.job);
    aside_.erase(offer.fence.job);
    if (waiting_[lane].erase(key) == 0) return;
    const auto known = last.emplace(lane, key).first;
    known->second = std::max(known->second, key);
  };
  for (const effect::Offer& offer : at_once) note(offer);
  for (std::size_t i = seen_after_commit; i < after_commit.size(); ++i) note(after_commit[i]);
  for (const auto& [name_of_lane, key] : last) {
    auto& lane = waiting_[name_of_lane];
    while (!lane.empty() && lane.begin()->first < key) {
      hold(ended_in_core(lane.begin()->second), name(job_of(key)) + " of queue " + name_of_lane.first +
                                                    " is handed out before " + name(lane.begin()->second));
      lane.erase(lane.begin());
    }
  }
}

void Oracle::offered(const effect::Offer& offer) {
  const Facts& facts = facts_.at(offer.fence.job);
  hold(!facts.delayed_until, name(offer.fence) + " is offered before its time");
  hold(facts.waits_for.empty(), name(offer.fence) + " is offered while it is blocked");
  for (const auto& [number, row] : facts.dependencies) {
    // One that was removed between the look at it and the commit of who takes it is lost, which the payload says.
    if (!row.on.takes_result || is_trimmed(row.on.job)) continue;
    const auto& parent = facts_.at(row.on.job).end;
    hold(parent.has_value(), name(offer.fence) + " is offered before a result that it takes is on disk");
    hold(offer.payload.view().find(parent->result) != std::string_view::npos,
         name(offer.fence) + " is offered without the result of " + name(row.on.job));
  }
  hold(!ended_in_core(offer.fence.job), name(offer.fence) + " is offered after the job ended");
  hold(!facts.spec->at_most_once || starts_.contains(offer.fence),
       name(offer.fence) + ": at most once, offered before its start is on disk");
}

// After an attempt that had `before`, and too little.
std::uint64_t Oracle::more_memory(const Facts& facts, std::uint64_t before) const {
  if (facts.spec->retry_memory_factor == 0) return before;
  const double more = static_cast<double>(before) * facts.spec->retry_memory_factor;
  return static_cast<std::uint64_t>(std::min(more, static_cast<double>(facts.spec->retry_memory_bytes_max)));
}

void Oracle::ran_out_of_memory(const Fence& fence) {
  Facts& facts = facts_.at(fence.job);
  Attempt& attempt = facts.attempts.at(fence);
  attempt.out_of_memory = true;
  facts.memory.insert(more_memory(facts, attempt.memory));
}

void Oracle::took(const Fence& fence, std::uint64_t memory_bytes_max) {
  Facts& facts = facts_.at(fence.job);
  const std::uint64_t of_pool = pool_memory_.at(facts.spec->pool);
  const std::uint64_t memory = memory_bytes_max != 0 ? memory_bytes_max : of_pool;
  hold(memory == of_pool || facts.memory.contains(memory), name(fence) + " has more memory than it may have");
  hold(memory >= facts.memory_on_disk, name(fence) + " has less memory than it was promised");
  ++attempts_run_;
  hold(!facts.end, name(fence) + " starts after the job's end is on disk");
  hold(!facts.is_stopping, name(fence) + " starts after somebody was told that its job stops");
  for (const auto& [other, attempt] : facts.attempts) {
    hold(attempt.run != Run::kTaken, name(fence) + " starts while " + name(other) + " runs");
  }
  const bool first = facts.attempts.emplace(fence, Attempt{.text = {}, .memory = memory}).second;
  hold(first, name(fence) + " is taken twice");
  for (const auto& [other, those] : facts_) {
    if (was_cleared_ || has_small_window_ || !facts.cache_key || other == fence.job || !those.cache_key || those.end)
      continue;
    if (*those.cache_key != *facts.cache_key) continue;
    for (const auto& [run, attempt] : those.attempts) {
      // One that waits for others may wait for this one, which then cannot wait for it.
      const bool computes = attempt.run == Run::kTaken && !attempt.has_waited;
      hold(!computes, name(fence) + " starts while " + name(run) + " computes the same");
    }
  }
  ++facts.takes;
  hold(!facts.spec->at_most_once || facts.takes == 1, name(fence) + " is taken again, but at most once");
}

void Oracle::finished(const Fence& fence, bool succeeded, bool final, const std::string& text) {
  Attempt& attempt = facts_.at(fence.job).attempts.at(fence);
  attempt.run = succeeded ? Run::kSucceeded : final ? Run::kFailedForGood : Run::kFailed;
  attempt.text = text;
}

void Oracle::died(const Fence& fence) { facts_.at(fence.job).attempts.at(fence).run = Run::kDied; }

void Oracle::committed(const Batch& batch) {
  for (const QueueRow& row : batch.queues) queues_.try_emplace(row.name, row.discipline);
  for (const StartRow& row : batch.starts) starts_.insert(row.fence);
  for (const KeyRow& row : batch.keys_added) {
    const auto [known, is_new] = keys_.emplace(row.key.key, row);
    bool is_left = false;
    for (std::uint32_t i = 0; i < known->second.count; ++i) {
      is_left = is_left || !is_trimmed(JobId{known->second.first.value + i});
    }
    hold(is_new || !is_left, "key " + row.key.key + " is given out a second time");
    known->second = row;
  }
  batches_.insert(batches_.end(), batch.batches.begin(), batch.batches.end());
  for (const JobRow& row : batch.jobs) {
    Facts& facts = facts_[row.id];
    facts.is_committed = true;
    facts.spec_on_disk = specs_.at(row.spec);
    ++committed_jobs_;
  }
  // A firing is committed with its job, and never again: neither its time nor its job comes back.
  for (const ScheduleRow& row : batch.schedules) {
    ScheduleRow& known = schedules_[row.name];
    if (row.last_job != known.last_job && row.last_job.is_set()) {
      const auto job = std::ranges::find(batch.jobs, row.last_job, &JobRow::id);
      hold(job != batch.jobs.end(), "schedule " + row.name + ": the job of a firing comes with it");
      hold(!clock_is_steady_ || row.last_at > known.last_at, "schedule " + row.name + " fires twice");
      hold(row.seen_at >= row.last_at || !clock_is_steady_, "schedule " + row.name + " does not know what it made");
    }
    known = row;
  }
  for (const MovedRow& row : batch.moved) facts_.at(row.job).spec_on_disk = specs_.at(row.spec);
  for (const DelayedKey& key : batch.delayed_removed) facts_[key.job].delayed_on_disk.reset();
  for (const DelayedKey& key : batch.delayed_added) {
    facts_[key.job].delayed_on_disk = key.at;
    facts_[key.job].was_delayed = true;
  }
  for (const CacheKeyRow& row : batch.cache_keys_added) facts_[row.job].cache_key = row.key;
  for (const DependencyRow& row : batch.dependencies) facts_[row.job].dependencies.emplace(row.number, row);
  for (const DependencyClosed& closed : batch.dependencies_closed) {
    facts_[closed.job].dependencies.at(closed.number).state = closed.state;
  }
  for (const AttemptRow& row : batch.attempts) went_on(row);
  for (const JobRow& row : batch.jobs) {
    if (is_terminal(row.ending.state)) ended(facts_[row.id], row.id, row.ending);
  }
  for (const OutcomeRow& row : batch.outcomes) ended(facts_[row.id], row.id, row.ending);
  for (const JobId job : std::exchange(cached_ends_, {})) check_cached(job);
  if (in_flight_ == &batch) in_flight_ = nullptr;
}

// Both budgets are kept on disk, so that no restart gives any of them back.
void Oracle::went_on(const AttemptRow& row) {
  Facts& facts = facts_.at(row.fence.job);
  const JobSpec& spec = *facts.spec;
  if (const auto attempt = facts.attempts.find(row.fence); attempt != facts.attempts.end()) {
    attempt->second.is_on_disk = true;
  }
  check_memory(facts, row);
  if (row.charge == Charge::kLast) return;
  hold(!facts.end, name(row.fence) + " goes on after its job's end");
  if (row.charge == Charge::kCrash) {
    hold(++facts.crashes < spec.crashes_max, name(row.fence) + ": its crash budget was spent");
    return;
  }
  if (row.charge == Charge::kNothing) {
    // Its worker took nothing for so long that it was killed; or took it in the last moment.
    const auto attempt = facts.attempts.find(row.fence);
    hold(attempt == facts.attempts.end() || attempt->second.run == Run::kDied,
         name(row.fence) + " is charged to nothing, though its worker did not die");
    hold(++facts.spared <= limits::kLossesMax, name(row.fence) + " is spared over and over");
    return;
  }
  hold(++facts.retries < spec.max_attempts, name(row.fence) + ": its attempts were spent");
  const bool timed_out = row.cause.kind == CauseKind::kSoftTimeout || row.cause.kind == CauseKind::kRunTimeout ||
                         row.cause.kind == CauseKind::kHeartbeatTimeout;
  const bool hungry = row.cause.kind == CauseKind::kOutOfMemory;
  const std::string cause = timed_out ? "TIMEOUT" : hungry ? "OUT_OF_MEMORY" : "TASK_ERROR";
  hold(retries(spec, row.cause.error_class, cause), name(row.fence) + ": its options forbid a retry");
  const auto attempt = facts.attempts.find(row.fence);
  hold(row.cause.kind != CauseKind::kHeartbeatTimeout || silent_.contains(row.fence),
       name(row.fence) + " timed out, but gave signs of life");
  hold(attempt == facts.attempts.end() || timed_out || attempt->second.run != Run::kFailedForGood,
       name(row.fence) + " refused a retry");
}

// What an attempt was allowed, and what the next one is, are on record, and no restart lowers it.
void Oracle::check_memory(Facts& facts, const AttemptRow& row) const {
  const auto attempt = facts.attempts.find(row.fence);
  if (attempt != facts.attempts.end()) {
    hold(row.memory_bytes_max == attempt->second.memory, name(row.fence) + ": another memory limit is on record");
  }
  if (row.charge == Charge::kLast) return;
  hold(row.memory_bytes_max >= facts.memory_on_disk, name(row.fence) + " had less memory than it was promised");
  const bool raised = row.cause.kind == CauseKind::kOutOfMemory && facts.spec->retry_memory_factor != 0;
  if (raised) {
    hold(row.next_memory_bytes_max == more_memory(facts, row.memory_bytes_max),
         name(row.fence) + " was out of memory, and the next attempt does not get more");
  }
  facts.memory_on_disk = std::max(facts.memory_on_disk, row.next_memory_bytes_max);
}

void Oracle::ended(Facts& facts, JobId job, const Ending& ending) {
  hold(!facts.end, name(job) + " ends a second time");
  hold(facts.is_committed, name(job) + " ends, but was never stored");
  facts.end = Told{ending.state,  ending.cause ? ending.cause->kind : CauseKind::kNone, ending.attempt,    ending.epoch,
                   ending.result, ending.cause ? ending.cause->cached_from : JobId{},   ending.finished_at};
  ++ended_jobs_;
  if (facts.end->cached_from.is_set()) cached_ends_.push_back(job);
  check_end(facts, job, *facts.end);
}

// It has the outcome of a job that ran, was asked the same by the same user, and never another.
void Oracle::check_cached(JobId job) const {
  const Facts& facts = facts_.at(job);
  const auto found = facts_.find(facts.end->cached_from);
  const std::string who = name(job) + " has the outcome of " + name(facts.end->cached_from);
  hold(found != facts_.end() && found->second.end, who + ", which has not ended");
  const Facts& source = found->second;
  hold(!source.end->cached_from.is_set(), who + ", which did not run");
  hold(source.end->state == facts.end->state && source.end->result == facts.end->result, who + ", but another one");
  hold(facts.spec->cache.enabled && source.spec->task == facts.spec->task, who + ", which was asked something else");
  hold(!facts.cache_key || !source.cache_key || *facts.cache_key == *source.cache_key, who + ", which has another key");
  hold(facts.end->state == JobState::kSucceeded || facts.spec->cache.failures, who + ", which failed");
}

void Oracle::check_end(const Facts& facts, JobId job, const Told& end) const {
  const JobSpec& spec = *facts.spec;
  const auto found = facts.attempts.find(Fence{job, end.epoch, end.attempt});
  const Attempt* const attempt = found != facts.attempts.end() ? &found->second : nullptr;
  const bool one_life = facts.born_in == life_;
  const std::string who = name(job) + " ended " + std::string(to_string(end.state)) + " " +
                          std::string(to_string(end.cause)) + " by attempt " + std::to_string(end.attempt);
  const auto forgotten = static_cast<std::uint32_t>(
      std::ranges::count_if(facts.attempts, [](const auto& entry) { return entry.second.is_forgotten; }));
  hold(end.attempt <= spec.max_attempts + spec.crashes_max + facts.spared + forgotten || spec.at_most_once,
       who + ": over its attempts");
  for (const auto& [fence, run] : facts.attempts) {
    hold(run.run != Run::kTaken, who + ", but " + name(fence) + " still runs");
  }
  hold(!facts.must_stop || end.state == JobState::kCancelled || end.cause == CauseKind::kTotalTimeout,
       who + ", after somebody was told that it stops");
  if (end.cached_from.is_set()) return;  // check_cached()
  switch (end.state) {
    case JobState::kSucceeded:
      hold(attempt != nullptr && attempt->run == Run::kSucceeded, who + ", which did not succeed");
      hold(attempt->text == end.result, who + ", with another result");
      return;
    case JobState::kFailed:
      if (end.cause == CauseKind::kTaskError) {
        hold(attempt != nullptr && (attempt->run == Run::kFailed || attempt->run == Run::kFailedForGood),
             who + ", which did not fail");
        hold(attempt->run == Run::kFailedForGood || spec.at_most_once || end.attempt >= spec.max_attempts ||
                 !retries(spec, attempt->text, "TASK_ERROR"),
             who + ": attempts are left");
      } else if (end.cause == CauseKind::kOutOfMemory) {
        hold(attempt != nullptr && attempt->out_of_memory, who + ", which had enough");
        hold(spec.at_most_once || end.attempt >= spec.max_attempts || attempt->run == Run::kFailedForGood ||
                 !retries(spec, attempt->text, "OUT_OF_MEMORY"),
             who + ": attempts are left");
      } else if (end.cause == CauseKind::kQuarantined) {
        hold(attempt != nullptr && attempt->run == Run::kDied, who + ", whose worker did not die");
        hold(facts.crashes + 1 == spec.crashes_max, who + ": its crash budget is not spent");
      } else if (end.cause == CauseKind::kDependency) {
        const bool is_broken = std::ranges::any_of(facts.dependencies, [&](const auto& entry) {
          return entry.second.state == DependencyState::kVoid && this->is_broken(entry.second.on);
        });
        // It may have run for an end of its parent that was lost with an earlier daemon, which is at least once.
        hold(facts.takes == 0 || !one_life, who + ", and ran");
        hold(is_broken, who + ", and nothing that it depends on was broken");
      } else {
        hold(end.cause == CauseKind::kMayHaveRun, who + ": not a cause that can happen here");
        const bool is_unseen = !one_life || (attempt != nullptr && attempt->run == Run::kDied);
        hold(spec.at_most_once && is_unseen, who + ", though its end was seen");
      }
      return;
    case JobState::kCancelled:
      if (cancels_asked_.contains(job) || purged_.contains(spec.queue)) return;
      hold(spec.max_failures && failures_of_batch(job) > *spec.max_failures + 1, who + ", but nobody asked");
      hold(!one_life || facts.takes == 0, who + " for what others of its batch did, and had begun");
      return;
    case JobState::kTimedOut:
      hold(end.cause != CauseKind::kQueueTimeout || (spec.queue_timeout.count() > 0 && (!one_life || facts.takes == 0)),
           who + ", but it has none, or had started");
      hold(end.cause != CauseKind::kRunTimeout || (spec.run_timeout.count() > 0 && attempt != nullptr),
           who + ", but has none");
      hold(end.cause != CauseKind::kSoftTimeout || (spec.soft_timeout.count() > 0 && attempt != nullptr),
           who + ", but has none");
      hold(end.cause != CauseKind::kSoftTimeout || attempt->run != Run::kSucceeded, who + ", which came to a result");
      hold(end.cause != CauseKind::kHeartbeatTimeout || (spec.heartbeat_timeout.count() > 0 && attempt != nullptr),
           who + ", but has none");
      hold(end.cause != CauseKind::kHeartbeatTimeout || silent_.contains(found->first),
           who + ", but gave signs of life");
      hold(end.cause != CauseKind::kTotalTimeout || spec.total_timeout.count() > 0, who + ", but has none");
      return;
    case JobState::kScheduled:
    case JobState::kBlocked:
    case JobState::kQueued:
    case JobState::kRunning:
      hold(false, who + ": not an end");
  }
}

// Callers of a daemon that died heard nothing: their requests failed, and what became of them they must ask.
void Oracle::daemon_died() {
  for (auto& [id, facts] : facts_) {
    for (auto& [fence, attempt] : facts.attempts) {
      attempt.is_forgotten = attempt.run != Run::kTaken && !attempt.is_on_disk;
    }
  }
  open_submits_.clear();
  open_cancels_.clear();
  open_queues_.clear();
  open_registers_.clear();
  outcomes_gathered_.clear();
  waiting_.clear();
  aside_.clear();
  gathering_ = in_flight_ = nullptr;
}

void Oracle::daemon_started(const Snapshot& snapshot) {
  ++life_;
  for (const DependencyRow& row : snapshot.dependencies) {
    // A batch is counted behind the start: its last job may have ended before that.
    const bool is_parent_over = row.on.job.is_set() && row.on.batch_jobs == 0 && facts_.at(row.on.job).end;
    hold(!is_parent_over, name(row.job) + " waits for " + name(row.on.job) + ", whose end is on disk");
    hold(!facts_.at(row.job).end, name(row.job) + " has ended, and waits for something");
  }
  for (auto& [job, facts] : facts_) {
    facts.delayed_until = facts.delayed_on_disk;
    if (facts.spec_on_disk) facts.spec = facts.spec_on_disk;
    facts.waits_for.clear();
    for (const auto& [number, row] : facts.dependencies) {
      if (row.state == DependencyState::kOpen) facts.waits_for.emplace(number, row);
    }
    if (!facts.dependencies.empty()) continue;  // it may have come late to its lane
    if (!facts.is_committed || facts.end || facts.delayed_until || facts.was_delayed) continue;
    const JobSpec& spec = *facts.spec;
    // One that ran before may be waiting for its next attempt.
    if (facts.takes > 0 || spec.cache.enabled) continue;
    waiting_[{spec.queue, spec.pool}].emplace(key_of(spec, job), job);
  }
}

std::string Oracle::unfinished_sample() const {
  std::string text;
  int left = 5;
  for (const auto& [job, facts] : facts_) {
    if (!facts.is_committed || facts.end || left-- <= 0) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(job.value);
  }
  return text;
}

void Oracle::at_rest(StoreReader& reader) const {
  hold(open_registers_.empty(), std::to_string(open_registers_.size()) + " registrations were never answered");
  hold(open_submits_.empty() && open_cancels_.empty() && open_queues_.empty(),
       std::to_string(open_submits_.size()) + " submits, " + std::to_string(open_cancels_.size()) + " cancels and " +
           std::to_string(open_queues_.size()) + " changes of queues were never answered");
  for (const auto& [job, facts] : facts_) {
    hold(facts.is_committed || !facts.is_acknowledged, name(job) + " was acknowledged and is lost");
    if (!facts.is_committed) continue;
    hold(facts.end.has_value(), name(job) + " never ended");
    if (facts.is_trimmed) continue;
    const auto record = reader.get(job, false);
    hold(record.ok() && record->has_value(), name(job) + " is not in the store");
    const Ending& ending = (*record)->ending;
    hold(ending.state == facts.end->state && ending.attempt == facts.end->attempt && ending.result == facts.end->result,
         name(job) + ": its end changed in the store");
    check_history(job, **record);
  }
}

void Oracle::trimmed(JobId job, const TrimQuestion& question) {
  Facts& facts = facts_[job];
  hold(facts.is_committed && !facts.is_trimmed, name(job) + " is removed, and was not there");
  hold(facts.end.has_value(), name(job) + " is removed, and has not ended");
  const Duration age = age_of(question.policy, facts.end->state, facts.spec->retention);
  const bool is_surplus = job.value <= surplus_until(question.policy, newest_id_);
  hold(is_surplus || kept_until(facts.end->finished_at, age) <= question.now, name(job) + " is removed too early");
  for (const auto& [taker, known] : facts_) {
    if (!known.is_committed || known.end) continue;
    for (const auto& [number, row] : known.dependencies) {
      hold(!row.on.takes_result || row.on.job != job,
           name(job) + " is removed before " + name(taker) + " took its result");
    }
  }
  facts.is_trimmed = true;
}

void Oracle::all_trimmed(StoreReader& reader) const {
  for (const auto& [job, facts] : facts_) {
    if (!facts.is_committed) continue;
    hold(facts.is_trimmed, name(job) + " has ended, and is kept for ever");
    const auto record = reader.get(job, false);
    hold(record.ok() && !record->has_value(), name(job) + " is removed, and still there");
    const auto gone = reader.gone({job});
    hold(gone.ok() && gone->size() == 1, name(job) + " is removed, and that is not known");
  }
}

// What happened to a job can be told from first to last; one that simply succeeded costs no row.
void Oracle::check_history(JobId job, const JobRecord& record) const {
  const Ending& ending = record.ending;
  hold(record.spec == *facts_.at(job).spec, name(job) + ": the store has it in another queue");
  const bool is_cached = ending.cause && ending.cause->cached_from.is_set();
  const bool simple = ending.state == JobState::kSucceeded && ending.attempt == 1 && !is_cached;
  hold(!simple || record.attempts.empty(), name(job) + " succeeded at once and has rows of attempts");
  std::uint32_t last = 0;
  std::size_t ends = 0;
  for (const AttemptRow& row : record.attempts) {
    hold(row.fence.attempt > last, name(row.fence) + " is told out of order");
    last = row.fence.attempt;
    ends += row.charge == Charge::kLast ? 1 : 0;
  }
  const bool told = !simple && ending.started_at.us != 0;
  hold(ends == (told ? 1u : 0u), name(job) + " has " + std::to_string(ends) + " last attempts");
  if (!told) return;
  const AttemptRow& row = record.attempts.back();
  hold(row.charge == Charge::kLast && row.fence.attempt == ending.attempt && row.fence.epoch == ending.epoch,
       name(job) + ": its history does not end with its end");
}

}  // namespace futured::simulation
