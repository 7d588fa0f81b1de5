// Deliveries: which callbacks are due, to whom and when, and which of them are under way.
//
// What is due lies in the store, in lanes: a lane is one receiver. Of each lane only a few deliveries are in hand, so a
// receiver that is dead for a day costs disk and not memory, and takes nothing from the others.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "daemon/core/backoff.h"
#include "daemon/core/callbacks.h"
#include "daemon/core/effects.h"
#include "daemon/core/event.h"
#include "daemon/core/later_batches.h"
#include "daemon/core/rows.h"

namespace futured {

// Part of the scheduler: one thread, deterministic.
class Deliveries {
 public:
  Deliveries(const Snapshot& snapshot, std::uint64_t seed, Moment now);

  // A batch whose spec has a callback for the whole. False: too many are watched already.
  [[nodiscard]] bool has_room_for_batch() const;
  void watch_batch(JobId first, std::uint32_t count, std::optional<std::uint32_t> max_failures, Effects& effects);
  // Batches that more jobs of than their bound have failed; told once by each daemon.
  [[nodiscard]] bool has_over_limit() const { return !over_limit_.empty(); }
  [[nodiscard]] std::vector<WholeBatchRow> take_over_limit() { return std::exchange(over_limit_, {}); }
  [[nodiscard]] bool is_watched(JobId first) const { return batches_.contains(first); }

  // Whether the end of a job without callbacks of its own may matter.
  [[nodiscard]] bool has_waiting() const { return !waiting_.empty() || later_batches_.size() > 0; }
  void ended(JobId job, JobState state, const std::vector<CallbackTerms>& terms, Moment now, Effects& effects);

  // Of a job that has not ended (state kQueued) or has. Refused when too many wait already.
  [[nodiscard]] Status add(const event::Register& asked, JobState state, Moment now, Effects& effects);
  // Of a batch, likewise; registered once the store has said how its jobs stand.
  [[nodiscard]] Status add_batch(const event::Register& asked, Effects& effects);
  void on(const event::BatchRead& read, std::uint32_t admin_uid, Moment now, Effects& effects);
  // Of those that the snapshot told of.
  void ask_for_batches(Effects& effects) const { later_batches_.ask_anew(effects); }
  void on(const event::Replay& replay, Moment now, Effects& effects);

  [[nodiscard]] bool is_under_way(CallbackId id) const;
  void on(const event::Delivered& delivered, Moment now, Effects& effects);
  void on(const event::DeliveriesClaimed& claimed, Moment now, Effects& effects);
  void on_time(Moment now, Effects& effects);
  [[nodiscard]] Instant next_timer() const { return timers_.empty() ? Instant::never() : timers_.begin()->first; }

  // Nothing is due, now or later.
  [[nodiscard]] bool idle() const { return lanes_.empty(); }
  [[nodiscard]] std::size_t under_way() const { return under_way_; }
  void audit() const;

 private:
  // A delivery that left the store's order for now: ready to be sent, or sent.
  struct InHand {
    JobId job;
    std::uint32_t lane = 0;
    std::uint32_t attempts = 0;  // that failed
    std::vector<CallbackId> behind;
    bool sent = false;
  };
  struct Lane {
    std::deque<CallbackId> ready;  // in hand, not sent
    std::size_t sent = 0;
    WallTime stored_at = kNever;  // of the first that is in the store and not in hand, or before it
    bool claiming = false;
    std::unordered_set<CallbackId> settled;  // while it was claiming: the answer was read too early for them
    bool hungry = false;                     // listed in hungry_
    bool failing = false;                    // its last answer was none: it gets one place until it answers again
    Instant timer = Instant::never();
  };
  struct WaitingCallback {
    CallbackId id;
    CallbackTerms terms;
  };
  struct Due {
    CallbackId id;
    std::uint32_t lane = 0;
  };
  static constexpr WallTime kNever{INT64_MAX};

  void due(CallbackId id, const InHand& delivery, Moment now, Effects& effects);
  void add_of_batch(JobId job, JobState state, const std::vector<CallbackTerms>& terms, std::vector<Due>& all,
                    Effects& effects);
  void add_waiting(JobId job, JobState state, std::vector<Due>& all, Effects& effects);
  void add_later_batches(JobId job, JobState state, std::vector<Due>& all, Effects& effects);
  void batch_over(const LaterBatch& batch, JobId last, std::vector<Due>& all, Effects& effects);
  void due_in_order(JobId job, const std::vector<Due>& all, Moment now, Effects& effects);
  void release_behind(const InHand& settled, Moment now, Effects& effects);
  [[nodiscard]] static std::size_t places(const Lane& lane);
  void yield(std::uint32_t number, Lane& lane);
  void take_in_hand(CallbackId id, InHand delivery);
  void serve(std::uint32_t number, Moment now, Effects& effects);
  void send(std::uint32_t number, Lane& lane, Effects& effects);
  void claim(std::uint32_t number, Lane& lane, Effects& effects);
  void arm(std::uint32_t number, Lane& lane, Moment now);
  void drop_if_empty(std::uint32_t number);

  Random random_;
  std::unordered_map<std::uint32_t, Lane> lanes_;
  std::unordered_map<CallbackId, InHand> in_hand_;
  std::size_t under_way_ = 0;         // of in_hand_, sent
  std::deque<std::uint32_t> hungry_;  // lanes that could send if fewer were under way
  std::set<std::pair<Instant, std::uint32_t>> timers_;

  std::unordered_map<JobId, std::vector<WaitingCallback>> waiting_;
  std::size_t waiting_callbacks_ = 0;
  std::uint64_t next_later_ = 1;
  std::map<JobId, WholeBatchRow> batches_;  // by first job; they have not ended
  std::vector<WholeBatchRow> over_limit_;
  LaterBatches later_batches_;
};

}  // namespace futured
