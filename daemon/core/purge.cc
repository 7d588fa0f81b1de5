// Purging a queue: what is queued is cancelled a bounded number at a time, first what is resident, then what claims
// bring in from the backlog. Meanwhile nothing of the queue is handed out and nothing new comes in, so it comes to an
// end. It is not on disk: a daemon that ends half-way leaves the rest queued.
#include <algorithm>
#include <functional>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

// For its next attempt, or for the outcome of another job: in no list of its lane.
bool waits_aside(const Job& job) {
  return (job.phase == Phase::kDelayed && !job.slot.is_set()) || job.phase == Phase::kBlocked ||
         job.phase == Phase::kFollowing;
}

}  // namespace

void Scheduler::on(const event::PurgeQueue& asked, Moment now, Effects& effects) {
  const auto queue = queue_named(asked.name);
  if (!queue.ok()) {
    effects.refused.push_back({asked.token, queue.error()});
    return;
  }
  if (asked.who.uid != 0 && asked.who.uid != setup_.admin_uid) {
    effects.refused.push_back({asked.token,
                               {ErrorCode::kPermissionDenied,
                                "a purge of queue \"" + asked.name +
                                    "\" cancels jobs of every user, which only root and the daemon's own user may; "
                                    "fut cancel cancels yours"}});
    return;
  }
  QueueState& purged = **queue;
  const auto [purge, is_new] = purges_.try_emplace(purged.row.id);
  purge->second.tokens.push_back(asked.token);
  if (!is_new) return;
  purged.purging = true;
  let_go_paused(purged);
  // What no worker has taken comes back and is cancelled with the rest.
  const std::size_t before = effects.revokes.size();
  fetch_back_offers(purged, effects);
  for (std::size_t i = before; i < effects.revokes.size(); ++i) {
    purge->second.asked_back.insert(effects.revokes[i].fence.job);
  }
  timers_.add({now.at, TimerKind::kPurge, 0, purged.row.id.value});
}

void Scheduler::purge_step(QueueId id, Moment now, Effects& effects) {
  const auto purge = purges_.find(id);
  if (purge == purges_.end()) return;
  const auto again = [&] { timers_.add({now.at + Duration(limits::kPurgeStepNs), TimerKind::kPurge, 0, id.value}); };
  if (!held_.empty()) return again();  // which of them run is not known before the first turn ends
  const auto found = std::ranges::find_if(queues_, [&](const auto& queue) { return queue->row.id == id; });
  FUTURED_CHECK(found != queues_.end(), "a queue that is purged is not deleted");
  QueueState& queue = **found;
  const std::size_t cancelled = cancel_ready(queue, limits::kPurgeStepJobs, now, effects);
  purge->second.cancelled += cancelled;
  if (cancelled < limits::kPurgeStepJobs) {
    purge->second.cancelled += cancel_aside(purge->second, queue, limits::kPurgeStepJobs - cancelled, now, effects);
  }
  std::erase_if(purge->second.asked_back, [&](JobId job) {
    const Job* const there = jobs_.find(job);
    return there == nullptr || there->phase != Phase::kOffered;
  });
  if (has_queued(queue) || !purge->second.asked_back.empty()) {
    for (auto& [key, lane] : lanes_) {
      if (lane->queue == &queue) refill(*lane, effects);
    }
    return again();
  }
  for (const Token token : purge->second.tokens) effects.queues_purged.push_back({token, purge->second.cancelled});
  purges_.erase(purge);
  queue.purging = false;
  wake_lanes(queue, effects);
}

void Scheduler::purge_one(Job& job, Moment now, Effects& effects) {
  cancel_wishes_[job.id].reason = "its queue was purged";
  doom(job, Doom::kCancel, now, effects);
}

std::size_t Scheduler::cancel_ready(const QueueState& queue, std::size_t most, Moment now, Effects& effects) {
  std::size_t count = 0;
  for (auto& [key, lane] : lanes_) {
    while (lane->queue == &queue && lane->ready_jobs > 0 && count < most) {
      purge_one(*lane->first(), now, effects);
      ++count;
    }
  }
  return count;
}

// Those that wait for their next attempt, or for other jobs, are in no list of their lane. All of them are looked for
// at once, and the steps work that off: a walk over all jobs at each step would cost the square of them.
std::size_t Scheduler::cancel_aside(Purge& purge, const QueueState& queue, std::size_t most, Moment now,
                                    Effects& effects) {
  const auto is_aside = [&](const Job& job) { return job.lane->queue == &queue && waits_aside(job); };
  if (purge.aside.empty() && jobs_aside(queue) > 0) {
    jobs_.for_each([&](const Job& job) {
      if (is_aside(job)) purge.aside.push_back(job.id);
    });
    std::ranges::sort(purge.aside, std::greater());
  }
  std::size_t count = 0;
  while (!purge.aside.empty() && count < most) {
    Job* const job = jobs_.find(purge.aside.back());
    purge.aside.pop_back();
    if (job == nullptr || !is_aside(*job)) continue;
    purge_one(*job, now, effects);
    ++count;
  }
  return count;
}

// What is resident and neither ready nor in a worker's hands.
std::size_t Scheduler::jobs_aside(const QueueState& queue) const {
  std::size_t count = 0;
  for (const Lane* const lane : queue.lanes) count += lane->resident_jobs - lane->ready_jobs;
  if (count == 0) return 0;
  for (const auto& slot : slots_) {
    for (const Job* job = slot->offers.front(); job != nullptr; job = job->next) {
      if (job->lane->queue == &queue) --count;
    }
  }
  return count;
}

bool Scheduler::has_queued(const QueueState& queue) const {
  const auto has = [](const Lane* lane) { return lane->ready_jobs > 0 || lane->backlog_jobs > 0 || lane->claiming; };
  return std::ranges::any_of(queue.lanes, has) || jobs_aside(queue) > 0;
}

}  // namespace futured
