#include "daemon/rpc/chosen_jobs.h"

#include <algorithm>
#include <utility>

namespace futured::rpc {

namespace {

// What the store calls a state: of jobs that have not ended it knows only that.
JobState stored_state(JobState state) { return is_terminal(state) ? state : JobState::kQueued; }

void set_stored_states(ChosenJobs& chosen) {
  chosen.query.states.clear();
  for (const JobState state : chosen.choice.states) {
    if (std::ranges::find(chosen.query.states, stored_state(state)) != chosen.query.states.end()) continue;
    chosen.query.states.push_back(stored_state(state));
  }
}

bool chooses_by_name(const api::JobFilter& filter) {
  return filter.states_size() > 0 || filter.causes_size() > 0 || filter.ids_size() > 0 || !filter.queue().empty() ||
         !filter.pool().empty() || !filter.task().empty() || !filter.name().empty() || filter.has_owner_uid() ||
         filter.submitted_after_us() != 0 || filter.submitted_before_us() != 0 || filter.retry_of() != 0 ||
         filter.parent_id() != 0 || filter.batch_id() != 0;
}

}  // namespace

bool ChosenJobs::takes(const JobView& view) const {
  const StoredJob& job = view.record.job;
  if (!choice.takes(job.id, view.state(), job.owner)) return false;
  if (!choice.takes(view.record.ending.cause.get())) return false;
  if (!pool.empty() && pool != view.pool) return false;
  if (after_us != 0 && job.submitted_at.us <= after_us) return false;
  if (before_us != 0 && job.submitted_at.us >= before_us) return false;
  if (query.parent.is_set() && query.parent != job.lineage.parent) return false;
  return !retry_of.is_set() || retry_of == job.retry_of;
}

Result<ChosenJobs> choose_jobs(const api::JobFilter& filter, bool oldest_first) {
  auto choice = read_filter(filter);
  if (!choice.ok()) return choice.error();
  if (!filter.pool().empty()) {
    if (const Status sound = check_name(filter.pool(), "filter.pool"); !sound.ok()) return sound.error();
  }
  ChosenJobs chosen;
  chosen.query.queue = choice->queue;
  chosen.query.task = choice->task;
  chosen.query.name = choice->name;
  chosen.query.causes = choice->causes;
  chosen.query.oldest_first = oldest_first;
  chosen.choice = std::move(*choice);
  set_stored_states(chosen);
  chosen.pool = filter.pool();
  chosen.after_us = filter.submitted_after_us();
  chosen.before_us = filter.submitted_before_us();
  chosen.retry_of = JobId{filter.retry_of()};
  chosen.query.parent = JobId{filter.parent_id()};
  chosen.batch = JobId{filter.batch_id()};
  if (chosen.choice.ids.empty()) return chosen;
  chosen.query.before = chosen.choice.ids.back().end;
  if (oldest_first) chosen.query.after = chosen.choice.ids.front().first - 1;
  return chosen;
}

Result<ChosenJobs> choose_to_change(const api::JobFilter& filter, const Front& front, Principal who) {
  auto chosen = choose_jobs(filter);
  if (!chosen.ok()) return chosen;
  if (!chooses_by_name(filter)) {
    return invalid("filter", "chooses every job there is; set one of its fields, such as queue or owner_uid");
  }
  if (front.is_admin(who)) return chosen;
  if (filter.has_owner_uid() && filter.owner_uid() != who.uid) {
    return Error{ErrorCode::kPermissionDenied, "filter.owner_uid: user " + std::to_string(who.uid) +
                                                   " may not change jobs of user " +
                                                   std::to_string(filter.owner_uid())};
  }
  chosen->choice.owner = who.uid;
  return chosen;
}

Status narrow_states(ChosenJobs& chosen, const std::vector<JobState>& allowed, const char* why) {
  std::vector<JobState>& states = chosen.choice.states;
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (std::ranges::find(allowed, states[i]) != allowed.end()) continue;
    return invalid("filter.states[" + std::to_string(i) + "]", std::string(to_string(states[i])) + ": " + why);
  }
  if (states.empty()) states = allowed;
  set_stored_states(chosen);
  return {};
}

Result<std::shared_ptr<const ChosenJobs>> within_batch(std::shared_ptr<const ChosenJobs> chosen, StoreReader& reader) {
  if (!chosen->batch.is_set()) return chosen;
  const auto batch = reader.batch_with(chosen->batch);
  if (!batch.ok()) return batch.error();
  if (batch->count == 0) {
    return Error{ErrorCode::kNotFound, "filter.batch_id: no batch " + std::to_string(chosen->batch.value) +
                                           ": there never was, or none of its jobs is kept any more"};
  }
  if (batch->first != chosen->batch) {
    return invalid("filter.batch_id", "job " + std::to_string(chosen->batch.value) + " is one of batch " +
                                          std::to_string(batch->first.value) +
                                          "; a batch has the number of its first job");
  }
  auto narrowed = std::make_shared<ChosenJobs>(*chosen);
  const JobRange jobs{batch->first.value, batch->first.value + batch->count};
  std::vector<JobRange> ids;
  for (const JobRange& range : narrowed->choice.ids) {
    const JobRange both{std::max(range.first, jobs.first), std::min(range.end, jobs.end)};
    if (both.first < both.end) ids.push_back(both);
  }
  if (narrowed->choice.ids.empty()) ids.push_back(jobs);
  if (ids.empty()) ids.push_back({jobs.first, jobs.first});
  narrowed->choice.ids = std::move(ids);
  JobQuery& query = narrowed->query;
  if (!narrowed->reads_newer) query.before = query.before != 0 ? std::min(query.before, jobs.end) : jobs.end;
  if (query.oldest_first) query.after = std::max(query.after, jobs.first - 1);
  return std::shared_ptr<const ChosenJobs>(std::move(narrowed));
}

void read_chosen(Front& front, const std::shared_ptr<const ChosenJobs>& chosen,
                 std::function<void(Result<ChosenPage>)> done) {
  const bool asked = front.reader.ask([&front, chosen, done](StoreReader& reader) {
    const auto within = within_batch(chosen, reader);
    if (!within.ok()) return done(within.error());
    auto page = reader.list((*within)->query);
    if (!page.ok()) return done(page.error());
    const std::uint64_t next_before = page->next_before;
    add_live(front, std::move(page->jobs), [chosen = *within, done, next_before](Result<std::vector<JobView>> views) {
      if (!views.ok()) return done(views.error());
      const bool ids_left = chosen->choice.ids.empty() || next_before > chosen->choice.ids.front().first;
      ChosenPage found;
      if (ids_left) found.next_before = next_before;
      for (JobView& view : *views) {
        if (view.record.job.retry_of.is_set()) found.retried.push_back(view.record.job.retry_of);
        if (chosen->takes(view)) found.jobs.push_back(std::move(view));
      }
      done(std::move(found));
    });
  });
  if (!asked) done(busy_error());
}

}  // namespace futured::rpc
