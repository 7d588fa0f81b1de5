#include "daemon/loop/pool_events.h"

#include <algorithm>
#include <string>

namespace futured {

namespace {

// Whether a cause has anything to tell: most jobs end well and were not measured.
bool tells(const channel::Done& done) {
  return done.status != channel::DoneStatus::kSucceeded || done.peak_rss_bytes != 0 || done.cpu_ns != 0 ||
         !done.error_message.empty();
}

CauseKind kind_of(const channel::Done& done) {
  switch (done.status) {
    case channel::DoneStatus::kSucceeded:
      return CauseKind::kNone;
    case channel::DoneStatus::kBadPayload:
      return CauseKind::kBadPayload;
    case channel::DoneStatus::kTaskError:
    case channel::DoneStatus::kStopped:
    case channel::DoneStatus::kWorkerError:
      return CauseKind::kTaskError;
    case channel::DoneStatus::kUnknownTask:
      return CauseKind::kUnknownTask;
    case channel::DoneStatus::kCommandFailed:
      return done.signal != 0 ? CauseKind::kSignal : CauseKind::kExitCode;
    case channel::DoneStatus::kStartFailed:
      return CauseKind::kNotStarted;
  }
  return CauseKind::kBrokenWorker;
}

bool is_final(channel::DoneStatus status) {
  return status == channel::DoneStatus::kBadPayload || status == channel::DoneStatus::kUnknownTask ||
         status == channel::DoneStatus::kStartFailed;
}

}  // namespace

void Loop::PoolEvents::step(const Event& event) { loop_.step(event, Loop::now()); }

void Loop::PoolEvents::on(const pool::PoolReady& event) {
  loop_.pool_problems_.erase(event.pool);
  if (!loop_.scheduler_) return;
  std::vector<std::string> names;
  for (const pool::Task& task : event.tasks) names.push_back(task.name);
  step(event::PoolReady{loop_.scheduler_->pool_named(event.pool), std::move(names)});
}

void Loop::PoolEvents::on(const pool::PoolFailed& event) {
  loop_.parts_.log("pool \"" + event.pool + "\": " + event.message);
  loop_.pool_problems_[event.pool] = event.message;
}

void Loop::PoolEvents::on(const pool::WorkerStarted& event) {
  if (!loop_.scheduler_) return;
  if (const std::string* const pool = pool_of(event.slot)) loop_.pool_problems_.erase(*pool);
  step(event::SlotReady{event.slot, event.generation});
}

void Loop::PoolEvents::on(const pool::WorkerEnded& event) {
  if (!loop_.scheduler_) return;
  if (!event.not_started.empty()) tell_not_started(event);
  Cause cause;
  cause.kind = event.broken.empty() ? CauseKind::kWorkerCrashed : CauseKind::kBrokenWorker;
  cause.exit_code = event.exit_code;
  cause.signal = event.signal;
  cause.peak_memory_bytes = event.peak_rss_bytes;
  cause.cpu_us = event.cpu_us;
  if (!event.broken.empty()) {
    cause.message = event.broken;
  } else if (event.signal != 0) {
    cause.message = "the worker was ended by signal " + std::to_string(event.signal) +
                    (event.out_of_memory ? ": out of memory" : "");
  } else {
    cause.message = "the worker exited with code " + std::to_string(event.exit_code) + " in the middle of the job";
  }
  if (event.taken) ++loop_.figures_.workers_died;
  step(event::SlotEnded{event.slot, event.generation, event.taken, event.taken_at, std::move(cause)});
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
  loop_.parts_.log(why + "; its jobs go on under the next");
  for (const pool::PoolConfig& pool : loop_.parts_.pool_configs) loop_.pool_problems_[pool.name] = why;
  loop_.reattach_at_ = monotonic_now();
}

void Loop::PoolEvents::on(SlotId slot, channel::Done& done) {
  event::Done told;
  told.slot = slot;
  told.fence = done.fence;
  told.started_at = done.started_at;
  told.finished_at = done.finished_at;
  told.result = done.result;
  told.status =
      done.status == channel::DoneStatus::kSucceeded ? event::DoneStatus::kSucceeded : event::DoneStatus::kFailed;
  told.do_not_retry = done.no_retry || is_final(done.status);
  std::string kept;
  if (!done.descriptors.empty()) {
    auto with_ids = loop_.parts_.keep_segments(done.fence.job, done.result, done.descriptors);
    if (with_ids.ok()) {
      kept = std::move(*with_ids);
      told.result = kept;
    } else {
      const Cause lost{
          .kind = CauseKind::kTaskError, .error_class = "ResultNotKept", .message = with_ids.error().message};
      told.status = event::DoneStatus::kFailed;
      told.result = {};
      told.cause = &lost;
      return step(told);
    }
  }
  if (!tells(done)) return step(told);
  Cause cause;
  cause.kind = kind_of(done);
  cause.exit_code = done.exit_code;
  cause.signal = done.signal;
  cause.peak_memory_bytes = done.peak_rss_bytes;
  cause.cpu_us = static_cast<std::int64_t>(done.cpu_ns / 1000);
  cause.error_class = done.error_class;
  cause.message = done.error_message;
  told.cause = &cause;
  step(told);
}

void Loop::PoolEvents::on(SlotId, const channel::Emit& emit) {
  loop_.outputs_.add({emit.fence, emit.stream, emit.offset, emit.data});
}

void Loop::PoolEvents::on(SlotId, const channel::Progress& progress) {
  loop_.outputs_.progress({progress.fence, progress.done, progress.total, progress.message});
}

}  // namespace futured
