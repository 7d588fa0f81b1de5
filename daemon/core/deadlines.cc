// Timeouts of jobs that lie in the backlog, outside memory: one entry for each run of jobs that went there together.
#include <algorithm>
#include <optional>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

// Runs that went to the backlog within this time share an entry, due with the last of them; the longer one holds when
// there are many entries.
constexpr Duration kSharedWithin = std::chrono::milliseconds(5);
constexpr Duration kSharedWhenMany = std::chrono::seconds(1);

// When a job that is not resident must end; nothing if it need not.
std::optional<WallTime> deadline_of(const JobSpec& spec, std::uint32_t attempts, WallTime submitted_at,
                                    WallTime waits_since) {
  std::optional<WallTime> at;
  if (spec.queue_timeout.count() > 0 && attempts == 0) at = waits_since + spec.queue_timeout;
  if (spec.total_timeout.count() > 0) {
    const WallTime total = submitted_at + spec.total_timeout;
    at = at ? std::min(*at, total) : total;
  }
  return at;
}

}  // namespace

// `count` jobs from `first` are in the backlog now, and not resident.
void Scheduler::note_deadline(const JobSpec& spec, std::uint32_t attempts, WallTime submitted_at, WallTime waits_since,
                              JobId first, std::uint32_t count, Moment now, Effects& effects) {
  const std::optional<WallTime> deadline = deadline_of(spec, attempts, submitted_at, waits_since);
  if (!deadline) return;
  const WallTime at = *deadline;
  if (join_last_deadline(at, first, count, effects)) return arm_deadlines(now);
  std::uint32_t& known = deadlines_[{at, first}];
  if (known >= count) return;
  known = count;
  last_deadline_ = {at, {at, first, count}};
  effects.rows.deadlines_added.push_back(last_deadline_.row);
  arm_deadlines(now);
}

// Jobs that follow those of the last entry and are due soon after its first share it. So what is kept grows with time,
// not with the number of submits.
bool Scheduler::join_last_deadline(WallTime at, JobId first, std::uint32_t count, Effects& effects) {
  DeadlineRow& last = last_deadline_.row;
  const Duration share = deadlines_.size() < limits::kExactDeadlinesMax ? kSharedWithin : kSharedWhenMany;
  const bool follows = last.count != 0 && last.first.value + last.count == first.value && at >= last.at;
  if (!follows || at - last_deadline_.begins > share || deadlines_.erase({last.at, last.first}) == 0) return false;
  std::vector<DeadlineRow>& added = effects.rows.deadlines_added;
  const bool is_gathering = !added.empty() && added.back().at == last.at && added.back().first == last.first;
  if (!is_gathering) effects.rows.deadlines_removed.push_back(last);
  last.at = at;
  last.count += count;
  if (is_gathering) {
    added.back() = last;
  } else {
    added.push_back(last);
  }
  deadlines_[{at, last.first}] = last.count;
  return true;
}

void Scheduler::note_deadline(const Job& job, Moment now, Effects& effects) {
  note_deadline(job.spec->spec, job.attempt, job.submitted_at, job.waits_since(), job.id, 1, now, effects);
}

void Scheduler::arm_deadlines(Moment now) {
  if (due_ || deadlines_.empty()) return;
  const Instant at = now.at + (deadlines_.begin()->first.first - now.wall);
  if (at >= deadline_timer_) return;
  deadline_timer_ = at;
  timers_.add({at, TimerKind::kBacklogDeadline, 0, 0});
}

// Asks the store for the jobs of the entries that are due, a few at a time: their payloads come along.
void Scheduler::load_due(Moment now, Effects& effects) {
  while (due_ || take_due(now)) {
    const std::uint64_t until = due_->row.first.value + due_->row.count;
    due_->changed.clear();
    while (due_->next.value < until && effects.due.size() < limits::kDueLoadJobsMax) {
      if (jobs_.find(due_->next) == nullptr) effects.due.push_back(due_->next);
      ++due_->next.value;
    }
    if (!effects.due.empty()) return;
    if (!deadlines_.contains({due_->row.at, due_->row.first})) effects.rows.deadlines_removed.push_back(due_->row);
    due_.reset();
  }
  arm_deadlines(now);
}

bool Scheduler::take_due(Moment now) {
  if (deadlines_.empty() || deadlines_.begin()->first.first > now.wall) return false;
  const auto& [key, count] = *deadlines_.begin();
  due_.emplace(DueJobs{{key.first, key.second, count}, key.second, {}});
  deadlines_.erase(deadlines_.begin());
  return true;
}

void Scheduler::due_loaded(const event::Loaded& loaded, Moment now, Effects& effects) {
  for (const StoredJob& stored : loaded.answer.jobs) {
    // What was resident since the question was asked was read too early; if it went back it has an entry of its own.
    if (is_terminal(stored.state) || stored.delayed || jobs_.find(stored.id) != nullptr ||
        due_->changed.contains(stored.id))
      continue;
    Job& job = take_up_held(stored, *specs_by_id_.at(stored.spec)->lane);
    job.counted = job.in_backlog;
    if (ends_as_wished(job, now, effects)) continue;
    const JobSpec& spec = job.spec->spec;
    if (spec.queue_timeout.count() > 0 && job.attempt == 0 && job.waits_since() + spec.queue_timeout <= now.wall) {
      doom(job, Doom::kQueueTimeout, now, effects);
    } else if (spec.total_timeout.count() > 0 && job.submitted_at + spec.total_timeout <= now.wall) {
      doom(job, Doom::kTotalTimeout, now, effects);
    } else {
      back_to_backlog(job, now, effects);
    }
  }
  load_due(now, effects);
}

// A resident job that has a row in the backlog, and is counted there, leaves memory; or one that is delayed.
void Scheduler::back_to_backlog(Job& job, Moment now, Effects& effects) {
  if (!job.in_delayed) note_deadline(job, now, effects);
  drop(job);
}

}  // namespace futured
