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
  for (const WholeBatchRow& row : snapshot.whole_batches) {
    batches_[row.first] = row;
    if (row.is_over_limit()) over_limit_.push_back(row);
  }
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
