// Jobs that wait for other jobs or for named events. A blocked job is resident and in no lane's order. The end of a
// parent and what it does to its dependents are of one step, and so of one commit: a restart finds both or neither.
#include "daemon/core/dependencies.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/limits.h"
#include "base/payload.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

// Of one request. Each is read as a whole, up to 10,000 rows of the store.
constexpr std::size_t kBatchesAskedMax = 100;

std::string name_of(JobId job) { return "job " + std::to_string(job.value); }

std::string key_of(const event::AskedDependency& asked) { return asked.is_of_batch ? ".batch_id" : ".job_id"; }

// Each dependency of the submit, with the field that it was asked in.
template <typename Visit>
void for_each_dependency(const event::Submit& submit, Visit visit) {
  for (std::size_t i = 0; i < submit.dependencies.size(); ++i) {
    const event::AskedDependency& asked = submit.dependencies[i];
    visit(asked, [i, of = key_of(asked)] { return "spec.dependencies[" + std::to_string(i) + "]" + of; });
  }
  std::size_t number = 0;
  for (std::size_t i = 0; i < submit.item_dependencies.size(); ++i) {
    const auto& [item, asked] = submit.item_dependencies[i];
    number = i > 0 && submit.item_dependencies[i - 1].first == item ? number + 1 : 0;
    visit(asked, [item = item, number, &of = asked] {
      if (of.on.takes_result) return "items[" + std::to_string(item) + "].result_of";
      return "items[" + std::to_string(item) + "].dependencies[" + std::to_string(number) + "]" + key_of(of);
    });
  }
}

// Which of those that are waited for there are not, and in which field the first one was asked.
struct UnknownParents {
  std::string field;
  std::vector<JobId> jobs;

  void add(const std::string& in, JobId job) {
    if (jobs.empty()) field = in;
    if (std::ranges::find(jobs, job) == jobs.end()) jobs.push_back(job);
  }
  [[nodiscard]] Error error() const {
    constexpr std::size_t kNamed = 10;
    std::string names = jobs.size() == 1 ? "job " : "jobs ";
    for (std::size_t i = 0; i < std::min(jobs.size(), kNamed); ++i) {
      names += (i == 0 ? "" : ", ") + std::to_string(jobs[i].value);
    }
    if (jobs.size() > kNamed) names += " and " + std::to_string(jobs.size() - kNamed) + " more";
    const std::string they = jobs.size() == 1 ? "it has ended and is" : "they have ended and are";
    return {ErrorCode::kNotFound, field + ": no " + names + ": there never " + (jobs.size() == 1 ? "was" : "were") +
                                      ", or " + they +
                                      " not kept any more; [retention] in the daemon's settings, or a job's own "
                                      "retention, says how long outcomes are kept"};
  }
};

std::string broken_by(JobId parent, JobState state, DependencyCondition condition) {
  return name_of(parent) + " ended " + std::string(to_string(state)) + ", and this job runs only if that " +
         (condition == DependencyCondition::kSucceeded ? "succeeds" : "does not succeed");
}

std::string broken_by_batch(JobId first, DependencyCondition condition) {
  const bool success = condition == DependencyCondition::kSucceeded;
  return "a job of batch " + std::to_string(first.value) + (success ? " did not succeed" : " succeeded") +
         ", and this job runs only if " + (success ? "every one of them succeeds" : "none of them does");
}

// Of a group it says how the last one went.
std::string of_group(std::string why, std::uint32_t any_of) {
  return any_of == 0 ? why : "none of several holds any more, of which one would do; the last: " + std::move(why);
}

Error too_many(const std::string& what, std::size_t there, std::size_t more, std::size_t most) {
  return {ErrorCode::kResourceExhausted,
          "there are " + std::to_string(there) + " " + what + ", and " + std::to_string(more) + " more would be over " +
              std::to_string(most) +
              "; submit again when some of them have run, or cancel some (fut ls --state blocked)"};
}

}  // namespace

// The states of all parents are known before the jobs are made. Of those that are not resident the store tells.
void Scheduler::ask_for_parents(const event::Submit& submit, Moment now, Effects& effects) {
  // Before anything is read: a request can name more jobs than may ever be waited for.
  if (const Status fits = check_dependencies(submit); !fits.ok()) {
    return effects.refused.push_back({submit.token, fits.error()});
  }
  event::Submit known = submit;
  known.parents = std::make_shared<event::Parents>();
  auto& states = known.parents->states;
  std::vector<JobId> asked;
  std::vector<JobId> batches;
  UnknownParents unknown;
  for_each_dependency(submit, [&](const event::AskedDependency& dependency, const auto& field) {
    const JobId job = dependency.on.job;
    if (dependency.item || !job.is_set()) return;
    if (job.value >= next_id_) {
      // As one that the store knows nothing of.
      dependency.is_of_batch ? void(known.parents->batches[job]) : void(states[job] = JobState::kScheduled);
      unknown.add(field(), job);
      return;
    }
    if (dependency.is_of_batch) {
      if (known.parents->batches.try_emplace(job).second) batches.push_back(job);
      return;
    }
    if (states.contains(job)) return;
    const bool is_resident = jobs_.find(job) != nullptr;
    states[job] = is_resident ? JobState::kQueued : JobState::kScheduled;
    if (!is_resident) asked.push_back(job);
  });
  if (batches.size() > kBatchesAskedMax) {
    return effects.refused.push_back(
        {submit.token, Error{ErrorCode::kResourceExhausted,
                             "dependencies: one request waits for " + std::to_string(batches.size()) +
                                 " batches, and may for " + std::to_string(kBatchesAskedMax) + "; send several"}});
  }
  if (!unknown.jobs.empty() && asked.empty() && batches.empty()) {
    return effects.refused.push_back({submit.token, unknown.error()});
  }
  dependencies_.watch(known.parents);
  if (asked.empty() && batches.empty()) return on(known, now, effects);

  std::ranges::sort(asked);
  const std::uint64_t number = Dependencies::kAboutParents | parents_asked_.next_number++;
  std::size_t questions = batches.size();
  for (const JobId first : batches) effects.batch_queries.push_back({number, first, 0});
  for (std::size_t i = 0; i < asked.size(); ++questions) {
    const JobId first = asked[i];
    JobId last = first;
    const auto is_near = [&] {
      return asked[i].value - last.value <= limits::kParentsGapMax &&
             asked[i].value - first.value < limits::kBatchItemsMax;
    };
    for (; i < asked.size() && is_near(); ++i) last = asked[i];
    effects.batch_queries.push_back({number, first, static_cast<std::uint32_t>(last.value - first.value + 1)});
  }
  parents_asked_.jobs += known.ends.size();
  parents_asked_.submits[number] = {std::move(known), questions};
}

void Scheduler::parents_read(const BatchAnswer& answer, Moment now, Effects& effects) {
  const auto found = parents_asked_.submits.find(answer.query.number);
  FUTURED_CHECK(found != parents_asked_.submits.end(), "the store answers what it was asked");
  event::Parents& parents = *found->second.submit.parents;
  auto& states = parents.states;
  if (answer.query.count == 0) {
    event::Parents::OfBatch& batch = parents.batches.at(answer.query.first);
    batch.is_known = answer.batch.count > 0;
    batch.count = answer.batch.count;
    batch.first = answer.batch.first;
    // What was noted meanwhile is newer.
    std::vector<std::pair<JobId, JobState>> standing;
    for (const BatchAnswer::Standing& job : answer.jobs) standing.emplace_back(job.id, job.state);
    batch.jobs_found = static_cast<std::uint32_t>(standing.size());
    batch.standing.insert(batch.standing.begin(), standing.begin(), standing.end());
  }
  for (const BatchAnswer::Standing& job : answer.jobs) {
    const auto state = states.find(job.id);
    if (state == states.end() || is_terminal(state->second)) continue;  // it ended after this was read
    state->second = is_terminal(job.state) ? job.state : JobState::kQueued;
  }
  if (--found->second.answers_left > 0) return;
  const event::Submit submit = std::move(found->second.submit);
  parents_asked_.submits.erase(found);
  parents_asked_.jobs -= submit.ends.size();
  if (const Status known = check_parents(submit); !known.ok()) {
    return effects.refused.push_back({submit.token, known.error()});
  }
  on(submit, now, effects);
}

Status Scheduler::check_parents(const event::Submit& submit) {
  Status sound;
  UnknownParents unknown;
  for_each_dependency(submit, [&](const event::AskedDependency& dependency, const auto& field) {
    const JobId job = dependency.on.job;
    if (!sound.ok() || dependency.item || !job.is_set()) return;
    if (!dependency.is_of_batch) {
      if (submit.parents->states.at(job) == JobState::kScheduled) unknown.add(field(), job);
      return;
    }
    const event::Parents::OfBatch& batch = submit.parents->batches.at(job);
    if (!batch.is_known) {
      unknown.add(field(), job);
    } else if (batch.first != job) {
      sound = Error{ErrorCode::kInvalidArgument, field() + ": " + name_of(job) + " is one of batch " +
                                                     std::to_string(batch.first.value) +
                                                     "; a batch has the number of its first job"};
    } else if (batch.jobs_found < batch.count && dependency.on.condition != DependencyCondition::kEnded) {
      sound = Error{ErrorCode::kNotFound, field() + ": of the " + std::to_string(batch.count) + " jobs of batch " +
                                              std::to_string(job.value) + " " +
                                              std::to_string(batch.count - batch.jobs_found) +
                                              " have ended and are not kept any more, so nobody knows how"};
    }
  });
  return unknown.jobs.empty() ? sound : Status(unknown.error());
}

// What jobs waited for before a restart.
void Scheduler::batch_counted(const BatchAnswer& answer, Moment now, Effects& effects) {
  const JobId first = answer.query.first;
  dependencies_.count(first, answer);
  settle_batch(first, now, effects);
}

Status Scheduler::check_dependencies(const event::Submit& submit) const {
  const std::size_t jobs = submit.ends.size();
  const std::size_t edges = submit.dependencies.size() * jobs + submit.item_dependencies.size();
  const std::size_t bytes = submit.bytes->size() + jobs * sizeof(Job);
  if (dependencies_.blocked_jobs() + jobs > limits::kBlockedJobsMax) {
    return too_many("blocked jobs", dependencies_.blocked_jobs(), jobs, limits::kBlockedJobsMax);
  }
  if (dependencies_.open_dependencies() + edges > limits::kOpenDependenciesMax) {
    return too_many("dependencies of blocked jobs", dependencies_.open_dependencies(), edges,
                    limits::kOpenDependenciesMax);
  }
  if (blocked_bytes_ + bytes > limits::kBlockedBytesMax) {
    return too_many("bytes of blocked jobs", blocked_bytes_, bytes, limits::kBlockedBytesMax);
  }
  std::set<JobId> batches;
  for_each_dependency(submit, [&](const event::AskedDependency& dependency, const auto&) {
    if (dependency.is_of_batch) batches.insert(dependency.on.job);
  });
  if (dependencies_.awaited_batches() + batches.size() > limits::kBatchesAwaitedMax) {
    return too_many("batches that jobs wait for", dependencies_.awaited_batches(), batches.size(),
                    limits::kBatchesAwaitedMax);
  }
  std::set<std::string> fresh;
  for_each_dependency(submit, [&](const event::AskedDependency& dependency, const auto&) {
    const std::string& event = dependency.on.event;
    if (!event.empty() && !dependencies_.is_known(event)) fresh.insert(event);
  });
  if (dependencies_.event_count() + fresh.size() > limits::kNamedEventsMax) {
    return Error{ErrorCode::kResourceExhausted, "there are " + std::to_string(dependencies_.event_count()) +
                                                    " named events that are set or waited for, and " +
                                                    std::to_string(fresh.size()) +
                                                    " more would be too many; fut event clear makes room"};
  }
  return {};
}

// Jobs for `items` of the batch, as Scheduler::add_jobs makes them. Which of them nothing blocks is seen when all are
// there: items may name those behind them.
void Scheduler::block(const event::Submit& submit, const std::vector<std::uint32_t>& items, SpecState& spec,
                      JobId first, Moment now, Effects& effects) {
  Lane& lane = *spec.lane;
  const std::size_t count = items.empty() ? submit.ends.size() : items.size();
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const JobId id{first.value + i};
    const std::size_t item = items.empty() ? i : items[i];
    const std::uint32_t begin = item == 0 ? 0 : submit.ends[item - 1];
    SharedBytes payload{submit.bytes, begin, submit.ends[item] - begin};
    if (names_result(payload.view())) payload = SharedBytes::of(name_jobs(payload.view(), first));
    bytes += payload.size;
    Job& job = add_job(id, spec, lane, payload);
    job.owner = submit.who.uid;
    job.submitted_at = now.wall;
    job.start_at = start_of(submit, now);
    job.depth = submit.lineage.depth;
    if (!submit.cache_digests.empty()) {
      auto key = cache_key_of(submit, item, spec);
      know_key(job, key);
      know_remark(job, submit, item);
      note_new_key(id, std::move(key));
    }
    arm_submit_timers(job, now);
    dependencies_.add(id);
    mark_blocked(job);
    note_change(job, JobState::kBlocked, now.at, nullptr, now, effects);
    effects.rows.jobs.push_back(
        {id, spec.id, submit.who.uid, submit.retry_of, now.wall, std::move(payload), {}, submit.lineage, job.start_at});
  }
  count_added(*lane.queue, count, bytes, effects);

  add_dependencies(submit, items, first, now, effects);
  for (std::size_t i = 0; i < count; ++i) {
    const JobId id{first.value + i};
    if (dependencies_.is_blocked(id) && dependencies_.is_free(id)) unblock(*jobs_.find(id), now, effects);
  }
}

void Scheduler::add_dependencies(const event::Submit& submit, const std::vector<std::uint32_t>& items, JobId first,
                                 Moment now, Effects& effects) {
  if (submit.parents) {
    for (const auto& [batch, known] : submit.parents->batches) dependencies_.know_batch(batch, known);
  }
  std::vector<std::pair<JobId, std::string>> broken;
  auto of_item = submit.item_dependencies.begin();
  const std::size_t count = items.empty() ? submit.ends.size() : items.size();
  std::vector<DependencyRow> rows;  // of a job
  for (std::size_t i = 0; i < count; ++i) {
    const JobId id{first.value + i};
    const std::size_t item = items.empty() ? i : items[i];
    rows.clear();
    std::map<std::uint32_t, bool> groups;  // whether one of it may still hold
    std::string why;
    std::string last_broken;  // of a group
    const auto add = [&](const event::AskedDependency& asked) {
      DependencyRow row{id, static_cast<std::uint32_t>(rows.size()), asked.on};
      if (asked.item) row.on.job = JobId{first.value + *asked.item};
      if (asked.is_of_batch) row.on.batch_jobs = submit.parents->batches.at(asked.on.job).count;
      const auto [state, breaks] = judge(row.on, asked.item.has_value(), submit);
      row.state = state;
      if (row.on.any_of != 0) {
        bool& may_hold = groups[row.on.any_of];
        may_hold = may_hold || state != DependencyState::kVoid;
      }
      if (state == DependencyState::kVoid && why.empty() && row.on.any_of == 0) why = breaks;
      if (state == DependencyState::kVoid && row.on.any_of != 0) last_broken = breaks;
      rows.push_back(std::move(row));
    };
    for (const event::AskedDependency& asked : submit.dependencies) add(asked);
    while (of_item != submit.item_dependencies.end() && of_item->first < item) ++of_item;
    for (; of_item != submit.item_dependencies.end() && of_item->first == item; ++of_item) add(of_item->second);
    for (const auto& [group, may_hold] : groups) {
      if (!may_hold && why.empty()) why = of_group(last_broken, group);
    }
    for (const DependencyRow& held : rows) {
      if (held.state != DependencyState::kHolds || held.on.any_of == 0) continue;
      for (DependencyRow& other : rows) {
        const bool is_spare = other.on.any_of == held.on.any_of && other.state == DependencyState::kOpen;
        if (is_spare) other.state = DependencyState::kVoid;
      }
    }
    for (DependencyRow& row : rows) {
      if (row.state == DependencyState::kOpen) dependencies_.add(row);
      effects.rows.dependencies.push_back(std::move(row));
    }
    if (!why.empty()) broken.emplace_back(id, std::move(why));
  }
  for (const auto& [id, why] : broken) fail_blocked(*jobs_.find(id), why, now, effects);
  if (!submit.parents) return;
  for (const auto& [batch, known] : submit.parents->batches) {
    settle_batch(batch, now, effects);
    dependencies_.drop_batch_if_unused(batch);
  }
}

// How a dependency of a new job stands, and what is wrong with one that never will hold.
std::pair<DependencyState, std::string> Scheduler::judge(const Dependency& on, bool is_of_request,
                                                         const event::Submit& submit) const {
  if (is_of_request) return {DependencyState::kOpen, {}};
  if (!on.job.is_set()) {
    return {dependencies_.is_set(on.event) ? DependencyState::kHolds : DependencyState::kOpen, {}};
  }
  if (on.batch_jobs > 0) {
    const auto verdict = dependencies_.batch(on.job)->holds(on.condition);
    if (!verdict) return {DependencyState::kOpen, {}};
    if (*verdict) return {DependencyState::kHolds, {}};
    return {DependencyState::kVoid, broken_by_batch(on.job, on.condition)};
  }
  const JobState state = submit.parents->states.at(on.job);
  if (!is_terminal(state)) return {DependencyState::kOpen, {}};
  if (holds(on.condition, state)) return {DependencyState::kHolds, {}};
  return {DependencyState::kVoid, broken_by(on.job, state, on.condition)};
}

void Scheduler::take_up_blocked(const StoredJob& stored, Lane& lane, Moment now) {
  Job& job = take_up_held(stored, lane);
  arm_submit_timers(job, now);
  mark_blocked(job);
}

// It may wait for long, and so is no part of the window, which is for what may run soon.
void Scheduler::mark_blocked(Job& job) {
  job.phase = Phase::kBlocked;
  ++job.lane->blocked_jobs;
  window_bytes_ -= job.cost();
  blocked_bytes_ += job.cost();
}

void Scheduler::leave_blocked(Job& job, Effects& effects) {
  job.phase = Phase::kDelayed;  // until it is put somewhere
  --job.lane->blocked_jobs;
  window_bytes_ += job.cost();
  blocked_bytes_ -= job.cost();
  if (dependencies_.is_blocked(job.id)) dependencies_.forget(job.id, effects);
  if (!results_wanted_.jobs.empty()) results_wanted_.jobs.erase(job.id);
}

void Scheduler::unblock(Job& job, Moment now, Effects& effects) {
  if (names_result(job.payload.view())) {
    dependencies_.forget(job.id, effects);
    return want_results(job, effects);
  }
  leave_blocked(job, effects);
  let_run(job, now, effects);
}

// Its place is that of its submit, among all that wait; if its time has not come, it goes to those that wait for that.
void Scheduler::let_run(Job& job, Moment now, Effects& effects) {
  Lane& lane = *job.lane;
  const bool is_early = job.start_at > now.wall;
  note_change(job, is_early ? JobState::kScheduled : JobState::kQueued, now.at, nullptr, now, effects);
  if (is_early) {
    const WallTime start = job.start_at;
    effects.rows.delayed_added.push_back({start, job.id, lane.queue->row.id, lane.pool->row.id});
    ++lane.delayed_jobs;
    drop(job);
    return note_delayed(start, now);
  }
  const OrderKey key = lane.key_of(job);
  // It is not new: where nothing is known of the backlog, newer jobs of a lifo lane may lie there, and they go first.
  const bool is_unknown = lane.backlog_jobs > 0 && !lane.boundary;
  if (is_unknown || goes_to_backlog(lane, key, 0)) {
    spill(lane, key, false, effects);
    note_deadline(job, now, effects);
    drop(job);
  } else {
    admit(job, now);
    spill_excess(lane, now, effects);
  }
  refill(lane, effects);
}

void Scheduler::fail_blocked(Job& job, const std::string& why, Moment now, Effects& effects) {
  leave_blocked(job, effects);
  auto cause = std::make_unique<Cause>();
  cause->kind = CauseKind::kDependency;
  cause->message = why;
  end(job, {JobState::kFailed, std::move(cause), {}, {{}, {}, now.at}}, now, effects);
}

// Ends may follow from ends, along whole chains: so they are worked off in turn, not by recursion.
void Scheduler::settle_dependents(Moment now, Effects& effects) {
  while (dependencies_.has_ended()) {
    for (const auto& [parent, state] : dependencies_.take_ended()) {
      for (const DependencyKey key : dependencies_.take_dependents(parent)) {
        if (!dependencies_.is_open(key)) continue;  // another dependency of it on this parent settled it
        const DependencyCondition condition = dependencies_.condition_of(key);
        const auto why = [&, parent = parent, state = state] { return broken_by(parent, state, condition); };
        settle_dependency(key, holds(condition, state), why, now, effects);
      }
      for (const JobId batch : dependencies_.batches_with(parent)) {
        dependencies_.mark(batch, parent, state);
        settle_batch(batch, now, effects);
      }
    }
  }
}

void Scheduler::settle_batch(JobId first, Moment now, Effects& effects) {
  const Dependencies::AwaitedBatch* const batch = dependencies_.batch(first);
  if (batch == nullptr) return;
  const auto is_settled = [&](DependencyCondition condition) { return batch->holds(condition).has_value(); };
  if (!is_settled(DependencyCondition::kEnded) && !is_settled(DependencyCondition::kSucceeded) &&
      !is_settled(DependencyCondition::kNotSucceeded)) {
    return;  // as after most ends, however many wait
  }
  std::vector<std::pair<DependencyKey, bool>> settled;
  for (const DependencyKey key : batch->waiters) {
    const auto verdict = batch->holds(dependencies_.condition_of(key));
    if (verdict) settled.emplace_back(key, *verdict);
  }
  for (const auto& [key, does_hold] : settled) {
    if (!dependencies_.is_open(key)) continue;
    const DependencyCondition condition = dependencies_.condition_of(key);
    settle_dependency(
        key, does_hold, [&] { return broken_by_batch(first, condition); }, now, effects);
  }
}

void Scheduler::settle_dependency(DependencyKey key, bool does_hold, const std::function<std::string()>& why,
                                  Moment now, Effects& effects) {
  Job& job = *jobs_.find(key.job);
  const bool is_held = job.phase != Phase::kBlocked;  // for event::Adopt: an earlier daemon had handed it out
  if (!does_hold) {
    const std::uint32_t group = dependencies_.group_of(key);
    if (dependencies_.give_way(key, effects)) return;
    if (is_held) mark_blocked(job);
    return fail_blocked(job, of_group(why(), group), now, effects);
  }
  dependencies_.close(key, effects);
  if (!dependencies_.is_free(key.job)) return;
  if (is_held) return dependencies_.forget(key.job, effects);
  unblock(job, now, effects);
}

void Scheduler::on(const event::PutEvent& put, Moment now, Effects& effects) {
  effects.events_put.push_back({put.token});
  if (!put.is_set) return dependencies_.clear(put.name, now.wall, effects);
  if (!dependencies_.is_known(put.name) && dependencies_.event_count() >= limits::kNamedEventsMax) {
    effects.events_put.pop_back();
    effects.refused.push_back({put.token,
                               {ErrorCode::kResourceExhausted, std::to_string(dependencies_.event_count()) +
                                                                   " named events are set or waited for already; "
                                                                   "fut event clear makes room"}});
    return;
  }
  for (const DependencyKey key : dependencies_.set(put.name, now.wall, effects)) {
    if (!dependencies_.is_open(key)) continue;  // another of its group was this event, too
    settle_dependency(
        key, /*does_hold=*/true, [] { return std::string(); }, now, effects);
  }
}

void Scheduler::audit_dependencies() const {
  if (!held_.empty()) return;  // some of them may be blocked again
  std::size_t bytes = 0;
  std::size_t jobs = 0;
  std::map<const Lane*, std::size_t> of_lane;
  jobs_.for_each([&](const Job& job) {
    const bool is_blocked = job.phase == Phase::kBlocked;
    const bool wants_results = results_wanted_.jobs.contains(job.id);
    FUTURED_CHECK(is_blocked == (dependencies_.is_blocked(job.id) || wants_results),
                  "a blocked job waits for something");
    FUTURED_CHECK(!wants_results || !dependencies_.is_blocked(job.id), "results are read when all else is there");
    if (!is_blocked) return;
    ++jobs;
    ++of_lane[job.lane];
    bytes += job.cost();
  });
  FUTURED_CHECK(jobs == dependencies_.blocked_jobs() + results_wanted_.jobs.size(), "a blocked job is resident");
  FUTURED_CHECK(bytes == blocked_bytes_, "bytes of blocked jobs are counted");
  for (const auto& [key, lane] : lanes_) {
    FUTURED_CHECK(of_lane[lane.get()] == lane->blocked_jobs, "a lane counts its blocked jobs");
  }
  std::size_t waiting = 0;
  for (const auto& [number, one] : parents_asked_.submits) waiting += one.submit.ends.size();
  FUTURED_CHECK(waiting == parents_asked_.jobs, "jobs whose parents are looked up are counted");
  dependencies_.audit();
}

}  // namespace futured
