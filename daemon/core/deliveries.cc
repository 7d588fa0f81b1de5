#include "daemon/core/deliveries.h"

#include <algorithm>

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
    if (row.batch_jobs > 0) {
      later_batches_.take_up(row, terms_of(specs->front()));
      continue;
    }
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
  if (state != JobState::kSucceeded) ++row.failed;
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

void Deliveries::on(const event::Replay& replay, Moment now, Effects& effects) {
  std::uint64_t count = 0;
  for (const event::Replay::Entry& entry : replay.entries) {
    if (in_hand_.contains(entry.id)) continue;  // somebody was faster
    due(entry.id, {.job = entry.job, .lane = entry.lane, .behind = {}}, now, effects);
    ++count;
  }
  effects.replayed.push_back({replay.token, count});
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
  const bool is_new = in_hand_.emplace(id, std::move(delivery)).second;
  FUTURED_CHECK(is_new, "a delivery is in hand once");
}

std::size_t Deliveries::places(const Lane& lane) { return lane.failing ? 1 : limits::kDeliveriesPerLaneMax; }

// Sends what may be sent, and asks the store when there may be more.
void Deliveries::serve(std::uint32_t number, Moment now, Effects& effects) {
  Lane& lane = lanes_[number];
  send(number, lane, effects);
  const bool wants_more = lane.ready.empty() && lane.sent < places(lane) && !lane.claiming;
  if (wants_more && lane.stored_at <= now.wall) {
    claim(number, lane, effects);
  } else if (wants_more) {
    arm(number, lane, now);
  }
  drop_if_empty(number);
}

void Deliveries::send(std::uint32_t number, Lane& lane, Effects& effects) {
  while (!lane.ready.empty() && lane.sent < places(lane)) {
    if (under_way_ >= limits::kDeliveriesUnderWayMax) return yield(number, lane);
    InHand& delivery = in_hand_.at(lane.ready.front());
    delivery.sent = true;
    ++lane.sent;
    ++under_way_;
    effects.deliveries.push_back({lane.ready.front(), delivery.attempts + 1});
    lane.ready.pop_front();
  }
}

// Its turn comes when there is room again, behind those who wait for that already.
void Deliveries::yield(std::uint32_t number, Lane& lane) {
  if (!lane.hungry) hungry_.push_back(number);
  lane.hungry = true;
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
  lane.failing = !delivered.ok;
  if (lane.claiming) lane.settled.insert(delivered.id);
  const std::uint32_t attempts = delivery.attempts + 1;
  DeliveryRow row{delivered.id, delivery.job, delivery.lane,  DeliveryState::kDelivered, attempts,
                  now.wall,     {},           delivered.error};
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
    release_behind(delivery, now, effects);
  }
  --under_way_;  // only now: whoever waits for room has it before the one that made it
  if (hungry_.empty()) return serve(delivery.lane, now, effects);
  yield(delivery.lane, lane);
  while (!hungry_.empty() && under_way_ < limits::kDeliveriesUnderWayMax) {
    const std::uint32_t next = hungry_.front();
    hungry_.pop_front();
    lanes_.at(next).hungry = false;
    serve(next, now, effects);
  }
}

// The next of the same job to the same receiver.
void Deliveries::release_behind(const InHand& settled, Moment now, Effects& effects) {
  if (settled.behind.empty()) return;
  InHand next{.job = settled.job, .lane = settled.lane, .behind = {}};
  next.behind.assign(settled.behind.begin() + 1, settled.behind.end());
  due(settled.behind.front(), next, now, effects);
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
                      lane.sent > 0 || lane.hungry,
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
