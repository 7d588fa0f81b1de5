// Which callbacks the end of a job makes due: its own, those of its batch, and those that were registered later.
#include "base/limits.h"
#include "daemon/core/deliveries.h"

namespace futured {

bool Deliveries::has_room_for_batch() const { return batches_.size() < limits::kBatchesWatchedMax; }

void Deliveries::watch_batch(JobId first, std::uint32_t count, std::optional<std::uint32_t> max_failures,
                             Effects& effects) {
  const WholeBatchRow row{first, count, 0, 0, max_failures};
  batches_[first] = row;
  effects.rows.whole_batches.push_back(row);
}

void Deliveries::ended(JobId job, JobState state, const std::vector<CallbackTerms>& terms, Moment now,
                       Effects& effects) {
  std::vector<Due> all;
  for (std::uint32_t i = 0; i < terms.size(); ++i) {
    const CallbackTerms& one = terms[i];
    if (one.whole_batch || !is_met(one.condition, state == JobState::kSucceeded)) continue;
    all.push_back({callback_of(job, i), one.lane});
  }
  add_of_batch(job, state, terms, all, effects);
  add_waiting(job, state, all, effects);
  add_later_batches(job, state, all, effects);
  due_in_order(job, all, now, effects);
}

void Deliveries::add_of_batch(JobId job, JobState state, const std::vector<CallbackTerms>& terms, std::vector<Due>& all,
                              Effects& effects) {
  if (batches_.empty()) return;
  auto found = batches_.upper_bound(job);
  if (found == batches_.begin()) return;
  WholeBatchRow& row = (--found)->second;
  if (job.value >= row.first.value + row.count) return;
  ++row.ended;
  if (state != JobState::kSucceeded && !row.is_over_limit()) {
    ++row.failed;
    if (row.is_over_limit() && row.ended < row.count) over_limit_.push_back(row);
  } else if (state != JobState::kSucceeded) {
    ++row.failed;
  }
  std::vector<WholeBatchRow>& rows = effects.rows.whole_batches;
  if (!rows.empty() && rows.back().first == row.first) {
    rows.back() = row;
  } else {
    rows.push_back(row);
  }
  if (row.ended < row.count) return;
  for (std::uint32_t i = 0; i < terms.size(); ++i) {
    const CallbackTerms& one = terms[i];
    if (!one.whole_batch || !is_met(one.condition, row.failed == 0)) continue;
    all.push_back({callback_of(row.first, i), one.lane});
  }
  batches_.erase(found);
}

void Deliveries::add_waiting(JobId job, JobState state, std::vector<Due>& all, Effects& effects) {
  const auto waiting = waiting_.extract(job);
  if (waiting.empty()) return;
  waiting_callbacks_ -= waiting.mapped().size();
  for (const WaitingCallback& callback : waiting.mapped()) {
    if (is_met(callback.terms.condition, state == JobState::kSucceeded)) {
      all.push_back({callback.id, callback.terms.lane});
    } else {
      effects.rows.deliveries.push_back({callback.id, job, callback.terms.lane, DeliveryState::kNotDue});
    }
  }
}

void Deliveries::add_later_batches(JobId job, JobState state, std::vector<Due>& all, Effects& effects) {
  if (later_batches_.size() == 0) return;
  for (const std::uint64_t number : later_batches_.ended(job, state == JobState::kSucceeded)) {
    batch_over(*later_batches_.find(number), job, all, effects);
    later_batches_.drop(number);
  }
}

void Deliveries::batch_over(const LaterBatch& batch, JobId last, std::vector<Due>& all, Effects& effects) {
  if (is_met(batch.terms.condition, batch.failed == 0)) {
    all.push_back({batch.id, batch.terms.lane});
  } else {
    effects.rows.deliveries.push_back({batch.id, last, batch.terms.lane, DeliveryState::kNotDue});
  }
}

Status Deliveries::add_batch(const event::Register& asked, Effects& effects) {
  if (later_batches_.size() >= limits::kLaterBatchesMax) {
    return Error{ErrorCode::kResourceExhausted,
                 std::to_string(later_batches_.size()) +
                     " batches with a callback that was registered after the submit have not ended; try again"};
  }
  later_batches_.ask(asked, effects);
  return {};
}

void Deliveries::on(const event::BatchRead& read, std::uint32_t admin_uid, Moment now, Effects& effects) {
  const std::uint64_t number = read.answer.query.number;
  LaterBatch* const batch = later_batches_.find(number);
  if (batch == nullptr) return;
  batch->take(read.answer);
  const BatchQuery& jobs = batch->query;
  const JobId last{jobs.first.value + jobs.count - 1};
  if (batch->asked) {
    const event::Register& asked = *batch->asked;
    if (const Status sound = batch->check(read.answer, admin_uid); !sound.ok()) {
      effects.refused.push_back({asked.token, sound.error()});
      return later_batches_.drop(number);
    }
    batch->id = later_callback(next_later_++);
    effects.rows.callbacks.push_back({batch->id, asked.job, asked.who.uid, asked.spec, asked.batch_jobs});
    effects.registered.push_back({asked.token, batch->id});
    effects.rows.deliveries.push_back({batch->id, last, batch->terms.lane, DeliveryState::kWaiting});
    batch->asked.reset();
  }
  if (!batch->is_over()) return;
  std::vector<Due> all;
  batch_over(*batch, last, all, effects);
  later_batches_.drop(number);
  due_in_order(last, all, now, effects);
}

// Those to one receiver are delivered one after the other.
void Deliveries::due_in_order(JobId job, const std::vector<Due>& all, Moment now, Effects& effects) {
  std::vector<bool> is_behind(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (is_behind[i]) continue;
    InHand first{.job = job, .lane = all[i].lane, .behind = {}};
    for (std::size_t later = i + 1; later < all.size(); ++later) {
      if (all[later].lane != all[i].lane) continue;
      is_behind[later] = true;
      first.behind.push_back(all[later].id);
      effects.rows.deliveries.push_back({all[later].id, job, all[later].lane, DeliveryState::kBehind});
    }
    due(all[i].id, first, now, effects);
  }
}

Status Deliveries::add(const event::Register& asked, JobState state, Moment now, Effects& effects) {
  if (!is_terminal(state)) {
    const auto known = waiting_.find(asked.job);
    const std::size_t of_job = known != waiting_.end() ? known->second.size() : 0;
    const std::string too_many = " callbacks that were registered after the submit wait already";
    if (of_job >= limits::kCallbacksWaitingPerJobMax) {
      return Error{ErrorCode::kResourceExhausted,
                   "job " + std::to_string(asked.job.value) + ": " + std::to_string(of_job) + too_many};
    }
    if (waiting_callbacks_ >= limits::kCallbacksWaitingMax) {
      return Error{ErrorCode::kResourceExhausted, std::to_string(waiting_callbacks_) + too_many + "; try again"};
    }
  }
  const CallbackId id = later_callback(next_later_++);
  effects.rows.callbacks.push_back({id, asked.job, asked.who.uid, asked.spec});
  effects.registered.push_back({asked.token, id});
  effects.rows.deliveries.push_back({id, asked.job, asked.terms.lane, DeliveryState::kWaiting});
  waiting_[asked.job].push_back({id, asked.terms});
  ++waiting_callbacks_;
  if (!is_terminal(state)) return {};
  std::vector<Due> all;
  add_waiting(asked.job, state, all, effects);
  due_in_order(asked.job, all, now, effects);
  return {};
}

}  // namespace futured
