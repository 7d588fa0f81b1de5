#include "daemon/loop/pool_events.h"

#include <algorithm>
#include <string>

#include "base/limits.h"
#include "base/payload.h"
#include "daemon/loop/causes.h"
#include "daemon/loop/spooled_parts.h"
#include "daemon/loop/stacks.h"

namespace futured {

void Loop::PoolEvents::step(const Event& event) { loop_.step(event, Loop::now()); }

void Loop::PoolEvents::on(const pool::PoolReady& event) {
  loop_.pool_problems_.erase(event.pool);
  if (!loop_.scheduler_) return;
  std::vector<std::string> names;
  std::vector<std::string> versions;
  for (const pool::Task& task : event.tasks) {
    names.push_back(task.name);
    versions.push_back(task.version);
  }
  step(event::PoolReady{loop_.scheduler_->pool_named(event.pool), std::move(names), event.is_reloaded,
                        std::move(versions)});
  if (event.is_reloaded) answer_reload(event.pool, {});
}

void Loop::PoolEvents::answer_reload(const std::string& pool, const Status& how) {
  if (const auto owed = loop_.owed_reloads_.extract(pool)) owed.mapped()(how);
}

void Loop::PoolEvents::on(const pool::PoolFailed& event) {
  loop_.parts_.log("pool \"" + event.pool + "\": " + event.message);
  if (event.is_reload) {
    return answer_reload(event.pool, Error{ErrorCode::kFailedPrecondition,
                                           "pool \"" + event.pool + "\" goes on as before: " + event.message});
  }
  loop_.pool_problems_[event.pool] = event.message;
}

void Loop::PoolEvents::on(const pool::WorkerStarted& event) {
  if (!loop_.scheduler_) return;
  if (const std::string* const pool = pool_of(event.slot)) loop_.pool_problems_.erase(*pool);
  step(event::SlotReady{event.slot, event.generation, event.pid, event.memory_bytes_max});
}

void Loop::PoolEvents::on(const pool::WorkerEnded& event) {
  if (!loop_.scheduler_) return;
  if (!event.not_started.empty()) tell_not_started(event);
  if (!event.newly_taken.empty()) step(loop_.taken_by(event.slot, event.newly_taken));
  Cause cause = cause_of(event);
  std::string output;
  if (event.taken) {
    ++loop_.figures_.workers_died;
    cause.stacks = take_stacks(loop_.parts_.spool_directory, *event.taken, loop_.spool_user(event.slot));
    output = loop_.outputs_.salvaged(*event.taken);
  }
  step(event::SlotEnded{event.slot, event.generation, event.taken, event.taken_at, std::move(cause), event.is_lost,
                        output, !event.over_limit.empty()});
}

// It is tried again, ever more seldom; meanwhile whoever asks why nothing runs is told.
void Loop::PoolEvents::tell_not_started(const pool::WorkerEnded& event) {
  const std::string* const pool = pool_of(event.slot);
  if (pool == nullptr) return;
  std::string& known = loop_.pool_problems_[*pool];
  const std::string why = "a worker cannot be started: " + event.not_started;
  if (known != why) loop_.parts_.log("pool \"" + *pool + "\": " + why);
  known = why;
}

const std::string* Loop::PoolEvents::pool_of(SlotId slot) const {
  const Scheduler& scheduler = *loop_.scheduler_;
  if (slot.value < 1 || slot.value > scheduler.slot_count()) return nullptr;
  return &scheduler.pool_name(scheduler.pool_of(slot));
}

void Loop::PoolEvents::on(const pool::SpawnerLost& event) {
  const std::string why = "the spawner is gone: " + event.why;
  if (!loop_.scheduler_) {
    loop_.fatal_ = Error{ErrorCode::kUnavailable, why};
    return;
  }
  loop_.parts_.log(why +
                   "; its workers ended with it, and what they ran runs again under the next, but for what runs "
                   "at most once");
  for (const pool::PoolConfig& pool : loop_.parts_.pool_configs) loop_.pool_problems_[pool.name] = why;
  loop_.reattach_at_ = monotonic_now();
}

// A worker is held to the bound here, whatever it knows of it.
Cause Loop::PoolEvents::keep_result(channel::Done& done, std::string& with_ids) {
  if (done.result.size() > limits::kResultBytesMax) {
    return {.kind = CauseKind::kResultTooLarge,
            .error_class = "ResultTooLarge",
            .message = "the result has " + std::to_string(done.result.size()) + " bytes, more than " +
                       std::to_string(limits::kResultBytesMax)};
  }
  if (done.descriptors.empty() && !names_segment(done.result)) return {};
  auto kept = loop_.parts_.keep_segments(done.fence.job, done.result, done.descriptors);
  if (kept.ok()) {
    with_ids = std::move(*kept);
    done.result = with_ids;
    return {};
  }
  const bool too_large = kept.error().code == ErrorCode::kResourceExhausted;
  return {.kind = too_large ? CauseKind::kResultTooLarge : CauseKind::kTaskError,
          .error_class = too_large ? "ResultTooLarge" : "ResultNotKept",
          .message = kept.error().message};
}

void Loop::PoolEvents::on(SlotId slot, channel::Done& done) {
  loop_.reported_ = true;
  // A daemon that died before it released what it had committed leaves it to be read again: the segments of that result
  // are kept already, under ids that are on disk.
  event::Done told;
  told.slot = slot;
  told.fence = done.fence;
  if (!loop_.scheduler_->has(slot, done.fence)) {
    if (loop_.scheduler_->has_stray(slot, done.fence)) step(told);
    return;
  }
  told.started_at = done.started_at;
  told.finished_at = done.finished_at;
  std::string with_ids;
  Cause cause = keep_result(done, with_ids);
  if (cause.kind != CauseKind::kNone) {
    told.status = event::DoneStatus::kFailed;
    told.do_not_retry = cause.kind == CauseKind::kResultTooLarge;
    told.cause = &cause;
    return step(told);
  }
  const auto spooled = with_spool_user(done.result, loop_.spool_user(slot));
  told.result = spooled ? std::string_view(*spooled) : done.result;
  told.status =
      done.status == channel::DoneStatus::kSucceeded ? event::DoneStatus::kSucceeded : event::DoneStatus::kFailed;
  told.do_not_retry = done.no_retry || is_final(done.status);
  if (done.retry_after_ms != 0) told.retry_after = Duration(std::chrono::milliseconds(done.retry_after_ms));
  if (!tells(done)) return step(told);
  cause = cause_of(done);
  if (done.stacks_kept) cause.stacks = take_stacks(loop_.parts_.spool_directory, done.fence, loop_.spool_user(slot));
  told.cause = &cause;
  step(told);
}

void Loop::PoolEvents::on(SlotId slot, const channel::Emit& emit) {
  if (!loop_.scheduler_->has(slot, emit.fence)) return;
  loop_.outputs_.add({emit.fence, emit.stream, emit.offset, emit.data, loop_.spool_user(slot)});
}

void Loop::PoolEvents::on(SlotId slot, const channel::Progress& progress) {
  if (!loop_.scheduler_->has(slot, progress.fence)) return;
  const JobProgress told{progress.fence, progress.done, progress.total, progress.message};
  loop_.outputs_.progress(told);
  if (!loop_.events_.is_recording()) return;
  step(loop_.inspect(slot));  // nobody is told how far a job is before it is told that it runs
  step(event::Progress{slot, told.fence, told.fraction(), told.message});
}

}  // namespace futured
