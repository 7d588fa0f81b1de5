#include "daemon/loop/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>

#include "base/payload.h"
#include "daemon/loop/pool_events.h"

namespace futured {

namespace {

constexpr Duration kStopPatience = std::chrono::seconds(2);

// While workers have enough to do, their reports are collected so often: a wake-up and a commit for each would take
// the processors from them.
constexpr Duration kNapMax = std::chrono::milliseconds(2);
constexpr Duration kNapMin = std::chrono::microseconds(100);

channel::StopReason to_channel(effect::StopWhy why) {
  switch (why) {
    case effect::StopWhy::kCancel:
      return channel::StopReason::kCancel;
    case effect::StopWhy::kTimeout:
      return channel::StopReason::kTimeout;
    case effect::StopWhy::kSoftTimeout:
      return channel::StopReason::kSoftTimeout;
  }
  return channel::StopReason::kCancel;
}

}  // namespace

Loop::Loop(Parts parts) : parts_(std::move(parts)) {
  wake_fd_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  epoll_fd_ = Fd(epoll_create1(EPOLL_CLOEXEC));
  FUTURED_CHECK(wake_fd_.is_open() && epoll_fd_.is_open(), "an eventfd and an epoll descriptor can be had");
  figures_.commit_us.reserve(LoopFigures::kCommitTimesKept);
}

Loop::~Loop() = default;

Status Loop::run() {
  last_turn_ = monotonic_now();
  while (!fatal_ && !is_over()) turn();
  gauge_->end(monotonic_now(), "turn");
  store_thread_.reset();
  turn_end_(false);
  if (fatal_) return *fatal_;
  if (stop_spawner_) return parts_.pools->shut_down_spawner();
  return {};
}

void Loop::turn() {
  const Moment moment = now();
  ++figures_.turns;
  gauge_->begin(moment.at);
  // A timer may have been set for a time that had passed: it waits since the turn that set it.
  if (moment.at >= scheduler_->next_timer()) gauge_->due(std::max(scheduler_->next_timer(), last_turn_));
  last_turn_ = moment.at;
  take_control();
  gauge_->stage("calls", coarse_now());
  const bool more = moment.at >= nap_until_ && parts_.pools->poll(*pool_events_, limits::kTurnEventsMax);
  gauge_->stage("reports of workers", coarse_now());
  if (moment.at >= reattach_at_ && !stopping_) {
    reattach(moment);
    gauge_->stage("attaching to the spawner", coarse_now());
  }
  take_submits(moment);
  gauge_->stage("submits", coarse_now());
  if (moment.at >= scheduler_->next_timer()) step(event::TimerDue{}, moment);
  if (moment.at >= fetch_at_ && !stopping_) fetch_next();
  if (!stopping_) step(event::TurnEnd{}, moment);
  carry_out(moment);
  // What was fetched back from a busy worker may go to another at once: nothing else might wake us for it.
  if (std::exchange(fetched_back_, false) && !stopping_) {
    step(event::TurnEnd{}, moment);
    carry_out(moment);
  }
  tell_full_queues();
  gauge_->stage("timers and offers", coarse_now());
#ifndef NDEBUG
  if (figures_.turns % 64 == 0) scheduler_->audit();
#endif
  if (!in_flight_ && !holds_back(moment)) send_batch(moment);
  gauge_->stage("commit", coarse_now());
  turn_end_(!more && is_at_rest());
  gauge_->stage("answers", coarse_now());
  if (more) return;
  if (hold_until_.ns == 0) {
    sleep();
  } else {
    // What is held back is due in a moment: falling asleep and being woken would take as long. But the worker may have
    // been put on this core, behind this very thread.
    gauge_->end(monotonic_now(), "turn");
    std::this_thread::yield();
  }
}

// No job is known that has not ended, and none is waiting to be.
bool Loop::is_at_rest() const {
  return !in_flight_ && scheduler_->idle() && waiting_jobs_.load(std::memory_order_relaxed) == 0;
}

bool Loop::is_over() const {
  if (!stopping_ || in_flight_) return false;
  return (!has_batch() && !retrying_) || monotonic_now() >= stop_by_;
}

// What sleep() would wake for. Of the scheduler's timers the first counts for all.
std::uint32_t Loop::armed_timers() const {
  const auto is_set = [](Instant at) { return at == Instant::never() ? 0U : 1U; };
  const bool retries = retrying_ || (store_failing_ && !in_flight_);
  return is_set(scheduler_->next_timer()) + (stopping_ ? 1U : is_set(reattach_at_)) + (retries ? 1U : 0U) +
         (!stopping_ && !in_flight_ && !retrying_ ? 1U : 0U) +  // the next step of retention
         (stopping_ ? 0U : is_set(fetch_at_));
}

// Until when reports may wait: half of the time that all workers have work for. Only after a turn that brought some,
// for else what was thought of their jobs is wrong.
bool Loop::naps() {
  if (std::exchange(reported_, false) && !stopping_) {
    const Duration nap = std::min(scheduler_->slack() / 2, kNapMax);
    if (nap >= kNapMin) nap_until_ = monotonic_now() + nap;
  }
  return nap_until_ > last_turn_;
}

// Waits for the next event. The flag is raised before the lanes are looked at a last time, so that no wake-up is lost.
void Loop::sleep() {
  sleeping_.store(true, std::memory_order_seq_cst);
  const bool naps = this->naps();
  bool busy = fatal_ || is_over() || (!naps && !parts_.pools->arm());
  if (!busy) {
    const std::lock_guard lock(lanes_mutex_);
    busy = !control_lane_.empty() || (!submit_lane_.empty() && (takes_submits() || store_is_failing()));
  }
  Instant until = std::min(scheduler_->next_timer(), stopping_ ? Instant::never() : reattach_at_);
  if (retrying_ || (store_failing_ && !in_flight_)) until = std::min(until, retry_at_);
  if (stopping_ && !in_flight_) until = std::min(until, stop_by_);
  if (!stopping_) until = std::min(until, fetch_at_);
  if (!stopping_ && !in_flight_ && !retrying_) until = std::min(until, trim_at_);
  if (!busy) {
    const Instant asleep = monotonic_now();
    if (naps) until = std::min(until, nap_until_);
    gauge_->set_timers(armed_timers());
    gauge_->end(asleep, "turn");
    const std::int64_t wait = std::max<std::int64_t>((until - asleep).count(), 0);
    const timespec timeout{.tv_sec = wait / 1'000'000'000, .tv_nsec = wait % 1'000'000'000};
    epoll_event events[8];
    const int ready = epoll_pwait2(epoll_fd_.get(), events, 8, until == Instant::never() ? nullptr : &timeout, nullptr);
    for (int i = 0; i < ready; ++i) {
      std::uint64_t count = 0;
      if (events[i].data.fd == wake_fd_.get()) (void)!read(wake_fd_.get(), &count, sizeof count);
    }
  }
  sleeping_.store(false, std::memory_order_seq_cst);
}

void Loop::wake() {
  if (!sleeping_.load(std::memory_order_seq_cst)) return;
  const std::uint64_t one = 1;
  (void)!write(wake_fd_.get(), &one, sizeof one);
}

void Loop::post(std::function<void()> what) {
  {
    const std::lock_guard lock(lanes_mutex_);
    if (lanes_since_.ns == 0) lanes_since_ = monotonic_now();
    control_lane_.push_back(std::move(what));
  }
  wake();
}

// Completions, cancels and questions never wait behind submits.
void Loop::take_control() {
  std::vector<std::function<void()>> taken;
  Instant since;
  {
    const std::lock_guard lock(lanes_mutex_);
    taken.swap(control_lane_);
    since = std::exchange(lanes_since_, {});
  }
  if (since.ns != 0) gauge_->due(since);
  for (const auto& what : taken) what();
}

// Intake pauses while more is gathered than one commit should carry, or while the store cannot commit at all.
bool Loop::takes_submits() const {
  return !stopping_ && !store_is_failing() &&
         effects_.rows.jobs.size() + effects_.rows.outcomes.size() < limits::kGatherJobsMax &&
         scheduler_->keyed_jobs() < limits::kGatherJobsMax;
}

void Loop::take_submits(Moment moment) {
  if (store_is_failing()) refuse_waiting();
  std::size_t jobs = 0;
  while (jobs < limits::kTurnJobsMax && takes_submits()) {
    WaitingSubmit next;
    {
      const std::lock_guard lock(lanes_mutex_);
      if (submit_lane_.empty()) break;
      next = std::move(submit_lane_.front());
      submit_lane_.pop_front();
    }
    jobs += next.submit.ends.size();
    waiting_jobs_.fetch_sub(next.submit.ends.size(), std::memory_order_relaxed);
    next.submit.token = next_token_++;
    owed_submits_.emplace(next.submit.token, OwedSubmit{std::move(next.sink), std::move(next.reply)});
    step(std::move(next.submit), moment);
  }
  if (waiting_jobs_.load(std::memory_order_relaxed) > limits::kSubmitLaneJobsMax / 2) return;
  std::vector<std::weak_ptr<OutcomeSink>> resumed;
  {
    const std::lock_guard lock(lanes_mutex_);
    resumed.swap(paused_);
  }
  for (const auto& paused : resumed) {
    if (const auto sink = paused.lock()) sink->resume();
  }
}

Intake Loop::submit(event::Submit submit, std::shared_ptr<OutcomeSink> sink, SubmitReply reply) {
  const std::size_t jobs = submit.ends.size();
  Intake intake = Intake::kGoOn;
  {
    const std::lock_guard lock(lanes_mutex_);
    if (lanes_since_.ns == 0) lanes_since_ = monotonic_now();
    if (waiting_jobs_.fetch_add(jobs, std::memory_order_relaxed) + jobs > limits::kSubmitLaneJobsMax && sink) {
      intake = Intake::kPause;
      paused_.push_back(sink);
    }
    submit_lane_.push_back({std::move(submit), std::move(sink), std::move(reply)});
  }
  wake();
  return intake;
}

void Loop::cancel(event::Cancel cancel, CancelReply reply) {
  post([this, cancel = std::move(cancel), reply = std::move(reply)]() mutable {
    cancel.token = next_token_++;
    owed_cancels_.emplace(cancel.token, std::move(reply));
    step(cancel, now());
  });
}

void Loop::put_queue(event::PutQueue put, QueueReply reply) {
  post([this, put = std::move(put), reply = std::move(reply)]() mutable {
    put.token = next_token_++;
    owed_queues_.emplace(put.token, std::move(reply));
    step(put, now());
  });
}

void Loop::put_schedule(event::PutSchedule put, ScheduleReply reply) {
  post([this, put = std::move(put), reply = std::move(reply)]() mutable {
    put.token = next_token_++;
    owed_schedules_.emplace(put.token, std::move(reply));
    step(put, now());
  });
}

void Loop::put_semaphore(event::PutSemaphore put, SemaphoreReply reply) {
  post([this, put = std::move(put), reply = std::move(reply)]() mutable {
    put.token = next_token_++;
    owed_semaphores_.emplace(put.token, std::move(reply));
    step(put, now());
  });
}

void Loop::change_schedule(event::ChangeSchedule change, ScheduleReply reply) {
  post([this, change = std::move(change), reply = std::move(reply)]() mutable {
    change.token = next_token_++;
    owed_schedules_.emplace(change.token, std::move(reply));
    step(change, now());
  });
}

void Loop::move_jobs(event::MoveJobs move, MoveReply reply) {
  post([this, move = std::move(move), reply = std::move(reply)]() mutable {
    move.token = next_token_++;
    owed_moves_.emplace(move.token, std::move(reply));
    step(move, now());
  });
}

void Loop::purge_queue(event::PurgeQueue purge, PurgeReply reply) {
  post([this, purge = std::move(purge), reply = std::move(reply)]() mutable {
    purge.token = next_token_++;
    owed_purges_.emplace(purge.token, std::move(reply));
    step(purge, now());
  });
}

void Loop::delete_queue(event::DeleteQueue asked, DeleteReply reply) {
  post([this, asked = std::move(asked), reply = std::move(reply)]() mutable {
    asked.token = next_token_++;
    owed_deletes_.emplace(asked.token, std::move(reply));
    step(asked, now());
  });
}

bool Loop::is_full(const std::string& queue) const {
  if (!has_full_queues_.load(std::memory_order_relaxed)) return false;
  const std::lock_guard lock(full_queues_mutex_);
  return std::ranges::find(full_queues_, queue) != full_queues_.end();
}

void Loop::tell_full_queues() {
  std::vector<std::string> full = scheduler_->full_queues();
  if (full.empty() && !has_full_queues_.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(full_queues_mutex_);
  has_full_queues_.store(!full.empty(), std::memory_order_relaxed);
  full_queues_ = std::move(full);
}

void Loop::drop_semaphore(event::DropSemaphore drop, SemaphoreReply reply) {
  post([this, drop = std::move(drop), reply = std::move(reply)]() mutable {
    drop.token = next_token_++;
    owed_semaphores_.emplace(drop.token, std::move(reply));
    step(drop, now());
  });
}

void Loop::clear_cache(event::ClearCache clear, ClearReply reply) {
  post([this, clear = std::move(clear), reply = std::move(reply)]() mutable {
    clear.token = next_token_++;
    owed_clears_.emplace(clear.token, std::move(reply));
    step(clear, now());
  });
}

void Loop::put_event(event::PutEvent put, EventReply reply) {
  post([this, put = std::move(put), reply = std::move(reply)]() mutable {
    put.token = next_token_++;
    owed_events_.emplace(put.token, std::move(reply));
    step(put, now());
  });
}

void Loop::reload_pool(std::string pool, ReloadReply reply) {
  post([this, pool = std::move(pool), reply = std::move(reply)] {
    if (const Status begun = parts_.pools->reload(pool); !begun.ok()) return reply(begun);
    owed_reloads_[pool] = reply;
  });
}

void Loop::register_callback(event::Register asked, RegisterReply reply) {
  post([this, asked = std::move(asked), reply = std::move(reply)]() mutable {
    asked.token = next_token_++;
    owed_registers_.emplace(asked.token, std::move(reply));
    step(asked, now());
  });
}

void Loop::replay_callbacks(event::Replay replay, ReplayReply reply) {
  post([this, replay = std::move(replay), reply = std::move(reply)]() mutable {
    replay.token = next_token_++;
    owed_replays_.emplace(replay.token, std::move(reply));
    step(replay, now());
  });
}

void Loop::delivered(event::Delivered delivered) {
  post([this, delivered = std::move(delivered)] { step(delivered, now()); });
}

void Loop::watch(std::vector<JobRange> ranges, std::shared_ptr<OutcomeSink> sink, std::function<void()> ready) {
  post([this, ranges = std::move(ranges), sink = std::move(sink), ready = std::move(ready)] {
    watchers_.watch(ranges, sink);
    ready();
  });
}

void Loop::watch_batch(JobRange jobs, std::shared_ptr<OutcomeSink> sink) {
  post([this, jobs, sink = std::move(sink)] { watchers_.watch_batch(jobs, sink); });
}

void Loop::forget(std::vector<JobRange> ranges, std::shared_ptr<OutcomeSink> sink) {
  post([this, ranges = std::move(ranges), sink = std::move(sink)] { watchers_.forget(ranges, sink.get()); });
}

void Loop::forget_batches(std::shared_ptr<OutcomeSink> sink) {
  post([this, sink = std::move(sink)] {
    watchers_.forget_batches(sink.get());
    // Batches that are not accepted yet would be watched for a sink that is gone.
    for (auto& [token, owed] : owed_submits_) {
      if (owed.sink == sink) owed.sink.reset();
    }
    const std::lock_guard lock(lanes_mutex_);
    for (WaitingSubmit& waiting : submit_lane_) {
      if (waiting.sink == sink) waiting.sink.reset();
    }
  });
}

void Loop::listen(std::shared_ptr<EventListener> listener, std::function<void()> ready) {
  post([this, listener = std::move(listener), ready = std::move(ready)] {
    step(event::Record{true}, now());
    events_.listen(listener);
    ready();
  });
}

void Loop::follow(JobId job, std::shared_ptr<OutputSink> sink) {
  post([this, job, sink = std::move(sink)] { outputs_.follow(job, sink); });
}

void Loop::unfollow(JobId job, std::shared_ptr<OutputSink> sink) {
  post([this, job, sink = std::move(sink)] { outputs_.forget(job, sink.get()); });
}

void Loop::at_turn_end(std::function<void(bool)> what) {
  post([this, what = std::move(what)] { turn_end_ = what; });
}

void Loop::look(std::function<void(const Loop&)> look) {
  post([this, look = std::move(look)] { look(*this); });
}

void Loop::stop(Spawner spawner) {
  post([this, spawner] {
    if (!stopping_) {
      scheduler_->return_ids(effects_);
      stop_by_ = monotonic_now() + kStopPatience;
    }
    stopping_ = true;
    // A job that came in a moment ago is no reason to kill the workers under it.
    const bool idle = scheduler_->idle() && waiting_jobs_.load(std::memory_order_relaxed) == 0;
    if (spawner == Spawner::kStop || (spawner == Spawner::kStopIfIdle && idle)) stop_spawner_ = true;
  });
}

// What must not wait for a commit. Answers to revokes and inspections go straight back into the core, until it has
// nothing more to ask.
void Loop::carry_out(Moment moment) {
  while (!effects_.nothing_at_once()) {
    for (const effect::Refused& refused : std::exchange(effects_.refused, {})) answer(refused);
    for (const effect::ScheduleProblem& problem : std::exchange(effects_.schedule_problems, {})) {
      parts_.log("schedule \"" + problem.name + "\": a firing is lost: " + problem.error.message);
    }
    for (const effect::StartWorker& start : std::exchange(effects_.starts, {})) {
      parts_.pools->start_worker(scheduler_->pool_name(start.pool), start.slot, start.memory_bytes_max);
    }
    for (const effect::Stop& stop : std::exchange(effects_.stops, {})) {
      parts_.pools->stop(stop.slot, stop.fence, to_channel(stop.why));
    }
    for (const effect::Kill& kill : std::exchange(effects_.kills, {})) {
      using Last = pool::LocalPools::Last;
      parts_.pools->kill(kill.slot, kill.tells_stacks ? Last::kStacks : Last::kNothing);
    }
    for (const effect::OfSlot& pulse : std::exchange(effects_.pulses, {})) {
      // Finished, and its report on the way: that is a sign of life as well.
      const Instant alive_at = parts_.pools->alive_at(pulse.slot, pulse.fence).value_or(moment.at);
      outputs_.alive(pulse.fence, moment.wall + (std::min(alive_at, moment.at) - moment.at));
      step(event::Pulse{pulse.slot, pulse.fence, alive_at}, moment);
    }
    for (const effect::OfSlot& revoke : std::exchange(effects_.revokes, {})) {
      const bool fetched = revoke_offer(revoke);
      fetched_back_ = fetched_back_ || fetched;
      step(event::Revoked{revoke.slot, revoke.fence, fetched}, moment);
    }
    for (const SlotId slot : std::exchange(effects_.inspects, {})) step(inspect(slot), moment);
    for (const effect::Offer& offer : std::exchange(effects_.offers, {})) make_offer(offer, moment);
  }
  parts_.pools->publish();
}

void Loop::answer(const effect::Refused& refused) {
  if (const auto submit = owed_submits_.extract(refused.token)) {
    if (submit.mapped().reply) submit.mapped().reply(refused.error);
  } else if (const auto cancel = owed_cancels_.extract(refused.token)) {
    cancel.mapped()(refused.error);
  } else if (const auto queue = owed_queues_.extract(refused.token)) {
    queue.mapped()(refused.error);
  } else if (const auto schedule = owed_schedules_.extract(refused.token)) {
    schedule.mapped()(refused.error);
  } else if (const auto purge = owed_purges_.extract(refused.token)) {
    purge.mapped()(refused.error);
  } else if (const auto move = owed_moves_.extract(refused.token)) {
    move.mapped()(refused.error);
  } else if (const auto deletion = owed_deletes_.extract(refused.token)) {
    deletion.mapped()(refused.error);
  } else if (const auto semaphore = owed_semaphores_.extract(refused.token)) {
    semaphore.mapped()(refused.error);
  } else if (const auto named = owed_events_.extract(refused.token)) {
    named.mapped()(refused.error);
  } else if (const auto asked = owed_registers_.extract(refused.token)) {
    asked.mapped()(refused.error);
  }
}

void Loop::make_offer(const effect::Offer& offer, Moment moment) {
  if (!fetched_offers_.empty() && waits_behind_fetched(offer)) return;
  if (!names_segment(offer.payload.view())) return offer_with(offer, std::vector<int>(), moment);
  auto found = parts_.segments_of(offer.payload.view());
  if (!found.ok() && found.error().code == ErrorCode::kUnavailable) return fetch_for(offer);
  offer_with(offer, found, moment);
}

void Loop::offer_with(const effect::Offer& offer, const Result<std::vector<int>>& descriptors, Moment moment) {
  if (!descriptors.ok()) {
    const Cause lost{.kind = CauseKind::kPayloadLost, .message = descriptors.error().message};
    return step(event::Done{.slot = offer.slot,
                            .fence = offer.fence,
                            .status = event::DoneStatus::kFailed,
                            .do_not_retry = true,
                            .cause = &lost},
                moment);
  }
  if (!parts_.pools->offer(
          {offer.slot, offer.fence, offer.task, offer.follow, offer.payload.view(), *descriptors, offer.run_timeout})) {
    step(event::OfferRefused{offer.slot, offer.fence}, moment);
  }
}

Event Loop::inspect(SlotId slot) {
  if (scheduler_->runs_many(slot)) return taken_by(slot, parts_.pools->newly_taken(slot));
  const auto head = parts_.pools->head(slot);
  const bool is_read_for = is_fetching_for(slot);
  if (!head || head->state == channel::RunState::kOffered) return event::Head{slot, std::nullopt, {}, is_read_for};
  return event::Head{slot, head->fence, head->taken_at, is_read_for};
}

event::Taken Loop::taken_by(SlotId slot, const std::vector<channel::Head>& runs) const {
  event::Taken taken{slot, {}, is_fetching_for(slot)};
  for (const channel::Head& run : runs) taken.runs.push_back({run.fence, run.taken_at});
  return taken;
}

// An at-most-once offer that waits for its commit is not in a ring yet: it is taken back here.
bool Loop::revoke_offer(const effect::OfSlot& revoke) {
  const auto is_it = [&](const effect::Offer& offer) { return offer.fence == revoke.fence; };
  if (std::erase_if(effects_.offers_after_commit, is_it) > 0) return true;
  if (std::erase_if(deferred_.offers, is_it) > 0) return true;
  const auto is_fetched = [&](const FetchedOffer& waiting) { return waiting.offer.fence == revoke.fence; };
  if (!fetched_offers_.empty() && std::erase_if(fetched_offers_, is_fetched) > 0) {
    fetch_at_ = monotonic_now();  // others may have waited behind it
    return true;
  }
  return parts_.pools->revoke(revoke.slot, revoke.fence);
}

}  // namespace futured
