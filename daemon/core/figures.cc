#include <algorithm>

#include "daemon/core/scheduler.h"

namespace futured {

namespace {

JobState state_of(const Job& job) {
  switch (job.phase) {
    case Phase::kDelayed:
      return JobState::kScheduled;
    case Phase::kBlocked:
      return JobState::kBlocked;
    case Phase::kTaken:
      return JobState::kRunning;
    case Phase::kFree:
    case Phase::kReady:
    case Phase::kOffered:
    case Phase::kFollowing:
      return JobState::kQueued;
  }
  return JobState::kQueued;
}

LiveJob live_job(const Job& job, const Slot* slot) {
  LiveJob live{job.id, state_of(job), job.taken_at, job.attempt, job.epoch, job.slot};
  if (slot != nullptr) {
    live.worker_pid = slot->worker_pid;
    live.memory_bytes_max = memory_limit(*slot);
  }
  return live;
}

}  // namespace

std::optional<LiveJob> Scheduler::live(JobId id) const {
  const Job* const job = jobs_.find(id);
  if (job == nullptr) return std::nullopt;
  LiveJob live = live_job(*job, job->slot.is_set() ? slots_[job->slot.value - 1].get() : nullptr);
  live.stop = stop_of(*job);
  live.waits_for = waits_of(*job);
  return live;
}

LiveStop Scheduler::stop_of(const Job& job) const {
  if (job.phase != Phase::kTaken || job.doom == Doom::kNone) return {};
  LiveStop stop{job.doom, job.doomed_at, job.kill_at, slots_[job.slot.value - 1]->killing, {}};
  const Duration run_timeout = job.spec->spec.run_timeout;
  if (job.doom == Doom::kSoftTimeout && run_timeout.count() > 0) {
    stop.kill_at = std::min(stop.kill_at, job.taken_at + run_timeout);
  }
  const auto wish = cancel_wishes_.find(job.id);
  if (wish != cancel_wishes_.end()) stop.reason = wish->second.reason;
  return stop;
}

Result<ChildTerms> Scheduler::child_terms(const Fence& caller) const {
  const std::string name = "job " + std::to_string(caller.job.value);
  const Job* const job = jobs_.find(caller.job);
  const bool runs = job != nullptr && job->slot.is_set() && job->fence() == caller;
  if (!runs) {
    return Error{ErrorCode::kFailedPrecondition,
                 name + ": attempt " + std::to_string(caller.attempt) + " is over, and submits nothing any more"};
  }
  if (job->depth >= limits::kChildDepthMax) {
    return Error{ErrorCode::kResourceExhausted, name + " has " + std::to_string(job->depth) +
                                                    " jobs above it and may have no child; submit from one further up"};
  }
  return ChildTerms{{job->owner}, {caller.job, static_cast<std::uint8_t>(job->depth + 1)}};
}

std::vector<LiveJob> Scheduler::running() const {
  std::vector<LiveJob> found;
  for (const auto& slot : used_slots()) {
    for (const Job* job = slot->offers.front(); job != nullptr; job = job->next) {
      if (job->phase == Phase::kTaken) found.push_back(live_job(*job, slot.get()));
    }
  }
  std::ranges::sort(found, {}, &LiveJob::id);
  return found;
}

std::vector<LaneFigures> Scheduler::lanes() const {
  std::vector<LaneFigures> figures;
  std::map<const Lane*, std::uint64_t> running;
  for (const auto& slot : slots_) {
    for (const Job* job = slot->offers.front(); job != nullptr; job = job->next) ++running[job->lane];
  }
  for (const auto& [key, lane] : lanes_) {
    LaneFigures lane_figures{lane->queue->row.name, lane->pool->row.name, lane->queue->row.discipline,
                             lane->queue->row.paused, lane->ready_jobs + lane->following_jobs + lane->backlog_jobs};
    lane_figures.running = running[lane.get()];
    lane_figures.blocked = lane->blocked_jobs;
    lane_figures.delayed = lane->resident_jobs - lane->ready_jobs - lane->following_jobs - lane_figures.running -
                           lane->blocked_jobs + lane->delayed_jobs;
    figures.push_back(std::move(lane_figures));
  }
  // A queue that nothing was ever submitted to has no lane yet, but people expect to see it.
  for (const auto& queue : queues_) {
    const bool shown =
        std::ranges::any_of(lanes_, [&](const auto& entry) { return entry.second->queue == queue.get(); });
    if (!shown) figures.push_back({queue->row.name, "", queue->row.discipline, queue->is_halted()});
  }
  return figures;
}

std::vector<SlotFigures> Scheduler::slots() const {
  std::vector<SlotFigures> figures;
  for (const auto& slot : slots_) {
    SlotFigures one{slot->id, slot->pool->row.name, slot->ready,     static_cast<std::uint32_t>(slot->offers.size()),
                    {},       slot->mean,           slot->worker_pid};
    const Job* const head = slot->offers.front();
    if (head != nullptr) one.job = live_job(*head, slot.get());
    for (const Job* job = head; job != nullptr; job = job->next) {
      if (job->phase == Phase::kTaken) one.running.push_back(job->id);
    }
    one.runs_max = static_cast<std::uint32_t>(slot->pool->runs_per_slot);
    const auto& row = slot->is_spare ? slot->pool->spares : slot->pool->slots;
    const std::uint32_t place = slot->id.value - row.front()->id.value;
    one.is_listed = slot->is_listed;
    one.first_of_worker = SlotId{slot->id.value - place % static_cast<std::uint32_t>(slot->pool->slots_per_worker)};
    figures.push_back(std::move(one));
  }
  return figures;
}

std::uint64_t Scheduler::backlog_jobs() const {
  std::uint64_t jobs = 0;
  for (const auto& [key, lane] : lanes_) jobs += lane->backlog_jobs;
  return jobs;
}

std::uint64_t Scheduler::delayed_jobs() const {
  std::uint64_t jobs = 0;
  for (const auto& [key, lane] : lanes_) jobs += lane->delayed_jobs;
  return jobs;
}

bool Scheduler::is_nearly_done(Duration time) const {
  if (jobs_.size() == 0 || jobs_.size() > used_slots().size()) return false;
  std::size_t in_hand = 0;
  for (const auto& slot : used_slots()) {
    if (slot->offers.empty()) continue;
    if (slot->mean.count() == 0 || slot->mean > time || !slot->ready) return false;
    in_hand += slot->offers.size();
  }
  return in_hand == jobs_.size();
}

Duration Scheduler::slack() const {
  Duration least = Duration::max();
  for (const auto& slot : used_slots()) {
    if (slot->offers.empty()) continue;
    if (slot->pool->ready_jobs == 0 || slot->offers.size() == 1 || slot->pool->runs_many()) return Duration(0);
    least = std::min(least, slot->mean * static_cast<std::int64_t>(slot->offers.size() - 1));
  }
  return least == Duration::max() ? Duration(0) : least;
}

bool Scheduler::idle() const {
  if (jobs_.size() > 0 || keyed_jobs() > 0 || held_jobs_ > 0) return false;
  return std::ranges::all_of(lanes_, [](const auto& entry) { return entry.second->backlog_jobs == 0; });
}

void Scheduler::audit() const {
  std::size_t keyed = 0;
  for (const event::Submit& submit : keyed_.waiting) keyed += submit.ends.size();
  for (const event::Submit& submit : keyed_.asked) keyed += submit.ends.size();
  FUTURED_CHECK(keyed == keyed_.jobs, "keyed jobs that wait are counted");
  std::size_t bytes = 0;
  std::size_t in_slots = 0;
  std::map<const Lane*, std::size_t> resident;
  std::map<const Lane*, std::size_t> following;
  jobs_.for_each([&](const Job& job) {
    if (job.phase != Phase::kBlocked) bytes += job.cost();
    ++resident[job.lane];
    if (job.phase == Phase::kFollowing) ++following[job.lane];
    const bool in_slot = job.phase == Phase::kOffered || job.phase == Phase::kTaken;
    FUTURED_CHECK(in_slot == job.slot.is_set(), "a job names a slot while it is offered");
    FUTURED_CHECK(job.doom == Doom::kNone || in_slot, "a doomed job that does not run has ended");
    FUTURED_CHECK(!is_of_attempt(job.doom) || job.phase == Phase::kTaken, "an attempt that runs is what times out");
    in_slots += in_slot ? 1 : 0;
  });
  FUTURED_CHECK(delayed_.claiming || delayed_jobs() == 0 || delayed_.next, "what is delayed has a time to wait for");
  FUTURED_CHECK(bytes == window_bytes_, "the window counts every resident byte");
  audit_dependencies();

  for (const auto& [key, lane] : lanes_) {
    FUTURED_CHECK(resident[lane.get()] == lane->resident_jobs, "a lane counts its resident jobs");
    std::size_t ready = 0;
    for (const auto& [rank, list] : lane->ready) {
      FUTURED_CHECK(!list.empty(), "no empty rank is kept");
      std::optional<OrderKey> last;
      for (const Job* job = list.front(); job != nullptr; job = job->next, ++ready) {
        const OrderKey place = lane->key_of(*job);
        FUTURED_CHECK(job->phase == Phase::kReady && place.rank == rank, "a lane's list holds ready jobs of its rank");
        FUTURED_CHECK(!last || *last < place, "a lane is in order");
        last = place;
      }
    }
    FUTURED_CHECK(ready == lane->ready_jobs, "a lane counts its ready jobs");
    FUTURED_CHECK(following[lane.get()] == lane->following_jobs, "a lane counts its jobs that follow others");
    FUTURED_CHECK(!lane->has_next() || lane->queue->is_halted() || lane->runnable || lane->held,
                  "a lane with work is runnable");
    FUTURED_CHECK(lane->backlog_jobs > 0 || !lane->boundary, "a lane without backlog has no boundary");
  }

  std::map<const QueueState*, std::uint64_t> unfinished;
  for (const auto& [key, lane] : lanes_) unfinished[lane->queue] += lane->backlog_jobs + lane->delayed_jobs;
  jobs_.for_each([&](const Job& job) { unfinished[job.lane->queue] += job.counted || job.in_delayed ? 0 : 1; });
  std::size_t held = 0;
  for (const auto& queue : queues_) {
    FUTURED_CHECK(unfinished[queue.get()] == queue->jobs, "a queue counts its unfinished jobs");
    FUTURED_CHECK(queue->jobs > 0 || queue->bytes == 0, "a queue without jobs has no bytes");
    FUTURED_CHECK(queue->purging == purges_.contains(queue->row.id), "a queue knows that it is being purged");
    for (const HeldSubmit& one : queue->held) held += one.jobs;
  }
  FUTURED_CHECK(held == held_jobs_, "jobs that wait for room are counted");

  std::size_t offered = 0;
  for (const auto& slot : slots_) {
    for (const Job* job = slot->offers.front(); job != nullptr; job = job->next, ++offered) {
      FUTURED_CHECK(job->slot == slot->id, "a slot's offers name it");
      // Of a worker that was taken over, several may be done and not released.
      const bool alone = job == slot->offers.front() || job->phase == Phase::kTaken;
      FUTURED_CHECK(slot->memory_bytes_max == 0 || alone, "nothing lies behind an attempt with a limit of its own");
    }
  }
  for (const auto& slot : slots_) {
    const bool has_neighbours = slot->pool->runs_per_worker() > 1;
    FUTURED_CHECK(slot->strays.empty() || has_neighbours, "only what has neighbours is asked before it is killed");
  }
  for (const auto& pool : pools_) {
    const auto wanted = static_cast<std::size_t>(std::ranges::count_if(pool->slots, &Slot::wanted));
    FUTURED_CHECK(wanted == pool->workers * pool->slots_per_worker, "a pool counts its workers");
    FUTURED_CHECK(pool->workers >= pool->workers_min, "a pool keeps its least");
    const auto raised =
        std::ranges::count_if(pool->slots, [](const Slot* slot) { return slot->memory_bytes_max != 0; });
    FUTURED_CHECK(static_cast<std::size_t>(raised) == pool->raised_slots, "a pool counts its raised limits");
  }
  FUTURED_CHECK(offered == in_slots, "every offer is in its slot's list");
  audit_moves();
  audit_limits();
  audit_waits();
  audit_cache();
  deliveries_.audit();
  for (const auto& [id, wish] : cancel_wishes_) {
    FUTURED_CHECK(jobs_.find(id) != nullptr || loading_.contains(id), "a cancel waits for a job that is at hand");
    FUTURED_CHECK(!wish.waiters.empty() || !wish.hurried.empty() || wish.stored, "a cancel was asked for");
  }
}

}  // namespace futured
