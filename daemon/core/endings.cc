#include <algorithm>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

std::unique_ptr<Cause> copy_of(const Cause* cause) {
  return cause != nullptr ? std::make_unique<Cause>(*cause) : nullptr;
}

struct Verdict {
  JobState state;
  CauseKind kind;
  const char* message;
};

Verdict verdict_of(Doom doom) {
  switch (doom) {
    case Doom::kNone:
      break;
    case Doom::kCancel:
      return {JobState::kCancelled, CauseKind::kCancelled, "cancelled"};
    case Doom::kQueueTimeout:
      return {JobState::kTimedOut, CauseKind::kQueueTimeout, "not started within its queue_timeout"};
    case Doom::kSoftTimeout:
      return {JobState::kTimedOut, CauseKind::kSoftTimeout, "stopped when its soft_timeout asked it to"};
    case Doom::kRunTimeout:
      return {JobState::kTimedOut, CauseKind::kRunTimeout, "ran longer than its run_timeout"};
    case Doom::kHeartbeatTimeout:
      return {JobState::kTimedOut, CauseKind::kHeartbeatTimeout, "gave no sign of life within its heartbeat_timeout"};
    case Doom::kTotalTimeout:
      return {JobState::kTimedOut, CauseKind::kTotalTimeout, "not finished within its total_timeout"};
  }
  FUTURED_CHECK(false, "only a doomed job has a verdict");
}

effect::StopWhy why_of(Doom doom) {
  if (doom == Doom::kCancel) return effect::StopWhy::kCancel;
  return doom == Doom::kSoftTimeout ? effect::StopWhy::kSoftTimeout : effect::StopWhy::kTimeout;
}

bool was_killed(const Cause& measured) {
  return measured.kind == CauseKind::kWorkerCrashed || measured.kind == CauseKind::kBrokenWorker ||
         (measured.kind == CauseKind::kOutOfMemory && measured.signal != 0) || !measured.stacks.empty();
}

// Of a worker that was killed for taking nothing.
event::SlotEnded blaming_nobody(event::SlotEnded ended) {
  ended.is_lost = true;
  ended.cause.message = "the worker took nothing of what it was offered for " +
                        std::to_string(limits::kTakeWithinNs / 1'000'000'000) + " s, and was killed";
  return ended;
}

// For the other jobs of a worker that ran many, when one of them is known to have ended it.
event::SlotEnded blaming_another(event::SlotEnded ended, bool is_known) {
  ended.is_lost = true;
  ended.is_over_limit = false;
  if (is_known) ended.cause.message = "the worker was brought down by another job that it ran at the same time";
  return ended;
}

}  // namespace

Slot* Scheduler::slot_of(SlotId id) {
  return id.value >= 1 && id.value <= slots_.size() ? slots_[id.value - 1].get() : nullptr;
}

// The fence keeps a late or doubled report from counting: only the attempt that the job is in may end it.
void Scheduler::on(const event::Done& done, Moment now, Effects& effects) {
  Job* const job = jobs_.find(done.fence.job);
  if (Slot* const reported = slot_of(done.slot)) std::erase(reported->strays, done.fence);
  if (job == nullptr || job->slot != done.slot || job->fence() != done.fence) return;
  Slot& slot = *slots_[done.slot.value - 1];
  const Instant finished = std::min(done.finished_at, now.at);
  const Instant started = std::min(done.started_at, finished);
  const Duration length = std::max<Duration>(finished - started, Duration(1));
  slot.mean = slot.mean.count() == 0 ? length : (slot.mean * 7 + length) / 8;
  slot.progress = now.at;
  slot.failures = 0;
  slot.full = false;
  note_ran(*job, started, now, effects);
  withdraw(*job);
  spare(*job);
  if (!slot.offers.empty()) watch(slot, now.at + Duration(limits::kHeadCheckNs));

  const Ran ran{slot.id, started, finished};
  // Asked to stop, it came to a result within its grace: that is what the grace is for.
  if (job->doom == Doom::kSoftTimeout && done.status == event::DoneStatus::kSucceeded) job->doom = Doom::kNone;
  if (job->doom != Doom::kNone && finished >= job->doomed_at) {
    return end_doomed(*job, done.result, done.cause, ran, now, effects);
  }
  if (done.status == event::DoneStatus::kSucceeded) {
    return end(*job, {JobState::kSucceeded, copy_of(done.cause), done.result, ran}, now, effects);
  }
  Cause cause = done.cause != nullptr ? *done.cause : Cause{};
  if (!done.do_not_retry && is_tried_again(*job, cause)) {
    // It failed before it was to end, but the attempt after this one would not have been.
    if (job->doom != Doom::kNone && !is_of_attempt(job->doom)) {
      return end_doomed(*job, done.result, done.cause, ran, now, effects);
    }
    return retry(*job, std::move(cause), done.result, done.retry_after, ran, now, effects);
  }
  end(*job, {JobState::kFailed, copy_of(done.cause), done.result, ran}, now, effects);
}

void Scheduler::on(const event::SlotEnded& ended, Moment now, Effects& effects) {
  Slot* const slot = slot_of(ended.slot);
  if (slot == nullptr || (slot->ready && slot->generation != ended.generation)) return;
  const bool asked_for = slot->killing;
  const bool was_there = slot->ready;
  const bool stalled = slot->stalled;
  const event::SlotEnded told = stalled ? blaming_nobody(ended) : ended;
  const bool runs_many = slot->pool->runs_many();
  const bool is_one_guilty = !asked_for && ended.taken.has_value();
  const event::SlotEnded to_others = blaming_another(told, is_one_guilty || (asked_for && !stalled));
  slot->ready = false;
  slot->killing = false;
  slot->strays.clear();
  slot->stalled = false;
  if (std::exchange(slot->retiring, false)) --slot->pool->retiring;
  while (!slot->offers.empty()) {
    Job& job = *slot->offers.back();  // from the newest, so that each goes back before the one after it
    const bool taken = job.phase == Phase::kTaken || (ended.taken && *ended.taken == job.fence());
    // A worker can hide that it took it; more likely it was stopped. The fence is not used again, and the job is
    // charged with nothing, as long as that does not go on and on.
    const bool suspected =
        !taken && stalled && slot->offers.size() == 1 && job.doom == Doom::kNone && !job.spec->spec.at_most_once;
    if (suspected) {
      withdraw(job);
      crashed(job, told, {}, {slot->id, now.at, now.at}, now, effects);
      continue;
    }
    if (!taken) {
      if (job.doom == Doom::kNone) {
        requeue(job);
      } else {
        take_back(job);
        end_doomed(job, {}, nullptr, {}, now, effects);
      }
      continue;
    }
    const Instant started = job.phase == Phase::kTaken ? job.taken_at : std::min(ended.taken_at, now.at);
    const Ran ran{slot->id, started, now.at};
    note_ran(job, started, now, effects);
    const std::string_view result = ended.taken && *ended.taken == job.fence() ? ended.result : std::string_view();
    withdraw(job);
    spare(job);
    if (job.doom != Doom::kNone) {
      end_doomed(job, result, &ended.cause, ran, now, effects);
    } else {
      const bool is_guilty = !runs_many || (is_one_guilty && job.fence() == *ended.taken);
      crashed(job, is_guilty ? told : to_others, result, ran, now, effects);
    }
  }
  if (was_there) note_worker(*slot, &ended.cause, now, effects);
  choose_limit(*slot);
  if (!slot->wanted) return;
  // A pool whose workers die at once must not spend the machine on starting them.
  if (asked_for || slot->failures++ == 0) {
    effects.starts.push_back({slot->id, slot->pool->row.id, slot->memory_bytes_max});
    return;
  }
  const auto wait = Duration(std::chrono::milliseconds(50)) * (1 << std::min<std::uint32_t>(slot->failures, 7));
  timers_.add({now.at + wait, TimerKind::kRestartWorker, 0, slot->id.value});
}

// Decides that the job must end. At once if nothing runs; else its attempt is got out of the way first.
void Scheduler::doom(Job& job, Doom why, Moment now, Effects& effects) {
  if (job.doom != Doom::kNone) {
    // It is on its way out. But these may yet let it go on, and a cancel or a total_timeout may not.
    const bool final = why == Doom::kCancel || why == Doom::kTotalTimeout;
    if (final && job.doom == Doom::kQueueTimeout) job.doomed_at = now.at;
    if (!final || (job.doom != Doom::kQueueTimeout && !is_of_attempt(job.doom))) return;
    // It may have gone on after a soft timeout, and is to know that nothing counts any more.
    if (job.doom == Doom::kSoftTimeout) effects.stops.push_back({job.slot, job.fence(), why_of(why)});
    job.doom = why;
    return;
  }
  job.doom = why;
  job.doomed_at = job.kill_at = now.at;
  switch (job.phase) {
    case Phase::kFree:
      FUTURED_CHECK(false, "a job that is gone cannot be doomed");
    case Phase::kReady:
      unready(job);
      return end_doomed(job, {}, nullptr, {}, now, effects);
    case Phase::kBlocked:
      leave_blocked(job, effects);
      return end_doomed(job, {}, nullptr, {}, now, effects);
    case Phase::kDelayed:
    case Phase::kFollowing:
      return end_doomed(job, {}, nullptr, {}, now, effects);
    case Phase::kOffered:
      effects.revokes.push_back({job.slot, job.fence()});
      return;
    case Phase::kTaken:
      // Who gives no sign of life would not hear of a stop either, unless it waits among others.
      if (why == Doom::kHeartbeatTimeout && !job.lane->pool->runs_many()) return kill_taken(job, effects);
      return stop_taken(job, now, effects);
  }
}

void Scheduler::stop_taken(Job& job, Moment now, Effects& effects) {
  if (job.waits) end_waits(job, now.at);
  const Instant kill_at = std::max(now.at, job.doomed_at + grace_of(job));
  effects.stops.push_back({job.slot, job.fence(), why_of(job.doom)});
  add_job_timer(job, TimerKind::kGrace, kill_at);
  job.kill_at = kill_at;
  if (cancel_wishes_.contains(job.id)) keep_wish(job, kill_at, effects);
}

Duration Scheduler::grace_of(const Job& job) const {
  const auto wish = cancel_wishes_.find(job.id);
  if (wish != cancel_wishes_.end() && wish->second.grace) return *wish->second.grace;
  const Duration wanted = job.spec->spec.grace;
  return wanted.count() > 0 ? wanted : Duration(std::chrono::milliseconds(limits::kKillGraceMs));
}

// The job does not end in this turn, so the wish must outlive this daemon before anybody is told of it. A wish that is
// stored is stored anew only when it changes.
void Scheduler::keep_wish(const Job& job, Instant kill_at, Effects& effects) {
  CancelWish& wish = cancel_wishes_.at(job.id);
  CancelRow row = wish.stored.value_or(CancelRow{job.id, job.doomed_at, kill_at, {}});
  row.kill_at = std::min(row.kill_at, kill_at);
  row.reason = wish.reason;
  if (wish.stored != row) {
    wish.stored = row;
    effects.rows.cancels_added.push_back(std::move(row));
  }
  for (const Token token : std::exchange(wish.hurried, {})) {
    effects.cancelled.push_back({token, job.id, JobState::kRunning});
  }
}

// An earlier daemon was asked to cancel what has just been adopted: the stop goes on where it was.
void Scheduler::resume_cancel(Job& job, Moment now, Effects& effects) {
  const auto wish = cancel_wishes_.find(job.id);
  if (wish == cancel_wishes_.end() || !wish->second.stored) return;
  job.doom = Doom::kCancel;
  job.doomed_at = std::min(now.at, wish->second.stored->asked_at);
  stop_taken(job, now, effects);
}

// An earlier daemon was asked to cancel the job, and nothing of it runs any more.
bool Scheduler::ends_as_wished(Job& job, Moment now, Effects& effects) {
  if (cancel_wishes_.empty() || !cancel_wishes_.contains(job.id)) return false;
  doom(job, Doom::kCancel, now, effects);
  return true;
}

void Scheduler::end_as_wished(const StoredJob& found, Moment now, Effects& effects) {
  if (!cancel_wishes_.contains(found.id) || jobs_.find(found.id) != nullptr) return;
  Job& job = take_up_held(found, *specs_by_id_.at(found.spec)->lane);
  job.counted = job.in_backlog;
  doom(job, Doom::kCancel, now, effects);
}

void Scheduler::kill_taken(Job& job, Effects& effects) {
  Slot& slot = *slots_[job.slot.value - 1];
  if (!slot.killing) effects.kills.push_back({slot.id, job.doom == Doom::kSoftTimeout});
  slot.killing = true;
}

// Some dooms end an attempt, and the job goes on if it has attempts left; the others end the job.
void Scheduler::end_doomed(Job& job, std::string_view result, const Cause* measured, Ran ran, Moment now,
                           Effects& effects) {
  const Verdict verdict = verdict_of(job.doom);
  Cause cause = measured != nullptr ? *measured : Cause{};
  cause.kind = verdict.kind;
  cause.error_class.clear();
  cause.message = verdict.message;
  if (job.doom == Doom::kSoftTimeout && measured != nullptr && was_killed(*measured)) {
    cause.message = "did not stop within its grace when its soft_timeout asked it to, and was killed";
  }
  if (const auto wish = cancel_wishes_.find(job.id); job.doom == Doom::kCancel && wish != cancel_wishes_.end()) {
    if (!wish->second.reason.empty()) cause.message += ": " + wish->second.reason;
  }
  ran.finished = now.at;
  if (is_of_attempt(job.doom) && is_tried_again(job, cause)) {
    return retry(job, std::move(cause), result, std::nullopt, ran, now, effects);
  }
  end(job, {verdict.state, std::make_unique<Cause>(std::move(cause)), result, ran}, now, effects);
}

void Scheduler::end(Job& job, End end, Moment now, Effects& effects) {
  if (job.spec->spec.cache.enabled) cached_job_ended(job, end, now, effects);
  note_change(job, end.state, end.ran.finished, end.cause.get(), now, effects);
  count_ended(job, end.state, effects);
  Ending& ending = effects.ending_of(job.id);
  ending.state = end.state;
  // An at-most-once job that ran is not offered again, so one that did not run now never did.
  ending.attempt = job.spec->spec.at_most_once && end.ran.started.ns == 0 ? 0 : job.attempt;
  ending.epoch = job.epoch;
  ending.started_at = wall_of(end.ran.started, now);
  ending.finished_at = wall_of(end.ran.finished, now);
  // The history of a job that simply succeeded is its ending; that path writes nothing more.
  const bool has_history = end.state != JobState::kSucceeded || job.attempt > 1;
  if (has_history && end.ran.slot.is_set() && end.ran.started.ns != 0) {
    effects.rows.attempts.push_back(attempt_row(job, end.ran, Charge::kLast, {}, now));
  }
  ending.result = end.result;
  ending.cause = std::move(end.cause);
  leave_backlog(job, effects);
  leave_delayed(job, effects);
  const auto wish = cancel_wishes_.empty() ? cancel_wishes_.end() : cancel_wishes_.find(job.id);
  if (wish != cancel_wishes_.end()) {
    for (const Token token : wish->second.waiters) effects.cancelled.push_back({token, job.id, end.state});
    for (const Token token : wish->second.hurried) effects.cancelled.push_back({token, job.id, end.state});
    if (wish->second.stored) effects.rows.cancels_removed.push_back(job.id);
    cancel_wishes_.erase(wish);
  }
  // What a load under way will bring was read before this.
  if (const auto loading = loading_.find(job.id); loading != loading_.end()) {
    for (const event::Cancel& cancel : std::exchange(loading->second.cancels, {})) {
      if (!cancel.spares_begun) effects.cancelled.push_back({cancel.token, job.id, end.state});
    }
    loading->second.ended = end.state;
  }
  const std::vector<CallbackTerms>& callbacks = job.spec->callbacks;
  if (!callbacks.empty() || job.spec->spec.max_failures || deliveries_.has_waiting()) {
    deliveries_.ended(job.id, end.state, callbacks, now, effects);
  }
  if (!schedule_jobs_.empty()) schedule_job_ended(job.id);
  if (!awaited_.empty()) awaited_ended(job.id, now.at, effects);
  if (!dependencies_.is_idle()) dependencies_.ended(job.id, end.state);
  Lane& lane = *job.lane;
  drop(job);
  if (lane.open_jobs() == 0) refill(lane, effects);
}

void Scheduler::drop(Job& job) {
  if (!loading_.empty()) {
    if (const auto loading = loading_.find(job.id); loading != loading_.end()) loading->second.has_moved = true;
  }
  if (job.spec->spec.cache.enabled) forget_cached_job(job);
  if (job.phase == Phase::kFollowing) --job.lane->following_jobs;
  --job.spec->jobs;
  --job.lane->resident_jobs;
  window_bytes_ -= job.cost();
  job_timers_ -= job.timers;
  jobs_.remove(job);
}

void Scheduler::on(const event::Cancel& cancel, Moment now, Effects& effects) {
  Job* const job = jobs_.find(cancel.job);
  if (job == nullptr) {
    if (cancel.job.value >= next_id_) {
      effects.refused.push_back({cancel.token, {ErrorCode::kNotFound, "no job " + std::to_string(cancel.job.value)}});
      return;
    }
    const auto [loading, is_new] = loading_.try_emplace(cancel.job);
    if (is_new) effects.loads.push_back(cancel.job);
    if (loading->second.ended) {
      effects.cancelled.push_back({cancel.token, cancel.job, *loading->second.ended});
    } else {
      loading->second.cancels.push_back(cancel);
    }
    return;
  }
  if (cancel.who.uid != 0 && cancel.who.uid != setup_.admin_uid && cancel.who.uid != job->owner) {
    effects.refused.push_back({cancel.token,
                               {ErrorCode::kPermissionDenied, "job " + std::to_string(cancel.job.value) +
                                                                  " belongs to user " + std::to_string(job->owner)}});
    return;
  }
  CancelWish& wish = cancel_wishes_[job->id];
  (cancel.waits ? wish.waiters : wish.hurried).push_back(cancel.token);
  if (wish.reason.empty()) wish.reason = cancel.reason;
  // Only a shorter one counts: a timer more for each impatient caller would be theirs to multiply.
  const bool is_shorter = cancel.grace && (!wish.grace || *cancel.grace < *wish.grace);
  if (is_shorter) wish.grace = cancel.grace;
  const bool stopping = job->phase == Phase::kTaken && job->doom != Doom::kNone;
  if (stopping && is_shorter) {
    add_job_timer(*job, TimerKind::kGrace, now.at + *cancel.grace);
    job->kill_at = std::min(job->kill_at, now.at + *cancel.grace);
  }
  doom(*job, Doom::kCancel, now, effects);
  if (stopping) keep_wish(*job, now.at + (is_shorter ? *cancel.grace : grace_of(*job)), effects);
}

// Jobs that were not resident when somebody asked to cancel them, or to be told of their end.
void Scheduler::on(const event::Loaded& loaded, Moment now, Effects& effects) {
  know_specs(loaded.answer.specs);
  if (loaded.due) return due_loaded(loaded, now, effects);
  for (const JobId asked : loaded.asked) {
    // Such a question is not one of loading_: a job that ended since may have been asked about anew, and this answer
    // was read too early for that.
    if (!results_wanted_.asked.empty() && results_wanted_.asked.erase(asked) > 0) {
      const auto with_results = std::ranges::find(loaded.answer.jobs, asked, &StoredJob::id);
      if (with_results != loaded.answer.jobs.end()) take_results(*with_results, now, effects);
      ask_for_results(effects);
      continue;
    }
    auto loading = loading_.extract(asked);
    if (loading.empty()) continue;
    Loading& wanted = loading.mapped();
    if (std::exchange(wanted.has_moved, false) && !wanted.ended && jobs_.find(asked) == nullptr) {
      loading_.insert(std::move(loading));
      effects.loads.push_back(asked);
      continue;
    }
    const auto found = std::ranges::find(loaded.answer.jobs, asked, &StoredJob::id);
    const StoredJob* const known = found != loaded.answer.jobs.end() ? &*found : nullptr;
    for (const std::uint64_t move : wanted.moves) move_loaded(move, asked, known, wanted.ended, now, effects);
    if (known == nullptr) {
      const Error unknown{ErrorCode::kNotFound, "no job " + std::to_string(asked.value)};
      for (const event::Register& one : wanted.registers) effects.refused.push_back({one.token, unknown});
      for (const event::Cancel& one : wanted.cancels) {
        if (!one.spares_begun) effects.refused.push_back({one.token, unknown});
      }
      continue;
    }
    for (const event::Register& one : wanted.registers) {
      add_callback(one, wanted.ended.value_or(found->state), found->owner, now, effects);
    }
    cancel_loaded(wanted.cancels, *found, now, effects);
    end_as_wished(*found, now, effects);
  }
}

void Scheduler::cancel_loaded(const std::vector<event::Cancel>& cancels, const StoredJob& found, Moment now,
                              Effects& effects) {
  bool ended_here = false;
  for (const event::Cancel& cancel : cancels) {
    if (is_terminal(found.state) || ended_here) {
      if (!cancel.spares_begun)
        effects.cancelled.push_back({cancel.token, found.id, ended_here ? JobState::kCancelled : found.state});
      continue;
    }
    const bool brought_in = jobs_.find(found.id) == nullptr;
    if (brought_in) {
      Job& job = take_up_held(found, *specs_by_id_.at(found.spec)->lane);
      job.counted = job.in_backlog;
    }
    if (cancel.spares_begun) {
      cancel_unbegun(*jobs_.find(found.id), now, effects);
    } else {
      on(cancel, now, effects);
    }
    Job* const left = jobs_.find(found.id);
    ended_here = left == nullptr;
    if (brought_in && left != nullptr) back_to_backlog(*left, now, effects);  // refused
  }
}

}  // namespace futured
