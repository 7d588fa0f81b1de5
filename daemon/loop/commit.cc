#include <algorithm>

#include "daemon/loop/pool_events.h"
#include "daemon/loop/soundness.h"

namespace futured {

namespace {

// How long a batch that was rolled back waits before it is tried again.
constexpr Duration kRetryAfter = std::chrono::milliseconds(200);

// Between two steps of retention: when there was little to do, and when there is more. A step takes a few ms of the
// store's thread, so that even then it has most of its time for commits.
constexpr Duration kTrimEvery = std::chrono::seconds(1);
constexpr Duration kTrimAgain = std::chrono::milliseconds(20);
constexpr Duration kTrimAfterFault = std::chrono::minutes(1);

constexpr Duration kHoldBackMax = std::chrono::microseconds(200);

}  // namespace

Error store_failing_error() {
  return {ErrorCode::kResourceExhausted, "the store cannot commit just now (is its disk full?); try again"};
}

bool Loop::has_batch() const {
  return !effects_.rows.empty() || !effects_.asks_nothing() || !effects_.tells_nothing() ||
         parts_.pools->has_unreleased();
}

// A lone short job is done before its own commit could be, so the commit waits that long: one row and one sync instead
// of two. Never while there is anything else that a commit would let out.
bool Loop::holds_back(Moment moment) {
  const Batch& rows = effects_.rows;
  const bool fresh = !rows.jobs.empty() && rows.outcomes.empty() && rows.attempts.empty() && rows.starts.empty() &&
                     effects_.asks_nothing() && effects_.cancelled.empty() && effects_.deliveries.empty() &&
                     effects_.registered.empty() && effects_.replayed.empty() && effects_.waits_told.empty();
  if (!fresh || stopping_ || !scheduler_->is_nearly_done(kHoldBackMax)) {
    hold_until_ = {};
    return false;
  }
  if (hold_until_.ns == 0) hold_until_ = moment.at + kHoldBackMax;
  if (moment.at < hold_until_) return true;
  hold_until_ = {};
  return false;
}

// Natural group commit: what gathered while the last commit was under way goes with this one.
void Loop::send_batch(Moment moment) {
  StoreAnswer work;
  if (retrying_) {
    if (moment.at < retry_at_) return;
    work = std::move(*retrying_);
    retrying_.reset();
  } else {
    // Without room for new jobs there may be nothing to commit for ever: an empty batch asks for room again.
    const bool asks_for_room = store_failing_ && moment.at >= retry_at_;
    const bool trims = !stopping_ && moment.at >= trim_at_;
    if (!has_batch() && !asks_for_room && !trims) return;
    work.batch = std::make_unique<Batch>(std::exchange(effects_.rows, {}));
    work.questions.claims = std::exchange(effects_.claims, {});
    if (!effects_.loads.empty() || !effects_.due.empty()) {
      work.questions.loads.push_back(std::exchange(effects_.loads, {}));
      work.questions.loads.push_back(std::exchange(effects_.due, {}));
    }
    work.questions.keys = std::exchange(effects_.key_queries, {});
    work.questions.delayed_claims = std::exchange(effects_.delayed_claims, {});
    work.questions.delivery_claims = std::exchange(effects_.delivery_claims, {});
    work.questions.batches = std::exchange(effects_.batch_queries, {});
    work.questions.cache_reads = std::exchange(effects_.cache_reads, {});
    if (trims) {
      const SpoolFigures spool = parts_.spool();
      TrimQuestion& trim = work.questions.trim.emplace();
      trim.policy = parts_.retention;
      trim.now = wall_now();
      trim.spool_bytes = spool.bytes;
      trim.is_sweeping = spool.is_sweeping || spool.is_failing;
      trim_at_ = moment.at + kTrimEvery;
    }
    deferred_ = Deferred{std::exchange(effects_.registered, {}),
                         std::exchange(effects_.replayed, {}),
                         std::exchange(effects_.deliveries, {}),
                         std::exchange(effects_.accepted, {}),
                         std::exchange(effects_.cancelled, {}),
                         std::exchange(effects_.queues_put, {}),
                         std::exchange(effects_.schedules_changed, {}),
                         std::exchange(effects_.queues_purged, {}),
                         std::exchange(effects_.moved, {}),
                         std::exchange(effects_.queues_deleted, {}),
                         std::exchange(effects_.semaphores_put, {}),
                         std::exchange(effects_.caches_cleared, {}),
                         std::exchange(effects_.events_put, {}),
                         std::exchange(effects_.offers_after_commit, {}),
                         std::exchange(effects_.changes, {}),
                         std::exchange(effects_.waits_told, {}),
                         parts_.pools->cursors(),
                         moment.at};
    if (work.questions.empty() && deferred_.offers.empty() && is_at_rest() && commit_here(work.batch)) {
      return;
    }
  }
  in_flight_ = true;
  store_thread_->commit(std::move(work.batch), std::move(work.questions), [this](StoreAnswer answer) {
    // std::function wants a copyable callable.
    auto shared = std::make_shared<StoreAnswer>(std::move(answer));
    post([this, shared] { committed(std::move(*shared)); });
  });
}

// The end of a lone job: nobody waits for the loop meanwhile, so it commits by itself, as long as the disk is quick.
bool Loop::commit_here(std::unique_ptr<Batch>& batch) {
  constexpr std::size_t kRowsMax = 4;
  constexpr std::int64_t kQuickUs = 3000;
  if (batch->jobs.size() + batch->outcomes.size() + batch->moved.size() > kRowsMax || store_failing_ ||
      figures_.commit_us.empty())
    return false;
  if (figures_.last_commit_us() > kQuickUs) return false;
  auto answer = store_thread_->commit_here(batch);
  if (!answer) return false;
  committed(std::move(*answer));
  return true;
}

void Loop::committed(StoreAnswer answer) {
  in_flight_ = false;
  if (answer.error) return commit_failed(std::move(answer));
  const Moment moment = now();
  if (store_failing_.exchange(answer.short_of_space) != answer.short_of_space) {
    parts_.log(answer.short_of_space ? "the disk is full but for what is kept for outcomes: no new jobs are accepted"
                                     : "the store has room again: new jobs are accepted");
  }
  if (answer.short_of_space) retry_at_ = moment.at + kRetryAfter;
  if (!answer.batch->empty()) figures_.add_commit((moment.at - deferred_.sent).count() / 1000);
  const std::shared_ptr<const Batch> batch = std::move(answer.batch);
  count(*batch);
  let_out(batch, std::exchange(deferred_, {}), moment);
  take_answers(std::move(answer), moment);
}

// A step that failed left everything as it was. A store that is broken tells that with the next commit.
void Loop::take_trimmed(const Result<TrimAnswer>& trimmed, Moment moment) {
  if (!trimmed.ok()) {
    parts_.log("retention removes nothing for a minute: " + trimmed.error().message);
    trim_at_ = moment.at + kTrimAfterFault;
    figures_.trim_failed = true;
    return;
  }
  figures_.trim_failed = false;
  figures_.trimmed_specs += trimmed->removed_specs;
  figures_.trimmed_keys += trimmed->removed_keys;
  figures_.trimmed_jobs += trimmed->removed.size();
  figures_.trimmed_bytes += trimmed->removed_bytes;
  figures_.trimmed_files += trimmed->removed_files;
  figures_.trimmed_until = trimmed->trimmed_until;
  figures_.kept_bytes = trimmed->kept_bytes;
  if (!trimmed->removed.empty()) parts_.trimmed(trimmed->removed);
  if (trimmed->more) trim_at_ = std::min(trim_at_, moment.at + kTrimAgain);
}

void Loop::take_answers(StoreAnswer answer, Moment moment) {
  if (answer.trimmed) take_trimmed(*answer.trimmed, moment);
  const HasQueue has_queue = [this](const std::string& name) { return scheduler_->has_queue(name); };
  const auto is_sound = [&](const auto& rows) {
    const Status sound = check(rows, has_queue);
    if (!sound.ok()) fatal_ = sound.error();
    return sound.ok();
  };
  for (ClaimAnswer& claimed : answer.claimed) {
    if (!is_sound(claimed)) return;
    step(event::Claimed{std::move(claimed)}, moment);
  }
  for (std::size_t i = 0; i < answer.loaded.size(); ++i) {
    std::vector<JobId>& asked = answer.questions.loads[i];
    if (asked.empty()) continue;
    if (!is_sound(answer.loaded[i])) return;
    step(event::Loaded{std::move(asked), std::move(answer.loaded[i]), /*due=*/i == 1}, moment);
  }
  for (DelayedAnswer& claimed : answer.delayed_claimed) {
    if (!is_sound(claimed)) return;
    step(event::DelayedClaimed{std::move(claimed)}, moment);
  }
  if (!answer.questions.keys.empty()) step(event::KeysFound{std::move(answer.keys)}, moment);
  for (DeliveryClaimAnswer& claimed : answer.deliveries_claimed) {
    step(event::DeliveriesClaimed{std::move(claimed)}, moment);
  }
  for (BatchAnswer& batch : answer.batches) step(event::BatchRead{std::move(batch)}, moment);
  if (!answer.questions.cache_reads.empty()) {
    step(event::CacheRead{std::move(answer.questions.cache_reads), std::move(answer.cached)}, moment);
  }
}

// A batch that was rolled back is kept and tried again: nothing of it has left. Anything else only a restart mends,
// for what is on disk is not known any more.
void Loop::commit_failed(StoreAnswer answer) {
  if (answer.error->fault == CommitFault::kUnknown) {
    fatal_ = answer.error->error.in("the store failed and must be read anew");
    return;
  }
  if (!store_failing_.exchange(true)) parts_.log("a commit failed and is tried again: " + answer.error->error.message);
  retrying_ = std::move(answer);
  retry_at_ = monotonic_now() + kRetryAfter;
}

// Nobody knows for how long the store fails: whoever still waits to be looked at is better told.
void Loop::refuse_waiting() {
  std::deque<WaitingSubmit> waiting;
  {
    const std::lock_guard lock(lanes_mutex_);
    waiting.swap(submit_lane_);
  }
  for (const WaitingSubmit& submit : waiting) {
    waiting_jobs_.fetch_sub(submit.submit.ends.size(), std::memory_order_relaxed);
    if (submit.reply) submit.reply(store_failing_error());
  }
}

// Everything that had to wait for its commit, in the order in which callers may see it: receipts, then ends.
void Loop::let_out(const std::shared_ptr<const Batch>& batch, Deferred deferred, Moment moment) {
  for (const effect::Accepted& accepted : deferred.accepted) {
    const auto owed = owed_submits_.extract(accepted.token);
    FUTURED_CHECK(!owed.empty(), "a submit is answered once");
    if (owed.mapped().sink && accepted.count != 0) {
      const JobRange jobs{accepted.first.value, accepted.first.value + accepted.count};
      owed.mapped().sink->accepted(jobs);
      watchers_.watch_batch(jobs, owed.mapped().sink);
    }
    owed.mapped().reply(Accepted{accepted.first, accepted.count, accepted.ids, accepted.old_items});
  }
  watchers_.publish(batch);
  outputs_.publish(*batch);
  for (const effect::Cancelled& cancelled : deferred.cancelled) {
    if (const auto owed = owed_cancels_.extract(cancelled.token)) owed.mapped()(cancelled.state);
  }
  if (!deferred.changes.empty() && !events_.append(std::move(deferred.changes))) step(event::Record{false}, moment);
  for (const effect::QueuePut& put : deferred.queues_put) {
    if (const auto owed = owed_queues_.extract(put.token)) owed.mapped()(put.queue);
  }
  for (const effect::ScheduleChanged& changed : deferred.schedules_changed) {
    if (const auto owed = owed_schedules_.extract(changed.token)) owed.mapped()(changed.row);
  }
  for (const effect::Moved& moved : deferred.moved) {
    if (const auto owed = owed_moves_.extract(moved.token)) owed.mapped()(moved);
  }
  for (const effect::QueuePurged& purged : deferred.queues_purged) {
    if (const auto owed = owed_purges_.extract(purged.token)) owed.mapped()(purged.cancelled);
  }
  for (const effect::QueueDeleted& deleted : deferred.queues_deleted) {
    if (const auto owed = owed_deletes_.extract(deleted.token)) owed.mapped()({});
  }
  for (const effect::SemaphorePut& put : deferred.semaphores_put) {
    if (const auto owed = owed_semaphores_.extract(put.token)) owed.mapped()({});
  }
  for (const effect::CacheCleared& cleared : deferred.caches_cleared) {
    if (const auto owed = owed_clears_.extract(cleared.token)) owed.mapped()(cleared.removed);
  }
  for (const effect::EventPut& put : deferred.events_put) {
    if (const auto owed = owed_events_.extract(put.token)) owed.mapped()({});
  }
  for (const effect::Registered& registered : deferred.registered) {
    if (const auto owed = owed_registers_.extract(registered.token)) owed.mapped()(registered.id);
  }
  for (const effect::Replayed& replayed : deferred.replayed) {
    if (const auto owed = owed_replays_.extract(replayed.token)) owed.mapped()(replayed.count);
  }
  for (effect::WaitTold& told : deferred.waits_told) pool_events_->tell(std::move(told));
  if (!deferred.deliveries.empty()) parts_.deliver(std::move(deferred.deliveries));
  for (const pool::SlotCursor& cursor : deferred.cursors) parts_.pools->release(cursor);
  for (const effect::Offer& offer : deferred.offers) {
    if (scheduler_->stands(offer)) make_offer(offer, moment);
  }
}

void Loop::count(const Batch& batch) {
  figures_.submitted += batch.jobs.size();
  figures_.retries += static_cast<std::uint64_t>(
      std::ranges::count_if(batch.attempts, [](const AttemptRow& row) { return row.charge != Charge::kLast; }));
  figures_.commit_jobs += batch.jobs.size() + batch.outcomes.size() + batch.attempts.size();
  const auto add = [this](JobState state) {
    switch (state) {
      case JobState::kScheduled:
      case JobState::kBlocked:
      case JobState::kQueued:
      case JobState::kRunning:
        return;
      case JobState::kSucceeded:
        ++figures_.succeeded;
        return;
      case JobState::kFailed:
        ++figures_.failed;
        return;
      case JobState::kCancelled:
        ++figures_.cancelled;
        return;
      case JobState::kTimedOut:
        ++figures_.timed_out;
        return;
    }
  };
  for (const JobRow& row : batch.jobs) add(row.ending.state);
  for (const OutcomeRow& row : batch.outcomes) add(row.ending.state);
}

}  // namespace futured
