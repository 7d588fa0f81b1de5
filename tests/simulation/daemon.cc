#include "tests/simulation/daemon.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <utility>

namespace futured::simulation {

Daemon::Daemon(World world, Moment now) : world_(std::move(world)) {
  auto snapshot = world_.store.snapshot();
  if (!snapshot.ok()) throw Violation("no snapshot: " + snapshot.error().message);
  world_.setup.epoch = Epoch{snapshot->epoch.value + 1};
  if (!world_.store.begin_epoch(world_.setup.epoch, world_.machine.instance()).ok()) throw Violation("no epoch");
  const auto recovered = world_.machine.attach();
  std::set<JobId> ids;
  for (const auto& run : recovered) ids.insert(run.fence.job);
  auto live = world_.store.load({ids.begin(), ids.end()});
  if (!live.ok()) throw Violation("no load: " + live.error().message);
  if (world_.tasks_known_at_start) {
    for (std::size_t i = 0; i < world_.tasks.size(); ++i) world_.setup.pools[i].tasks = world_.tasks[i];
  }
  world_.oracle.daemon_started(*snapshot);
  scheduler_ = std::make_unique<Scheduler>(world_.setup, std::move(*snapshot), std::move(*live), now, effects_);
  scheduler_->audit();
  world_.oracle.gathered(effects_.rows, std::nullopt);
  // Ids are reserved on disk before any leaves.
  const Batch first = std::exchange(effects_.rows, {});
  world_.oracle.sent(first);
  if (world_.store.commit(first)) throw Violation("the store refuses the first batch");
  world_.oracle.committed(first);
  world_.receivers.committed(first);

  std::set<SlotId> alive;
  for (const Notice& worker : world_.machine.live()) {
    alive.insert(worker.slot);
    step(event::SlotReady{worker.slot, worker.generation, 0, worker.memory_bytes_max}, now);
  }
  for (const auto& run : recovered) {
    say(run.done ? "adopt done" : "adopt", run.slot, run.fence);
    step(event::Adopt{run.slot, run.fence, run.taken_at, run.done}, now);
    const auto adopted = scheduler_->live(run.fence.job);
    if (adopted && adopted->slot == run.slot) world_.oracle.adopted(run.fence.job);
  }
  for (std::uint32_t slot = 1; slot <= scheduler_->slot_count(); ++slot) {
    if (!alive.contains(SlotId{slot}) && scheduler_->is_wanted(SlotId{slot})) world_.machine.start(SlotId{slot});
  }
  for (std::size_t i = 0; i < world_.tasks.size() && !world_.tasks_known_at_start; ++i) {
    if (world_.setup.pools[i].commands) continue;
    late_.push_back(event::PoolReady{scheduler_->pool_named(world_.setup.pools[i].name), world_.tasks[i]});
  }
  carry_out(now);
}

void Daemon::say(const char* what, SlotId slot, const Fence& fence) const {
  if (!world_.verbose) return;
  std::printf("  %s slot %u: job %llu attempt %u epoch %u\n", what, slot.value,
              static_cast<unsigned long long>(fence.job.value), fence.attempt, fence.epoch.value);
}

void Daemon::step(const Event& event, Moment now) {
  scheduler_->step(event, now, effects_);
  if (++steps_ % world_.audit_every == 0) scheduler_->audit();
  world_.oracle.gathered(effects_.rows, now.wall);
  if (scheduler_->window_bytes() > world_.window_bytes_max) {
    throw Violation("the window holds " + std::to_string(scheduler_->window_bytes()) + " bytes of " +
                    std::to_string(world_.window_bytes_max));
  }
}

void Daemon::turn(Moment now, bool thorough) {
  if (answer_) take_answer(now);
  for (Event& event : std::exchange(requests_, {})) {
    if (std::holds_alternative<event::Submit>(event) && !takes_submits()) {
      requests_.push_back(std::move(event));
    } else {
      step(event, now);
    }
  }
  if (!late_.empty() && (thorough || world_.random.chance(100))) {
    step(late_.back(), now);
    late_.pop_back();
  }
  poll(now, thorough);
  hear_calls(now, thorough);
  deliver(now, thorough);
  if (now.at >= scheduler_->next_timer()) step(event::TimerDue{}, now);
  const std::size_t waiting = effects_.offers_after_commit.size();
  step(event::TurnEnd{}, now);
  world_.oracle.handed_out(effects_.offers, effects_.offers_after_commit, waiting);
  check_size(effects_.offers);
  carry_out(now);
  send_batch();
}

void Daemon::poll(Moment now, bool thorough) {
  Machine& machine = world_.machine;
  for (std::uint32_t number = 1; number <= machine.slots(); ++number) {
    if (!thorough && world_.random.chance(400)) continue;  // its wake-up is late
    std::uint64_t left = thorough ? UINT64_MAX : 1 + world_.random.below(20);
    while (left-- > 0) {
      const Report* const found = machine.read(SlotId{number});
      if (found == nullptr) break;
      report(SlotId{number}, *found, now);
    }
  }
  while (thorough || !world_.random.chance(300)) {
    const auto notice = machine.next_notice();
    if (!notice) break;
    tell(*notice, now);
  }
}

void Daemon::hear_calls(Moment now, bool thorough) {
  while (thorough || !world_.random.chance(300)) {
    const auto call = world_.machine.next_call();
    if (!call) break;
    say(call->gives_up ? "gives up" : "waits", call->slot, call->fence);
    if (call->gives_up) {
      step(event::WaitGivenUp{call->slot, call->fence, call->number, call->wait}, now);
    } else {
      world_.oracle.waits(call->fence);
      // Who keeps permits that the others need waits for ever; that is for the task's author to know.
      step(event::Wait{call->slot, call->fence, call->number, call->wait, /*lends_permits=*/true, call->jobs}, now);
    }
  }
}

void Daemon::tell_wait(const effect::WaitTold& told, Moment now) {
  using What = effect::WaitTold::What;
  switch (told.what) {
    case What::kNudge:
      return world_.machine.nudge(told.slot, told.fence);
    case What::kOver:
    case What::kOpen:
    case What::kRefused:
      return world_.machine.answer(told.slot, told.fence, told.call, told.what == What::kOpen, now.at);
    case What::kRead:
      break;
  }
  event::WaitRead read{told.slot, told.fence, told.call, told.number, {}, {}};
  const auto reader = world_.store.reader();
  for (const JobId job : told.jobs) {
    const auto record = reader->get(job, false);
    if (!record.ok() || !*record) {
      read.wrong = Error{ErrorCode::kNotFound, "no job"};
    } else if (is_terminal((*record)->ending.state)) {
      read.ended.push_back(job);
    }
  }
  requests_.push_back(read);  // heard in a later turn
}

// What begins in a slot that had nothing finds the pool within its size, but for those who wait for others.
void Daemon::check_size(const std::vector<effect::Offer>& offers) const {
  std::set<std::string> began;
  const std::vector<SlotFigures> slots = scheduler_->slots();
  for (const effect::Offer& offer : offers) {
    const SlotFigures& slot = slots[offer.slot.value - 1];
    if (slot.offers == 1 && slot.runs_max == 1) began.insert(slot.pool);
  }
  for (const std::string& pool : began) {
    const auto setup = std::ranges::find(world_.setup.pools, pool, &PoolSetup::name);
    std::size_t active = 0;
    for (const SlotFigures& slot : slots) {
      if (slot.pool != pool || slot.offers == 0) continue;
      const bool waits = slot.running.size() == 1 && !scheduler_->live(slot.running.front())->waits_for.empty();
      active += waits ? 0 : 1;
    }
    if (active > setup->slots) {
      throw Violation("pool " + pool + " has " + std::to_string(active) + " jobs at once of " +
                      std::to_string(setup->slots));
    }
  }
}

void Daemon::report(SlotId slot, const Report& report, Moment now) {
  say(report.succeeded ? "succeeded" : "failed", slot, report.fence);
  event::Done done;
  done.slot = slot;
  done.fence = report.fence;
  done.status = report.succeeded ? event::DoneStatus::kSucceeded : event::DoneStatus::kFailed;
  done.do_not_retry = report.final;
  done.started_at = report.started;
  done.finished_at = report.finished;
  done.result = report.result;
  Cause cause;
  cause.kind = report.out_of_memory ? CauseKind::kOutOfMemory : CauseKind::kTaskError;
  cause.error_class = report.error_class;
  done.retry_after = report.retry_after;
  if (!report.succeeded) done.cause = &cause;
  step(done, now);
}

void Daemon::tell(const Notice& notice, Moment now) {
  if (notice.kind == Notice::Kind::kStarted) {
    return step(event::SlotReady{notice.slot, notice.generation, 0, notice.memory_bytes_max}, now);
  }
  event::SlotEnded ended{notice.slot, notice.generation, std::nullopt, {}, {}, {}};
  ended.cause.kind = CauseKind::kWorkerCrashed;
  const auto head = world_.machine.head(notice.slot);
  if (scheduler_->runs_many(notice.slot)) {
    inspect(notice.slot, now);
    ended.taken = world_.machine.culprit(notice.slot);
  } else if (head && head->taken) {
    ended.taken = head->fence;
    ended.taken_at = head->taken_at;
    ended.is_over_limit = notice.over_memory;
    if (notice.over_memory) ended.cause.kind = CauseKind::kOutOfMemory;
  }
  say("worker ended", notice.slot, ended.taken.value_or(Fence{}));
  step(ended, now);
}

void Daemon::carry_out(Moment now) {
  Machine& machine = world_.machine;
  while (!effects_.nothing_at_once()) {
    for (const effect::Refused& refused : std::exchange(effects_.refused, {})) {
      if (refused.token != 0) world_.oracle.heard_refused(refused);  // 0: a schedule asked, and hears nothing
    }
    effects_.schedule_problems.clear();
    for (const effect::StartWorker& start : std::exchange(effects_.starts, {})) {
      machine.start(start.slot, start.memory_bytes_max);
    }
    for (const effect::Stop& stop : std::exchange(effects_.stops, {})) {
      say("stop", stop.slot, stop.fence);
      machine.stop(stop.slot, stop.fence);
    }
    for (const effect::Kill& kill : std::exchange(effects_.kills, {})) {
      say("kill", kill.slot, {});
      machine.kill(kill.slot);
    }
    for (const effect::OfSlot& pulse : std::exchange(effects_.pulses, {})) {
      say("pulse", pulse.slot, pulse.fence);
      step(event::Pulse{pulse.slot, pulse.fence, machine.alive_at(pulse.slot, pulse.fence, now.at).value_or(now.at)},
           now);
    }
    for (const effect::OfSlot& asked : std::exchange(effects_.revokes, {})) {
      const bool revoked = revoke(asked);
      say(revoked ? "revoked" : "not revoked", asked.slot, asked.fence);
      step(event::Revoked{asked.slot, asked.fence, revoked}, now);
    }
    for (const SlotId slot : std::exchange(effects_.inspects, {})) inspect(slot, now);
    for (const effect::Offer& offer : std::exchange(effects_.offers, {})) make_offer(offer, now);
  }
  machine.publish();
}

void Daemon::inspect(SlotId slot, Moment now) {
  if (scheduler_->runs_many(slot)) {
    event::Taken told{slot, {}};
    for (const Machine::Head& run : world_.machine.taken(slot)) told.runs.push_back({run.fence, run.taken_at});
    return step(told, now);
  }
  const auto head = world_.machine.head(slot);
  event::Head told{slot, std::nullopt, {}};
  if (head && head->taken) told = {slot, head->fence, head->taken_at};
  step(told, now);
}

void Daemon::make_offer(const effect::Offer& offer, Moment now) {
  say("offer", offer.slot, offer.fence);
  world_.oracle.offered(offer);
  if (world_.machine.offer(offer.slot, offer.fence)) return;
  say("refused", offer.slot, offer.fence);
  step(event::OfferRefused{offer.slot, offer.fence}, now);
}

// An offer that waits for its commit is not in a ring yet: it is taken back here.
bool Daemon::revoke(const effect::OfSlot& revoke) {
  const auto is_it = [&](const effect::Offer& offer) { return offer.fence == revoke.fence; };
  if (std::erase_if(effects_.offers_after_commit, is_it) > 0) return true;
  if (std::erase_if(deferred_.offers, is_it) > 0) return true;
  return world_.machine.revoke(revoke.slot, revoke.fence);
}

// Receivers answer whenever they like, in any order.
void Daemon::deliver(Moment now, bool thorough) {
  std::vector<effect::Deliver> later;
  for (const effect::Deliver& deliver : std::exchange(with_receivers_, {})) {
    if (!thorough && world_.random.chance(500)) {
      later.push_back(deliver);
      continue;
    }
    const bool ok = !world_.random.chance(world_.deaf_per_mille);
    world_.receivers.answered(deliver.id, ok);
    step(event::Delivered{deliver.id, ok, ok ? "" : "refused", world_.retries}, now);
  }
  with_receivers_.insert(with_receivers_.end(), later.begin(), later.end());
}

void Daemon::send_batch() {
  if (in_flight_ || answer_) return;
  Deferred deferred;
  for (std::uint32_t number = 1; number <= world_.machine.slots(); ++number) {
    const SlotId slot{number};
    if (!world_.machine.is_released(slot)) deferred.cursors.push_back({slot, world_.machine.cursor(slot)});
  }
  if (effects_.rows.empty() && effects_.asks_nothing() && effects_.tells_nothing() && deferred.cursors.empty()) {
    return;
  }
  in_flight_ = std::make_unique<Batch>(std::exchange(effects_.rows, {}));
  world_.oracle.sent(*in_flight_);
  claims_ = std::exchange(effects_.claims, {});
  loads_ = std::exchange(effects_.loads, {});
  due_ = std::exchange(effects_.due, {});
  keys_ = std::exchange(effects_.key_queries, {});
  delayed_claims_ = std::exchange(effects_.delayed_claims, {});
  delivery_claims_ = std::exchange(effects_.delivery_claims, {});
  batch_queries_ = std::exchange(effects_.batch_queries, {});
  cache_reads_ = std::exchange(effects_.cache_reads, {});
  deferred.registered = std::exchange(effects_.registered, {});
  deferred.deliveries = std::exchange(effects_.deliveries, {});
  deferred.accepted = std::exchange(effects_.accepted, {});
  deferred.cancelled = std::exchange(effects_.cancelled, {});
  deferred.schedules_changed = std::exchange(effects_.schedules_changed, {});
  deferred.queues_put = std::exchange(effects_.queues_put, {});
  deferred.queues_purged = std::exchange(effects_.queues_purged, {});
  deferred.moved = std::exchange(effects_.moved, {});
  deferred.semaphores_put = std::exchange(effects_.semaphores_put, {});
  deferred.caches_cleared = std::exchange(effects_.caches_cleared, {});
  deferred.events_put = std::exchange(effects_.events_put, {});
  deferred.offers = std::exchange(effects_.offers_after_commit, {});
  deferred.waits_told = std::exchange(effects_.waits_told, {});
  deferred_ = std::move(deferred);
}

bool Daemon::commit(Moment now, Disk disk) {
  if (!in_flight_ || answer_ || (retry_at_ && now.at < *retry_at_)) return false;
  if (disk == Disk::kRollsBack) {
    retry_at_ = now.at + Duration(std::chrono::milliseconds(200));
    return true;
  }
  retry_at_.reset();
  if (const auto error = world_.store.commit(*in_flight_)) {
    if (world_.verbose) {
      for (const auto& r : in_flight_->specs) std::printf("  spec %d\n", static_cast<int>(r.id.value));
      for (const auto& r : in_flight_->outcomes)
        std::printf("  outcome %d %s\n", static_cast<int>(r.id.value), std::string(to_string(r.ending.state)).c_str());
      for (const auto& r : in_flight_->backlog_added)
        std::printf("  backlog+ %d\n", static_cast<int>(job_of(r.key).value));
      for (const auto& r : in_flight_->jobs) std::printf("  job %d\n", static_cast<int>(r.id.value));
    }
    throw Violation("the store refuses a batch: " + error->error.message);
  }
  world_.oracle.committed(*in_flight_);
  world_.receivers.committed(*in_flight_);
  if (world_.verbose)
    std::printf("  committed: %zu jobs, %zu ends\n", in_flight_->jobs.size(), in_flight_->outcomes.size());
  answer_.emplace();
  for (const Claim& claim : std::exchange(claims_, {})) {
    auto claimed = world_.store.claim(claim);
    if (!claimed.ok()) throw Violation("no claim: " + claimed.error().message);
    answer_->claimed.push_back(std::move(*claimed));
  }
  for (const DelayedClaim& claim : std::exchange(delayed_claims_, {})) {
    auto claimed = world_.store.claim(claim);
    if (!claimed.ok()) throw Violation("no delayed claim: " + claimed.error().message);
    answer_->delayed_claimed.push_back(std::move(*claimed));
  }
  for (const DeliveryClaim& claim : std::exchange(delivery_claims_, {})) {
    auto claimed = world_.store.claim(claim);
    if (!claimed.ok()) throw Violation("no claim: " + claimed.error().message);
    answer_->deliveries_claimed.push_back(std::move(*claimed));
  }
  for (const BatchQuery& query : std::exchange(batch_queries_, {})) {
    auto read = world_.store.read_batch(query);
    if (!read.ok()) throw Violation("no batch: " + read.error().message);
    answer_->batches.push_back(std::move(*read));
  }
  if (!cache_reads_.empty()) {
    auto read = world_.store.read_cache(cache_reads_);
    if (!read.ok()) throw Violation("no cache: " + read.error().message);
    answer_->cached.emplace(event::CacheRead{std::exchange(cache_reads_, {}), std::move(*read)});
  }
  load(std::exchange(loads_, {}), false);
  load(std::exchange(due_, {}), true);
  if (!keys_.empty()) {
    auto found = world_.store.find_keys(std::exchange(keys_, {}));
    if (!found.ok()) throw Violation("no keys: " + found.error().message);
    answer_->keys.emplace(event::KeysFound{std::move(*found)});
  }
  if (world_.retention && world_.random.chance(world_.trim_per_mille)) trim(now);
  return true;
}

// As the store's thread does: when all that was asked with the commit is answered.
void Daemon::trim(Moment now) {
  TrimQuestion question;
  question.policy = *world_.retention;
  question.now = now.wall;
  question.jobs_max = static_cast<std::uint32_t>(world_.random.between(1, 20));
  const auto trimmed = world_.store.trim(question);
  if (!trimmed.ok()) throw Violation("no step of retention: " + trimmed.error().message);
  if (world_.verbose && !trimmed->removed.empty()) std::printf("  trimmed: %zu jobs\n", trimmed->removed.size());
  for (const JobId job : trimmed->removed) {
    world_.oracle.trimmed(job, question);
    world_.receivers.trimmed(job);
  }
}

void Daemon::load(std::vector<JobId> ids, bool due) {
  if (ids.empty()) return;
  auto loaded = world_.store.load(ids);
  if (!loaded.ok()) throw Violation("no load: " + loaded.error().message);
  answer_->loaded.push_back({std::move(ids), std::move(*loaded), due});
}

void Daemon::take_answer(Moment now) {
  Answer answer = std::move(*answer_);
  answer_.reset();
  in_flight_.reset();
  const Deferred deferred = std::exchange(deferred_, {});
  for (const effect::Accepted& accepted : deferred.accepted) world_.oracle.heard_accepted(accepted);
  for (const effect::Cancelled& cancelled : deferred.cancelled) {
    if (cancelled.token != 0) world_.oracle.heard_cancelled(cancelled);
  }
  for (const effect::ScheduleChanged& changed : deferred.schedules_changed) world_.oracle.heard_schedule(changed.token);
  for (const effect::QueuePut& put : deferred.queues_put) world_.oracle.heard_queue(put.token);
  for (const effect::QueuePurged& purged : deferred.queues_purged) world_.oracle.heard_queue(purged.token);
  for (const effect::Moved& moved : deferred.moved) world_.oracle.heard_queue(moved.token);
  for (const effect::SemaphorePut& put : deferred.semaphores_put) world_.oracle.heard_queue(put.token);
  for (const effect::CacheCleared& cleared : deferred.caches_cleared) world_.oracle.heard_queue(cleared.token);
  for (const effect::EventPut& put : deferred.events_put) world_.oracle.heard_queue(put.token);
  for (const effect::Registered& registered : deferred.registered) {
    world_.oracle.heard_registered(registered.token);
    world_.receivers.heard_registered(registered);
  }
  for (const effect::Deliver& deliver : deferred.deliveries) {
    world_.receivers.told(deliver);
    with_receivers_.push_back(deliver);
  }
  for (const effect::WaitTold& told : deferred.waits_told) tell_wait(told, now);
  for (const Cursor& cursor : deferred.cursors) world_.machine.release(cursor.slot, cursor.until);
  for (const effect::Offer& offer : deferred.offers) {
    if (scheduler_->stands(offer)) make_offer(offer, now);
  }
  for (ClaimAnswer& claimed : answer.claimed) step(event::Claimed{std::move(claimed)}, now);
  for (event::Loaded& loaded : answer.loaded) step(std::move(loaded), now);
  for (DelayedAnswer& claimed : answer.delayed_claimed) step(event::DelayedClaimed{std::move(claimed)}, now);
  if (answer.keys) step(*std::move(answer.keys), now);
  for (DeliveryClaimAnswer& claimed : answer.deliveries_claimed) {
    step(event::DeliveriesClaimed{std::move(claimed)}, now);
  }
  for (BatchAnswer& batch : answer.batches) step(event::BatchRead{std::move(batch)}, now);
  if (answer.cached) step(*std::move(answer.cached), now);
}

void Daemon::die(bool commit_landed) {
  if (in_flight_ && !answer_ && !retry_at_ && commit_landed) {
    if (!world_.store.commit(*in_flight_)) {
      world_.oracle.committed(*in_flight_);
      world_.receivers.committed(*in_flight_);
    }
  }
  world_.oracle.daemon_died();
}

bool Daemon::is_quiet() const {
  return !in_flight_ && !answer_ && requests_.empty() && late_.empty() && effects_.rows.empty() &&
         effects_.asks_nothing() && effects_.tells_nothing() && with_receivers_.empty() &&
         !world_.machine.has_notices() && !world_.machine.has_calls();
}

Instant Daemon::next_timer() const {
  const Instant timer = scheduler_->next_timer();
  return retry_at_ ? std::min(timer, *retry_at_) : timer;
}

}  // namespace futured::simulation
