#include "tests/simulation/receivers.h"

#include <algorithm>

namespace futured::simulation {

namespace {

std::string name(CallbackId id) { return "callback " + std::to_string(id.value); }

void hold(bool condition, const std::string& what) {
  if (!condition) throw Violation(what);
}

}  // namespace

void Receivers::committed(const Batch& batch) {
  for (const SpecRow& row : batch.specs) {
    if (auto callbacks = decode_callbacks(row.spec.callbacks); callbacks.ok()) specs_[row.id] = *std::move(callbacks);
  }
  for (const JobRow& row : batch.jobs) jobs_[row.id] = {row.ending.state, row.spec};
  for (const OutcomeRow& row : batch.outcomes) jobs_.at(row.id).state = row.ending.state;
  for (const CallbackRow& row : batch.callbacks) {
    later_[row.id] = row;
    if (row.batch_jobs == 0 && !is_terminal(jobs_.at(row.job).state)) before_end_[row.job].push_back(row.id);
  }
  for (const WholeBatchRow& row : batch.whole_batches) batches_[row.first] = row;
  for (const DeliveryRow& row : batch.deliveries) {
    hold(!is_settled(row.id), name(row.id) + " changes after it was settled");
    hold(row.state != DeliveryState::kDelivered || accepted_.contains(row.id),
         name(row.id) + " is called delivered, and its receiver never said so");
    rows_[row.id] = row;
  }
}

const std::vector<CallbackSpec>& Receivers::callbacks_of(JobId job) const { return specs_.at(jobs_.at(job).spec); }

// By what is on disk of its job or batch.
bool Receivers::is_due(CallbackId id) const {
  if (is_later(id)) {
    const auto row = later_.find(id);
    if (row == later_.end()) return false;
    if (row->second.batch_jobs > 0) return is_due(row->second);
    const JobState state = jobs_.at(row->second.job).state;
    const auto spec = decode_callbacks(row->second.spec);
    return is_terminal(state) && is_met(spec->front().condition, state == JobState::kSucceeded);
  }
  const CallbackSpec& spec = callbacks_of(job_of(id)).at(index_of(id));
  if (!spec.whole_batch) {
    const JobState state = jobs_.at(job_of(id)).state;
    return is_terminal(state) && is_met(spec.condition, state == JobState::kSucceeded);
  }
  const auto batch = batches_.find(job_of(id));
  return batch != batches_.end() && batch->second.ended == batch->second.count &&
         is_met(spec.condition, batch->second.failed == 0);
}

// A batch that was named later.
bool Receivers::is_due(const CallbackRow& row) const {
  bool all_ended = true;
  bool all_succeeded = true;
  for (std::uint32_t i = 0; i < row.batch_jobs; ++i) {
    const JobState state = jobs_.at(JobId{row.job.value + i}).state;
    all_ended = all_ended && is_terminal(state);
    all_succeeded = all_succeeded && state == JobState::kSucceeded;
  }
  return all_ended && is_met(decode_callbacks(row.spec)->front().condition, all_succeeded);
}

bool Receivers::is_settled(CallbackId id) const {
  const auto row = rows_.find(id);
  return row != rows_.end() &&
         (row->second.state == DeliveryState::kDelivered || row->second.state == DeliveryState::kFailed);
}

// Of a job that was removed between the look at a batch and the commit of its callback, a later daemon does not know
// how it ended.
bool Receivers::is_unsure(CallbackId id) const {
  const auto later = later_.find(id);
  if (later == later_.end()) return false;
  const CallbackRow& row = later->second;
  for (std::uint32_t i = 0; i < row.batch_jobs; ++i) {
    if (trimmed_.contains(JobId{row.job.value + i})) return true;
  }
  return false;
}

void Receivers::told(const effect::Deliver& deliver) {
  const CallbackId id = deliver.id;
  hold(is_due(id) || is_unsure(id), name(id) + " is delivered, and is not due by what is on disk");
  hold(!is_settled(id), name(id) + " is delivered after it was settled");
  const std::vector<CallbackId> all = in_order(rows_.at(id).job);
  const auto self = std::ranges::find(all, id);
  for (auto before = all.begin(); before != self && self != all.end(); ++before) {
    const bool same = lane_of(*before) == lane_of(id);
    hold(!same || !is_due(*before) || is_settled(*before), name(id) + " is delivered before " + name(*before));
  }
}

std::vector<CallbackId> Receivers::in_order(JobId job) const {
  std::vector<CallbackId> all;
  const std::vector<CallbackSpec>& callbacks = callbacks_of(job);
  for (std::uint32_t i = 0; i < callbacks.size(); ++i) {
    if (!callbacks[i].whole_batch) all.push_back(callback_of(job, i));
  }
  for (const auto& [first, batch] : batches_) {
    if (job < first || job.value >= first.value + batch.count) continue;
    for (std::uint32_t i = 0; i < callbacks.size(); ++i) {
      const auto row = rows_.find(callback_of(first, i));
      if (callbacks[i].whole_batch && row != rows_.end() && row->second.job == job) all.push_back(row->first);
    }
  }
  if (const auto later = before_end_.find(job); later != before_end_.end()) {
    all.insert(all.end(), later->second.begin(), later->second.end());
  }
  return all;
}

std::uint32_t Receivers::lane_of(CallbackId id) const {
  if (is_later(id)) return decode_callbacks(later_.at(id).spec)->front().lane;
  return callbacks_of(job_of(id)).at(index_of(id)).lane;
}

void Receivers::heard_registered(const effect::Registered& registered) {
  hold(later_.contains(registered.id), name(registered.id) + " was acknowledged and is not on disk");
}

void Receivers::trimmed(JobId job) {
  const auto check = [&](CallbackId id) {
    hold(!is_due(id) || is_settled(id),
         name(id) + " is still to be told of job " + std::to_string(job.value) + ", which is removed");
  };
  for (const CallbackId id : in_order(job)) check(id);
  for (const auto& [id, row] : later_) {
    if (row.job <= job && job.value < row.job.value + std::max(row.batch_jobs, 1U)) check(id);
  }
  for (const auto& [first, batch] : batches_) {
    const bool is_of_batch = first <= job && job.value < first.value + batch.count;
    hold(!is_of_batch || batch.ended == batch.count,
         "job " + std::to_string(job.value) + " is removed, and its batch has not ended");
  }
  trimmed_.insert(job);
}

void Receivers::at_rest(StoreReader& reader, const DeliveryRetries& retries) const {
  const auto check = [&](CallbackId id) {
    const auto row = rows_.find(id);
    if (!is_due(id)) {
      hold(row == rows_.end() || row->second.state == DeliveryState::kNotDue,
           name(id) + " has a delivery, and is not due");
      return;
    }
    hold(row != rows_.end() && is_settled(id), name(id) + " is due, and neither delivered nor failed");
    hold(row->second.state == DeliveryState::kDelivered || row->second.attempts >= retries.max_attempts,
         name(id) + " failed before its attempts were used up");
    // It goes with the job that it was asked of, and cannot be told any more without the one that it tells of.
    const JobId asked_of = is_later(id) ? later_.at(id).job : job_of(id);
    if (trimmed_.contains(asked_of) || trimmed_.contains(row->second.job)) return;
    const auto stored = reader.delivery(id);
    hold(stored.ok() && stored->has_value(), name(id) + " is not in the store");
    hold((*stored)->callback.delivery.state == row->second.state, name(id) + " stands otherwise in the store");
  };
  for (const auto& [job, ended] : jobs_) {
    const std::vector<CallbackSpec>& callbacks = specs_.at(ended.spec);
    for (std::uint32_t i = 0; i < callbacks.size(); ++i) {
      if (!callbacks[i].whole_batch) check(callback_of(job, i));
    }
  }
  for (const auto& [first, batch] : batches_) {
    hold(batch.ended == batch.count, "batch " + std::to_string(first.value) + " has not ended");
    const std::vector<CallbackSpec>& callbacks = callbacks_of(first);
    for (std::uint32_t i = 0; i < callbacks.size(); ++i) {
      if (callbacks[i].whole_batch) check(callback_of(first, i));
    }
  }
  for (const auto& [id, row] : later_) {
    if (!is_unsure(id)) check(id);
  }
}

}  // namespace futured::simulation
