#include "daemon/core/deliveries.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/limits.h"

namespace futured {

Deliveries::Deliveries(const Snapshot& snapshot, std::uint64_t seed, Moment now)
    : random_(seed), next_later_(snapshot.callbacks_until) {
  for (const DeliveryLane& stored : snapshot.deliveries) {
    Lane& lane = lanes_[stored.lane];
    lane.stored_at = stored.first_at;
    arm(stored.lane, lane, now);
  }
  for (const CallbackRow& row : snapshot.waiting_callbacks) {
    const auto specs = decode_callbacks(row.spec);
    if (!specs.ok() || specs->size() != 1) continue;  // damaged on disk: it stays listed as waiting
    waiting_[row.job].push_back({row.id, terms_of(specs->front())});
    ++waiting_callbacks_;
  }
  for (const WholeBatchRow& row : snapshot.whole_batches) batches_[row.first] = row;
}

bool Deliveries::has_room_for_batch() const { return batches_.size() < limits::kBatchesWatchedMax; }

void Deliveries::watch_batch(JobId first, std::uint32_t count, Effects& effects) {
  const WholeBatchRow row{first, count, 0, 0};
  batches_[first] = row;
  effects.rows.whole_batches.push_back(row);
}

void Deliveries::ended(JobId job, JobState state, const std::vector<CallbackTerms>& terms, Moment now,
                       Effects& effects) {
  due_in_order(job, job, terms, /*whole_batch=*/false, state == JobState::kSucceeded, now, effects);
  end_batch(job, state, terms, now, effects);
  end_waiting(job, state, now, effects);
}

// Those of one submit to one receiver are delivered one after the other.
void Deliveries::due_in_order(JobId first, JobId job, const std::vector<CallbackTerms>& terms, bool whole_batch,
                              bool succeeded, Moment now, Effects& effects) {
  const auto is_due = [&](const CallbackTerms& one) {
    return one.whole_batch == whole_batch && is_met(one.condition, succeeded);
  };
  std::uint32_t told = 0;  // a bit for each that is behind an earlier one
  for (std::uint32_t i = 0; i < terms.size(); ++i) {
    if (!is_due(terms[i]) || (told >> i & 1) != 0) continue;
    std::uint32_t behind = 0;
    for (std::uint32_t later = i + 1; later < terms.size(); ++later) {
      if (!is_due(terms[later]) || terms[later].lane != terms[i].lane) continue;
      behind |= 1u << later;
      effects.rows.deliveries.push_back({callback_of(first, later), job, terms[i].lane, DeliveryState::kBehind});
    }
    told |= behind;
    due(callback_of(first, i), {job, terms[i].lane, 0, behind}, now, effects);
  }
}

void Deliveries::end_batch(JobId job, JobState state, const std::vector<CallbackTerms>& terms, Moment now,
                           Effects& effects) {
  if (batches_.empty()) return;
  auto found = batches_.upper_bound(job);
  if (found == batches_.begin()) return;
  WholeBatchRow& row = (--found)->second;
  if (job.value >= row.first.value + row.count) return;
  ++row.ended;
  if (state != JobState::kSucceeded) ++row.failed;
  std::vector<WholeBatchRow>& rows = effects.rows.whole_batches;
  if (!rows.empty() && rows.back().first == row.first) {
    rows.back() = row;
  } else {
    rows.push_back(row);
  }
  if (row.ended < row.count) return;
  due_in_order(row.first, job, terms, /*whole_batch=*/true, row.failed == 0, now, effects);
  batches_.erase(found);
}

void Deliveries::end_waiting(JobId job, JobState state, Moment now, Effects& effects) {
  const auto waiting = waiting_.extract(job);
  if (waiting.empty()) return;
  waiting_callbacks_ -= waiting.mapped().size();
  for (const WaitingCallback& callback : waiting.mapped()) {
    if (is_met(callback.terms.condition, state == JobState::kSucceeded)) {
      due(callback.id, {job, callback.terms.lane}, now, effects);
    } else {
      effects.rows.deliveries.push_back({callback.id, job, callback.terms.lane, DeliveryState::kNotDue});
    }
  }
}

bool Deliveries::add(const event::Register& asked, JobState state, Moment now, Effects& effects) {
  if (!is_terminal(state) && waiting_callbacks_ >= limits::kCallbacksWaitingMax) return false;
  const CallbackId id = later_callback(next_later_++);
  effects.rows.callbacks.push_back({id, asked.job, asked.who.uid, asked.spec});
  effects.registered.push_back({asked.token, id});
  effects.rows.deliveries.push_back({id, asked.job, asked.terms.lane, DeliveryState::kWaiting});
  waiting_[asked.job].push_back({id, asked.terms});
  ++waiting_callbacks_;
  if (is_terminal(state)) end_waiting(asked.job, state, now, effects);
  return true;
}

void Deliveries::on(const event::Replay& replay, Moment now, Effects& effects) {
  for (const event::Replay::Entry& entry : replay.entries) {
    if (in_hand_.contains(entry.id)) continue;  // somebody was faster
    due(entry.id, {entry.job, entry.lane}, now, effects);
  }
  effects.replayed.push_back({replay.token, replay.entries.size()});
}

// Due now. It is taken in hand if nothing of its lane waits in the store; else its turn there will come.
void Deliveries::due(CallbackId id, const InHand& delivery, Moment now, Effects& effects) {
  effects.rows.deliveries.push_back(
      {id, delivery.job, delivery.lane, DeliveryState::kDelivering, delivery.attempts, now.wall, delivery.behind});
  Lane& lane = lanes_[delivery.lane];
  const bool has_room = lane.ready.size() < limits::kDeliveriesReadyPerLaneMax &&
                        (lane.ready.empty() || in_hand_.size() < limits::kDeliveriesReadyMax);
  if (lane.stored_at == kNever && !lane.claiming && has_room) {
    take_in_hand(id, delivery);
  } else {
    lane.stored_at = std::min(lane.stored_at, now.wall);
  }
  serve(delivery.lane, now, effects);
}

void Deliveries::take_in_hand(CallbackId id, InHand delivery) {
  delivery.sent = false;
  lanes_[delivery.lane].ready.push_back(id);
  const bool is_new = in_hand_.emplace(id, delivery).second;
  FUTURED_CHECK(is_new, "a delivery is in hand once");
}

// Sends what may be sent, and asks the store when there may be more.
void Deliveries::serve(std::uint32_t number, Moment now, Effects& effects) {
  Lane& lane = lanes_[number];
  send(number, lane, effects);
  const bool wants_more = lane.ready.empty() && lane.sent < limits::kDeliveriesPerLaneMax && !lane.claiming;
  if (wants_more && lane.stored_at <= now.wall) {
    claim(number, lane, effects);
  } else if (wants_more) {
    arm(number, lane, now);
  }
  drop_if_empty(number);
}

void Deliveries::send(std::uint32_t number, Lane& lane, Effects& effects) {
  while (!lane.ready.empty() && lane.sent < limits::kDeliveriesPerLaneMax) {
    if (under_way_ >= limits::kDeliveriesUnderWayMax) {
      if (!lane.hungry) hungry_.push_back(number);
      lane.hungry = true;
      return;
    }
    InHand& delivery = in_hand_.at(lane.ready.front());
    delivery.sent = true;
    ++lane.sent;
    ++under_way_;
    effects.deliveries.push_back({lane.ready.front(), delivery.attempts + 1});
    lane.ready.pop_front();
  }
}

// What is in hand comes along in the answer, for it is still due in the store.
void Deliveries::claim(std::uint32_t number, Lane& lane, Effects& effects) {
  const std::size_t in_hand = lane.ready.size() + lane.sent;
  effects.delivery_claims.push_back({number, static_cast<std::uint32_t>(in_hand + limits::kDeliveriesReadyPerLaneMax)});
  lane.claiming = true;
  lane.stored_at = kNever;  // from here on: of what the answer will not tell
  lane.settled.clear();
}

void Deliveries::on(const event::DeliveriesClaimed& claimed, Moment now, Effects& effects) {
  const DeliveryClaimAnswer& answer = claimed.answer;
  const auto found = lanes_.find(answer.claim.lane);
  if (found == lanes_.end() || !found->second.claiming) return;
  Lane& lane = found->second;
  lane.claiming = false;
  bool took_all = true;
  for (const DeliveryRow& row : answer.rows) {
    if (in_hand_.contains(row.id) || lane.settled.contains(row.id)) continue;
    const bool has_room = lane.ready.empty() || in_hand_.size() < limits::kDeliveriesReadyMax;
    if (row.at > now.wall || !has_room) {
      lane.stored_at = std::min(lane.stored_at, row.at);
      took_all = false;
      break;
    }
    take_in_hand(row.id, {row.job, answer.claim.lane, row.attempts, row.behind});
  }
  const bool may_be_more = took_all && answer.rows.size() >= answer.claim.rows_max;
  if (may_be_more) lane.stored_at = std::min(lane.stored_at, answer.rows.back().at);
  lane.settled.clear();
  serve(answer.claim.lane, now, effects);
}

bool Deliveries::is_under_way(CallbackId id) const {
  const auto found = in_hand_.find(id);
  return found != in_hand_.end() && found->second.sent;
}

void Deliveries::on(const event::Delivered& delivered, Moment now, Effects& effects) {
  if (!is_under_way(delivered.id)) return;
  const InHand delivery = in_hand_.extract(delivered.id).mapped();
  Lane& lane = lanes_.at(delivery.lane);
  --lane.sent;
  --under_way_;
  if (lane.claiming) lane.settled.insert(delivered.id);
  const std::uint32_t attempts = delivery.attempts + 1;
  DeliveryRow row{delivered.id,   delivery.job, delivery.lane, DeliveryState::kDelivered, attempts, now.wall, 0,
                  delivered.error};
  if (!delivered.ok && attempts < delivered.retries.max_attempts) {
    row.state = DeliveryState::kDelivering;
    const DeliveryRetries& retries = delivered.retries;
    row.at = now.wall +
             wait_after(attempts, {retries.backoff, retries.factor, retries.backoff_max, retries.jitter}, random_);
    row.behind = delivery.behind;
    lane.stored_at = std::min(lane.stored_at, row.at);
    effects.rows.deliveries.push_back(std::move(row));
  } else {
    if (!delivered.ok) row.state = DeliveryState::kFailed;
    effects.rows.deliveries.push_back(std::move(row));
    release_behind(delivered.id, delivery, now, effects);
  }
  serve(delivery.lane, now, effects);
  while (!hungry_.empty() && under_way_ < limits::kDeliveriesUnderWayMax) {
    const std::uint32_t next = hungry_.front();
    hungry_.pop_front();
    lanes_.at(next).hungry = false;
    serve(next, now, effects);
  }
}

// The next of the same submit to the same receiver.
void Deliveries::release_behind(CallbackId id, const InHand& settled, Moment now, Effects& effects) {
  if (settled.behind == 0) return;
  const auto next = static_cast<std::uint32_t>(std::countr_zero(settled.behind));
  due(callback_of(job_of(id), next), {settled.job, settled.lane, 0, settled.behind & ~(1u << next)}, now, effects);
}

void Deliveries::arm(std::uint32_t number, Lane& lane, Moment now) {
  if (lane.stored_at == kNever) return;
  const Instant at = now.at + std::max(lane.stored_at - now.wall, Duration(0));
  if (lane.timer <= at) return;
  timers_.erase({lane.timer, number});
  timers_.emplace(at, number);
  lane.timer = at;
}

void Deliveries::on_time(Moment now, Effects& effects) {
  while (!timers_.empty() && timers_.begin()->first <= now.at) {
    const std::uint32_t number = timers_.begin()->second;
    timers_.erase(timers_.begin());
    lanes_.at(number).timer = Instant::never();
    serve(number, now, effects);
  }
}

void Deliveries::drop_if_empty(std::uint32_t number) {
  const auto found = lanes_.find(number);
  const Lane& lane = found->second;
  if (lane.sent != 0 || !lane.ready.empty() || lane.claiming || lane.hungry || lane.stored_at != kNever) return;
  timers_.erase({lane.timer, number});
  lanes_.erase(found);
}

void Deliveries::audit() const {
  std::size_t sent = 0;
  std::size_t ready = 0;
  for (const auto& [number, lane] : lanes_) {
    sent += lane.sent;
    ready += lane.ready.size();
    FUTURED_CHECK(lane.sent <= limits::kDeliveriesPerLaneMax, "a receiver is asked a few things at once");
    FUTURED_CHECK(lane.claiming || lane.stored_at == kNever || lane.timer != Instant::never() || !lane.ready.empty() ||
                      lane.sent > 0,
                  "a lane that waits has something that wakes it");
    FUTURED_CHECK(lane.timer == Instant::never() || timers_.contains({lane.timer, number}), "an armed timer is set");
    for (const CallbackId id : lane.ready) {
      const auto found = in_hand_.find(id);
      FUTURED_CHECK(found != in_hand_.end() && !found->second.sent && found->second.lane == number,
                    "what is ready is in hand");
    }
  }
  FUTURED_CHECK(sent == under_way_ && under_way_ <= limits::kDeliveriesUnderWayMax, "all that is sent is counted");
  FUTURED_CHECK(sent + ready == in_hand_.size(), "what is in hand is ready or sent");
  std::size_t waiting = 0;
  for (const auto& [job, callbacks] : waiting_) waiting += callbacks.size();
  FUTURED_CHECK(waiting == waiting_callbacks_, "waiting callbacks are counted");
  for (const auto& [first, row] : batches_) FUTURED_CHECK(row.ended < row.count, "an ended batch is watched no more");
}

}  // namespace futured
