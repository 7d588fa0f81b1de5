// Callbacks that are asked for: with a submit, or of a job that exists.

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

// A follow-up that nothing here can run is better refused now than when it is due.
Status Scheduler::check_callbacks(const std::string& encoded,
                                  const std::function<std::string(std::size_t)>& field) const {
  const auto callbacks = decode_callbacks(encoded);
  if (!callbacks.ok()) return callbacks.error();
  for (std::size_t i = 0; i < callbacks->size(); ++i) {
    const CallbackSpec& callback = (*callbacks)[i];
    JobSpec job;
    if (callback.target == CallbackTarget::kFollowUp) {
      const std::string follow_up = field(i) + ".follow_up";
      const auto queue = queue_by_name_.find(callback.queue);
      if (queue == queue_by_name_.end()) {
        return Error{ErrorCode::kNotFound, follow_up + ": no queue \"" + callback.queue + "\""};
      }
      if (const Status fits = check_priority(queue->second->row, callback.priority); !fits.ok()) {
        return fits.error().in(follow_up);
      }
      job.pool = callback.pool;
      job.task = callback.task;
    } else if (callback.target != CallbackTarget::kCommand) {
      continue;
    }
    if (const auto pool = pool_for(job); !pool.ok()) return pool.error().in(field(i));
  }
  return {};
}

Status Scheduler::check_submit(const event::Submit& submit, const SpecState& spec, Moment now) const {
  if (spec.counts_batch() && !deliveries_.has_room_for_batch()) {
    return Error{ErrorCode::kResourceExhausted,
                 (spec.has_whole_batch() ? "spec.callbacks: " : "spec.max_failures: ") +
                     std::to_string(limits::kBatchesWatchedMax) +
                     " batches with a callback for the whole or a bound of failures have not ended; try again"};
  }
  if (const QueueRow& queue = spec.lane->queue->row; queue.draining) {
    return Error{ErrorCode::kFailedPrecondition,
                 "queue \"" + queue.name +
                     "\" is draining and takes no new jobs; name another one, or let it take "
                     "jobs again with fut queue resume"};
  }
  if (const Status fits = check_memory(spec.spec, *spec.lane->pool); !fits.ok()) return fits.error();
  if (const Status fits = check_start(submit, spec.spec, now); !fits.ok()) return fits.error();
  if (const Status known = check_needs(spec.spec); !known.ok()) return known.error();
  if (submit.has_dependencies()) {
    if (const Status fits = check_dependencies(submit); !fits.ok()) return fits.error();
  }
  // The job and the record that its delivery is done are one commit: so it is made exactly once.
  if (submit.settles.is_set() && !deliveries_.is_under_way(submit.settles)) {
    return Error{ErrorCode::kFailedPrecondition,
                 "callback " + std::to_string(submit.settles.value) + " is not being delivered"};
  }
  return {};
}

void Scheduler::on(const event::Register& asked, Moment now, Effects& effects) {
  const auto field = [](std::size_t) { return std::string("spec"); };
  if (const Status sound = check_callbacks(asked.spec, field); !sound.ok()) {
    effects.refused.push_back({asked.token, sound.error()});
    return;
  }
  if (asked.terms.whole_batch) {
    if (const Status added = deliveries_.add_batch(asked, effects); !added.ok()) {
      effects.refused.push_back({asked.token, added.error()});
    }
    return;
  }
  if (const Job* const job = jobs_.find(asked.job)) {
    return add_callback(asked, JobState::kQueued, job->owner, now, effects);
  }
  if (asked.job.value >= next_id_) {
    effects.refused.push_back({asked.token, {ErrorCode::kNotFound, "no job " + std::to_string(asked.job.value)}});
    return;
  }
  const auto [loading, is_new] = loading_.try_emplace(asked.job);
  if (is_new) effects.loads.push_back(asked.job);
  loading->second.registers.push_back(asked);
}

void Scheduler::add_callback(const event::Register& asked, JobState state, std::uint32_t owner, Moment now,
                             Effects& effects) {
  if (asked.who.uid != 0 && asked.who.uid != setup_.admin_uid && asked.who.uid != owner) {
    effects.refused.push_back({asked.token,
                               {ErrorCode::kPermissionDenied, "job " + std::to_string(asked.job.value) +
                                                                  " belongs to user " + std::to_string(owner)}});
  } else if (const Status added = deliveries_.add(asked, state, now, effects); !added.ok()) {
    effects.refused.push_back({asked.token, added.error()});
  }
}

}  // namespace futured
