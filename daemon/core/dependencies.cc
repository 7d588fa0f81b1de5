// Jobs that wait for other jobs or for named events. A blocked job is resident and in no lane's order. The end of a
// parent and what it does to its dependents are of one step, and so of one commit: a restart finds both or neither.
#include "daemon/core/dependencies.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

std::string name_of(JobId job) { return "job " + std::to_string(job.value); }

// Each dependency of the submit, with the field that it was asked in.
template <typename Visit>
void for_each_dependency(const event::Submit& submit, Visit visit) {
  for (std::size_t i = 0; i < submit.dependencies.size(); ++i) {
    visit(submit.dependencies[i], [i] { return "spec.dependencies[" + std::to_string(i) + "]"; });
  }
  std::size_t number = 0;
  for (std::size_t i = 0; i < submit.item_dependencies.size(); ++i) {
    const auto& [item, asked] = submit.item_dependencies[i];
    number = i > 0 && submit.item_dependencies[i - 1].first == item ? number + 1 : 0;
    visit(asked, [item = item, number] {
      return "items[" + std::to_string(item) + "].dependencies[" + std::to_string(number) + "]";
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
    return {ErrorCode::kNotFound, field + ".job_id: no " + names + ": there never " +
                                      (jobs.size() == 1 ? "was" : "were") + ", or " + they +
                                      " not kept any more; [retention] in the daemon's settings, or a job's own "
                                      "retention, says how long outcomes are kept"};
  }
};

std::string broken_by(JobId parent, JobState state, DependencyCondition condition) {
  return name_of(parent) + " ended " + std::string(to_string(state)) + ", and this job runs only if that " +
         (condition == DependencyCondition::kSucceeded ? "succeeds" : "does not succeed");
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
  UnknownParents unknown;
  for_each_dependency(submit, [&](const event::AskedDependency& dependency, const auto& field) {
    const JobId job = dependency.on.job;
    if (dependency.item || !job.is_set() || states.contains(job)) return;
    if (job.value >= next_id_) {
      states[job] = JobState::kScheduled;  // as one that the store knows nothing of
      unknown.add(field(), job);
      return;
    }
    const bool is_resident = jobs_.find(job) != nullptr;
    states[job] = is_resident ? JobState::kQueued : JobState::kScheduled;
    if (!is_resident) asked.push_back(job);
  });
  if (!unknown.jobs.empty() && asked.empty()) return effects.refused.push_back({submit.token, unknown.error()});
  dependencies_.watch(known.parents);
  if (asked.empty()) return on(known, now, effects);

  std::ranges::sort(asked);
  const std::uint64_t number = Dependencies::kAboutParents | parents_asked_.next_number++;
  std::size_t questions = 0;
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
  auto& states = found->second.submit.parents->states;
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
  UnknownParents unknown;
  for_each_dependency(submit, [&](const event::AskedDependency& dependency, const auto& field) {
    if (dependency.item || !dependency.on.job.is_set()) return;
    if (submit.parents->states.at(dependency.on.job) == JobState::kScheduled) unknown.add(field(), dependency.on.job);
  });
  return unknown.jobs.empty() ? Status() : Status(unknown.error());
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

  std::vector<std::pair<JobId, std::string>> broken;
  auto of_item = submit.item_dependencies.begin();
  for (std::size_t i = 0; i < count; ++i) {
    const JobId id{first.value + i};
    const std::size_t item = items.empty() ? i : items[i];
    std::uint32_t number = 0;
    const auto add = [&](const event::AskedDependency& asked) {
      DependencyRow row{id, number++, asked.on};
      JobState state = JobState::kQueued;
      if (asked.item) {
        row.on.job = JobId{first.value + *asked.item};
      } else if (asked.on.job.is_set()) {
        state = submit.parents->states.at(asked.on.job);
      }
      if (is_terminal(state) && !holds(asked.on.condition, state)) {
        row.state = DependencyState::kVoid;
        if (broken.empty() || broken.back().first != id) {
          broken.emplace_back(id, broken_by(asked.on.job, state, asked.on.condition));
        }
      } else if (is_terminal(state) || (!asked.on.event.empty() && dependencies_.is_set(asked.on.event))) {
        row.state = DependencyState::kHolds;
      } else {
        dependencies_.add(row);
      }
      effects.rows.dependencies.push_back(std::move(row));
    };
    for (const event::AskedDependency& asked : submit.dependencies) add(asked);
    while (of_item != submit.item_dependencies.end() && of_item->first < item) ++of_item;
    for (; of_item != submit.item_dependencies.end() && of_item->first == item; ++of_item) add(of_item->second);
  }
  for (const auto& [id, why] : broken) fail_blocked(*jobs_.find(id), why, now, effects);
  for (std::size_t i = 0; i < count; ++i) {
    const JobId id{first.value + i};
    if (dependencies_.is_blocked(id) && dependencies_.is_free(id)) unblock(*jobs_.find(id), now, effects);
  }
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
  dependencies_.forget(job.id, effects);
}

// Its place is that of its submit, among all that wait; if its time has not come, it goes to those that wait for that.
void Scheduler::unblock(Job& job, Moment now, Effects& effects) {
  leave_blocked(job, effects);
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
        if (!dependencies_.is_blocked(key.job)) continue;  // another dependency of it on this parent ended it
        const DependencyCondition condition = dependencies_.condition_of(key);
        Job& job = *jobs_.find(key.job);
        const bool is_held = job.phase != Phase::kBlocked;  // for event::Adopt: an earlier daemon had handed it out
        if (is_held && !holds(condition, state)) mark_blocked(job);
        if (is_held && holds(condition, state)) {
          dependencies_.close(key, effects);
          if (dependencies_.is_free(key.job)) dependencies_.forget(key.job, effects);
          continue;
        }
        if (!holds(condition, state)) {
          fail_blocked(job, broken_by(parent, state, condition), now, effects);
          continue;
        }
        dependencies_.close(key, effects);
        if (dependencies_.is_free(key.job)) unblock(job, now, effects);
      }
    }
  }
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
    dependencies_.close(key, effects);
    if (dependencies_.is_free(key.job)) unblock(*jobs_.find(key.job), now, effects);
  }
}

void Scheduler::audit_dependencies() const {
  if (!held_.empty()) return;  // some of them may be blocked again
  std::size_t bytes = 0;
  std::size_t jobs = 0;
  std::map<const Lane*, std::size_t> of_lane;
  jobs_.for_each([&](const Job& job) {
    const bool is_blocked = job.phase == Phase::kBlocked;
    FUTURED_CHECK(is_blocked == dependencies_.is_blocked(job.id), "a blocked job waits for something");
    if (!is_blocked) return;
    ++jobs;
    ++of_lane[job.lane];
    bytes += job.cost();
  });
  FUTURED_CHECK(jobs == dependencies_.blocked_jobs(), "a blocked job is resident");
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
