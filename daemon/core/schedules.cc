// Schedules: which firings are made into jobs. A firing's job and the row that says that it was made are one commit.
#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

// A firing that is later than this was missed: the daemon was away, or the clock was put forward.
constexpr Duration kLateMax = Duration(limits::kScheduleLateNs);

Error no_schedule(const std::string& name) {
  return {ErrorCode::kNotFound, "no schedule \"" + name + "\"; fut schedule ls shows those that exist"};
}

// What waits comes before all that fires later, also when the schedule was changed to let its jobs overlap.
bool may_make_waiting(const ScheduleState& schedule) {
  if (schedule.row.waiting.empty()) return false;
  return !schedule.last_is_open || schedule.row.overlap == Overlap::kAllow;
}

ScheduleRow without_payload(const ScheduleRow& row) {
  return {.name = row.name,
          .owner = row.owner,
          .cron = row.cron,
          .every = row.every,
          .zone = row.zone,
          .catch_up = row.catch_up,
          .catch_up_max = row.catch_up_max,
          .overlap = row.overlap,
          .jitter = row.jitter,
          .paused = row.paused,
          .spec = row.spec,
          .payload = {},
          .anchor = row.anchor,
          .seen_at = row.seen_at,
          .last_at = row.last_at,
          .last_job = row.last_job,
          .waiting = row.waiting};
}

}  // namespace

void Scheduler::set_up_schedules(const Snapshot& snapshot, Moment now) {
  for (const StoredSchedule& stored : snapshot.schedules) {
    ScheduleState& schedule = schedules_[stored.row.name];
    schedule.row = stored.row;
    const auto spec = specs_by_id_.find(stored.row.spec);
    const auto zone = setup_.zones.find(stored.row.zone);
    if (spec != specs_by_id_.end()) schedule.spec = spec->second->spec;
    if (spec != specs_by_id_.end() && zone != setup_.zones.end()) {
      if (auto timing = Timing::of(schedule.row, zone->second); timing.ok()) schedule.timing = *timing;
    }
    if (stored.last_is_open) {
      schedule.last_is_open = true;
      schedule_jobs_[stored.row.last_job] = stored.row.name;
      // That it is to end may be known to nobody else.
      if (stored.row.overlap == Overlap::kReplace && !stored.row.waiting.empty()) {
        schedules_freed_.push_back(stored.row.name);
      }
    } else if (!stored.row.waiting.empty()) {
      schedules_freed_.push_back(stored.row.name);
    }
    plan(schedule, now);
  }
}

bool Scheduler::may_change(const ScheduleRow& row, Principal who) const {
  return who.uid == 0 || who.uid == setup_.admin_uid || who.uid == row.owner;
}

void Scheduler::on(const event::PutSchedule& put, Moment now, Effects& effects) {
  const auto refuse = [&](Error error) { effects.refused.push_back({put.token, std::move(error)}); };
  const auto found = schedules_.find(put.row.name);
  const bool is_new = found == schedules_.end();
  if (!is_new && !may_change(found->second.row, put.who)) {
    return refuse({ErrorCode::kPermissionDenied,
                   "schedule \"" + put.row.name + "\" belongs to user " + std::to_string(found->second.row.owner)});
  }
  if (is_new && schedules_.size() >= limits::kSchedulesMax) {
    return refuse({ErrorCode::kResourceExhausted,
                   "there are " + std::to_string(schedules_.size()) + " schedules already; remove one"});
  }
  ScheduleRow row = put.row;
  row.owner = is_new ? put.who.uid : found->second.row.owner;
  row.anchor = row.seen_at = now.wall;
  auto timing = Timing::of(row, put.zone);
  if (!timing.ok()) return refuse(timing.error().in("schedule.cron"));
  if (!timing->next(now.wall)) {
    return refuse({ErrorCode::kInvalidArgument,
                   "schedule.cron: \"" + row.cron + "\" never fires: there is no such day; write one that there is"});
  }
  const auto spec = intern(put.spec, effects);
  if (!spec.ok()) return refuse(spec.error());
  const event::Submit submit{.spec = put.spec, .bytes = {}, .ends = {}, .keys = {}};
  if (const Status sound = check_submit(submit, **spec, now); !sound.ok()) return refuse(sound.error());
  row.spec = (*spec)->id;
  if (!is_new) {  // what it fired before stays known, and what waits is still owed
    const ScheduleRow& old = found->second.row;
    row.last_at = old.last_at;
    row.last_job = old.last_job;
    if (!row.paused) row.waiting = old.waiting;
    if (row.cron.empty() && old.cron.empty() && row.every == old.every) row.anchor = old.anchor;
    timing = Timing::of(row, put.zone);
  }
  ScheduleState& schedule = schedules_[row.name];
  schedule.row = std::move(row);
  schedule.spec = (*spec)->spec;  // what its queue gives now, as it is stored: a restart changes nothing
  schedule.timing = *timing;
  if (may_make_waiting(schedule)) schedules_freed_.push_back(schedule.row.name);
  plan(schedule, now);
  effects.rows.schedules.push_back(schedule.row);
  effects.schedules_changed.push_back({put.token, schedule.row});
}

void Scheduler::on(const event::ChangeSchedule& change, Moment now, Effects& effects) {
  const auto found = schedules_.find(change.name);
  if (found == schedules_.end()) return effects.refused.push_back({change.token, no_schedule(change.name)});
  ScheduleState& schedule = found->second;
  ScheduleRow& row = schedule.row;
  if (!may_change(row, change.who)) {
    effects.refused.push_back(
        {change.token,
         {ErrorCode::kPermissionDenied, "schedule \"" + row.name + "\" belongs to user " + std::to_string(row.owner)}});
    return;
  }
  switch (change.what) {
    case event::ChangeSchedule::What::kPause:
      row.paused = true;
      row.waiting.clear();
      break;
    case event::ChangeSchedule::What::kResume:
      if (row.paused) row.seen_at = now.wall;  // what would have fired meanwhile was not missed
      row.paused = false;
      break;
    case event::ChangeSchedule::What::kDelete:
      row.is_removed = true;
      break;
  }
  effects.rows.schedules.push_back(row);
  effects.schedules_changed.push_back({change.token, row});
  if (!row.is_removed) return plan(schedule, now);
  if (schedule.next) schedule_due_.erase({schedule.due, row.name});
  if (schedule.last_is_open) schedule_jobs_.erase(row.last_job);
  schedules_.erase(found);
}

// When it fires next; nothing while it is paused.
void Scheduler::plan(ScheduleState& schedule, Moment now) {
  if (schedule.next) schedule_due_.erase({schedule.due, schedule.row.name});
  schedule.next.reset();
  if (schedule.row.paused || !schedule.timing) return;
  schedule.next = schedule.timing->next(schedule.row.seen_at);
  if (!schedule.next) return;
  schedule.due = due_at(schedule.row, *schedule.next);
  schedule_due_.insert({schedule.due, schedule.row.name});
  arm_schedules(now);
}

// As with delayed jobs: the clock may be set at any time.
void Scheduler::arm_schedules(Moment now) {
  if (schedule_due_.empty()) return;
  const Duration left =
      std::clamp(schedule_due_.begin()->first - now.wall, Duration(0), Duration(limits::kWallCheckNs));
  const Instant at = now.at + left;
  if (at >= schedule_timer_) return;
  schedule_timer_ = at;
  timers_.add({at, TimerKind::kSchedule, 0, 0});
}

void Scheduler::fire_schedules(Moment now, Effects& effects) {
  do {
    make_waiting(now, effects);
    make_due(now, effects);
  } while (!schedules_freed_.empty());  // what was replaced had not begun
  arm_schedules(now);
}

void Scheduler::make_waiting(Moment now, Effects& effects) {
  for (const std::string& name : std::exchange(schedules_freed_, {})) {
    const auto found = schedules_.find(name);
    if (found == schedules_.end()) continue;
    ScheduleState& schedule = found->second;
    if (schedule.row.waiting.empty()) continue;
    if (!may_make_waiting(schedule)) {
      if (schedule.row.overlap == Overlap::kReplace) cancel_last(schedule, now, effects);
      continue;
    }
    const WallTime firing = schedule.row.waiting.front();
    schedule.row.waiting.erase(schedule.row.waiting.begin());
    make_firing(schedule, firing, now, effects);
    effects.rows.schedules.push_back(schedule.row);
    // It was lost, or may overlap: the next one need not wait for it.
    if (may_make_waiting(schedule)) schedules_freed_.push_back(name);
  }
}

void Scheduler::make_due(Moment now, Effects& effects) {
  while (!schedule_due_.empty() && schedule_due_.begin()->first <= now.wall) {
    ScheduleState& schedule = schedules_.at(schedule_due_.begin()->second);
    // Its jitter may have put it behind others; that is no absence.
    if (now.wall - (*schedule.next + schedule.row.jitter) > kLateMax) {
      catch_up(schedule, now, effects);
    } else {
      const WallTime firing = *schedule.next;
      schedule.row.seen_at = firing;
      decide(schedule, firing, now, effects);
    }
    plan(schedule, now);
    effects.rows.schedules.push_back(schedule.row);
  }
}

// Of those that are late by more than a little.
void Scheduler::catch_up(ScheduleState& schedule, Moment now, Effects& effects) {
  ScheduleRow& row = schedule.row;
  const WallTime after = row.seen_at;
  const WallTime until = std::max(*schedule.next, now.wall + -(kLateMax + row.jitter));
  const std::optional<WallTime> newest = schedule.timing->newest(after, until);
  row.seen_at = newest.value_or(*schedule.next);
  switch (row.catch_up) {
    case CatchUp::kSkip:
      return;
    case CatchUp::kOne:
      return decide(schedule, row.seen_at, now, effects);
    case CatchUp::kAll:
      for (const WallTime firing : schedule.timing->newest(after, until, row.catch_up_max)) {
        decide(schedule, firing, now, effects);
      }
      return;
  }
}

void Scheduler::decide(ScheduleState& schedule, WallTime firing, Moment now, Effects& effects) {
  ScheduleRow& row = schedule.row;
  if (row.overlap == Overlap::kAllow || (!schedule.last_is_open && row.waiting.empty())) {
    return make_firing(schedule, firing, now, effects);
  }
  switch (row.overlap) {
    case Overlap::kAllow:
    case Overlap::kSkip:
      return;
    case Overlap::kQueue:
      if (row.waiting.size() < limits::kScheduleWaitingMax) row.waiting.push_back(firing);
      return;
    case Overlap::kReplace: {
      const bool asks = row.waiting.empty();
      row.waiting = {firing};
      if (asks && schedule.last_is_open) cancel_last(schedule, now, effects);
      return;
    }
  }
}

// Nobody waits for the answer.
void Scheduler::cancel_last(const ScheduleState& schedule, Moment now, Effects& effects) {
  event::Cancel cancel;
  cancel.job = schedule.row.last_job;
  cancel.reason = "schedule \"" + schedule.row.name + "\" fired again";
  on(cancel, now, effects);
}

void Scheduler::make_firing(ScheduleState& schedule, WallTime firing, Moment now, Effects& effects) {
  ScheduleRow& row = schedule.row;
  if (const auto queue = queue_by_name_.find(schedule.spec.queue); queue != queue_by_name_.end()) {
    schedule.spec.ageing = ageing_of(queue->second->row);
  }
  // A task that its pool does not have just now may come back, and the job waits for it.
  const auto known = specs_.find(schedule.spec);
  const Result<SpecState*> spec =
      known != specs_.end() ? Result<SpecState*>(known->second) : intern(schedule.spec, effects);
  event::Submit submit;
  submit.who = {row.owner};
  submit.spec = schedule.spec;
  submit.bytes = std::make_shared<const std::string>(row.payload);
  submit.ends = {static_cast<std::uint32_t>(row.payload.size())};
  if (spec.ok()) hold(**spec, effects);
  const Status sound = spec.ok() ? check_submit(submit, **spec, now) : Status(spec.error());
  if (!sound.ok()) {
    effects.schedule_problems.push_back({row.name, firing, sound.error()});
    return;
  }
  if (schedule.last_is_open) schedule_jobs_.erase(row.last_job);
  row.last_job = add_jobs(submit, {}, **spec, now, effects);
  row.last_at = firing;
  schedule.last_is_open = true;
  schedule_jobs_[row.last_job] = row.name;
}

void Scheduler::schedule_job_ended(JobId job) {
  const auto found = schedule_jobs_.extract(job);
  if (found.empty()) return;
  ScheduleState& schedule = schedules_.at(found.mapped());
  schedule.last_is_open = false;
  if (!schedule.row.waiting.empty()) schedules_freed_.push_back(schedule.row.name);
}

std::vector<ScheduleView> Scheduler::schedules(std::size_t payload_bytes_max) const {
  std::vector<ScheduleView> views;
  std::size_t bytes = 0;
  for (const auto& [name, schedule] : schedules_) {
    bytes += schedule.row.payload.size();
    const bool fits = bytes <= payload_bytes_max;
    views.push_back({fits ? schedule.row : without_payload(schedule.row), schedule.spec, schedule.next, fits});
  }
  return views;
}

std::optional<ScheduleView> Scheduler::schedule(const std::string& name) const {
  const auto found = schedules_.find(name);
  if (found == schedules_.end()) return std::nullopt;
  return ScheduleView{found->second.row, found->second.spec, found->second.next};
}

Result<std::vector<WallTime>> Scheduler::next_firings(const std::string& name, std::size_t count, WallTime now) const {
  const auto found = schedules_.find(name);
  if (found == schedules_.end()) return no_schedule(name);
  const ScheduleState& schedule = found->second;
  if (!schedule.timing) {
    return Error{ErrorCode::kFailedPrecondition,
                 "schedule \"" + name + "\" does not fire: this machine has no time zone \"" + schedule.row.zone +
                     "\" any more, or its queue is gone; put it anew"};
  }
  std::vector<WallTime> times;
  auto at = schedule.timing->next(schedule.row.paused ? now : schedule.row.seen_at);
  for (; at && times.size() < count; at = schedule.timing->next(*at)) times.push_back(due_at(schedule.row, *at));
  return times;
}

}  // namespace futured
