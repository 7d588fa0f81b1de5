#include <algorithm>
#include <iterator>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

// Where to begin to look for the place of a job among others. Each that was put there before is a mark on the way, so
// that many of them, in whatever order, do not walk through the whole list each. The first ones come back from workers
// or their backoff, and are older than nearly all that wait.
Job* near_of(const Lane& lane, const JobList& list, OrderKey key) {
  const auto behind = lane.came_back.upper_bound(key);
  if (behind != lane.came_back.begin() && std::prev(behind)->first.rank == key.rank) return std::prev(behind)->second;
  if (behind != lane.came_back.end() && behind->first.rank == key.rank) return behind->second;
  return lane.queue->row.discipline == Discipline::kLifo ? list.back() : list.front();
}

}  // namespace

Lane& Scheduler::lane_of(QueueState& queue, PoolState& pool) {
  auto& lane = lanes_[{queue.row.id, pool.row.id}];
  if (!lane) {
    lane = std::make_unique<Lane>();
    lane->queue = &queue;
    lane->pool = &pool;
    queue.lanes.push_back(lane.get());
    if (wants_groups(*lane)) lane->groups = std::make_unique<Groups>();
  }
  return *lane;
}

// A lane with a backlog takes in only what sorts before it. One without starts a backlog when memory is used up.
bool Scheduler::goes_to_backlog(const Lane& lane, OrderKey key, std::size_t cost) const {
  if (lane.backlog_jobs > 0) {
    if (lane.boundary) return key > *lane.boundary;
    // In a lifo lane a new job sorts before everything, whatever the backlog holds, and so does one that goes to the
    // front of a fifo lane. Of a priority queue's backlog no rank is known here.
    return key.order > 0 || lane.queue->row.discipline == Discipline::kPriority;
  }
  if (window_bytes_ + cost <= window_bytes_max_ || lane.in_window() < limits::kWindowJobsPerQueueMin) return false;
  return lane.ready_jobs == 0 || key > lane.key_of(*lane.ready.rbegin()->second.back());
}

// A job goes to, or goes back to, the part of the backlog that no claim has brought in. `has_row`: it is there already.
void Scheduler::spill(Lane& lane, OrderKey key, bool has_row, Effects& effects) {
  if (lane.backlog_jobs == 0) {
    lane.boundary.reset();
    if (lane.ready_jobs > 0) lane.boundary = lane.key_of(*lane.ready.rbegin()->second.back());
  }
  ++lane.backlog_jobs;
  if (!has_row) effects.rows.backlog_added.push_back(lane.backlog_key(key));
  if (lane.claiming && (!lane.spilled_first || key < *lane.spilled_first)) lane.spilled_first = key;
}

// Something urgent came in over the budget: what runs last gives way.
void Scheduler::spill_excess(Lane& lane, Moment now, Effects& effects) {
  while (window_bytes_ > window_bytes_max_ && lane.ready_jobs > limits::kWindowJobsPerQueueMin) {
    Job& last = *lane.ready.rbegin()->second.back();
    // On disk it could not be told from one that was lost with a daemon.
    if (last.spec->spec.at_most_once && last.attempt > 0) return;
    const OrderKey key = lane.key_of(last);
    unready(last);
    if (!last.counted) spill(lane, key, last.in_backlog, effects);
    back_to_backlog(last, now, effects);
    // Never forward: a job that came back may have lain beyond the boundary.
    const OrderKey end = lane.key_of(*lane.ready.rbegin()->second.back());
    if (!lane.boundary || end < *lane.boundary) lane.boundary = end;
    lane.claim_is_void = true;
  }
}

void Scheduler::make_ready(Job& job) {
  Lane& lane = *job.lane;
  const OrderKey key = lane.key_of(job);
  JobList& list = lane.ready[key.rank];
  if (list.empty() || key > lane.key_of(*list.back())) {
    list.push_back(job);
  } else {
    Job* place = near_of(lane, list, key);
    while (place != nullptr && lane.key_of(*place) > key) place = place->previous;
    while (place != nullptr && lane.key_of(*place->next) < key) place = place->next;
    list.insert_after(job, place);
    lane.came_back[key] = &job;
  }
  job.phase = Phase::kReady;
  ++lane.ready_jobs;
  ++lane.pool->ready_jobs;
  if (lane.groups) join_group(job);
  list_if_runnable(lane);
}

void Scheduler::unready(Job& job) {
  Lane& lane = *job.lane;
  if (lane.groups) leave_group(job);
  const OrderKey key = lane.key_of(job);
  if (!lane.came_back.empty()) lane.came_back.erase(key);
  const auto list = lane.ready.find(key.rank);
  list->second.remove(job);
  if (list->second.empty()) lane.ready.erase(list);
  job.phase = Phase::kDelayed;
  --lane.ready_jobs;
  --lane.pool->ready_jobs;
}

void Scheduler::refill(Lane& lane, Effects& effects) {
  if (lane.backlog_jobs == 0 || lane.claiming || lane.open_jobs() > limits::kClaimJobsMax / 2) return;
  const bool is_of_use = lane.queue->purging || (!lane.pool->slots.empty() && !lane.queue->row.paused);
  if (!is_of_use) return;  // nothing would run them, or cancel them
  const std::uint64_t room = window_bytes_ < window_bytes_max_ ? window_bytes_max_ - window_bytes_ : 0;
  if (room == 0 && lane.in_window() >= limits::kWindowJobsPerQueueMin) return;
  // At least the minimum of a lane, so that a window that is nearly full does not make claims of one job each.
  const std::uint64_t bytes = std::max(room, limits::kClaimBytesMin);
  const auto jobs = static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(room / sizeof(Job), limits::kWindowJobsPerQueueMin, limits::kClaimJobsMax));
  effects.claims.push_back({lane.queue->row.id, lane.pool->row.id, lane.boundary, jobs, bytes});
  lane.claiming = true;
  lane.claim_after = lane.boundary;
  lane.claim_is_void = false;
  lane.spilled_first.reset();
  lane.ended_meanwhile.clear();
}

// What happened since the claim was made overrides its answer: keys that were spilled inside its range end what can be
// taken from it, jobs that ended or became resident on another way are passed over.
void Scheduler::on(const event::Claimed& claimed, Moment now, Effects& effects) {
  const ClaimAnswer& answer = claimed.answer;
  Lane& lane = *lanes_.at({answer.claim.queue, answer.claim.pool});  // no queue is deleted while this is under way
  if (!lane.claim_is_void) {
    know_specs(answer.specs);
    for (const ClaimedJob& row : answer.jobs) {
      if (lane.spilled_first && row.key >= *lane.spilled_first) break;
      lane.boundary = row.key;
      if (lane.ended_meanwhile.contains(row.job.id)) continue;
      if (Job* const resident = jobs_.find(row.job.id); resident != nullptr) {
        if (resident->counted) --lane.backlog_jobs;
        resident->counted = false;
        continue;
      }
      --lane.backlog_jobs;
      take_up(row.job, lane, now, effects);
    }
    if (lane.backlog_jobs == 0) lane.boundary.reset();
  }
  lane.claiming = false;
  lane.ended_meanwhile.clear();
  refill(lane, effects);
}

// The job ends: its row in the backlog goes with it.
void Scheduler::leave_backlog(Job& job, Effects& effects) {
  if (!job.in_backlog) return;
  Lane& lane = *job.lane;
  const OrderKey key = lane.key_of(job);
  effects.rows.backlog_removed.push_back(lane.backlog_key(key));
  if (lane.claiming && (!lane.claim_after || key > *lane.claim_after)) lane.ended_meanwhile.insert(job.id);
  if (!job.counted) return;
  if (--lane.backlog_jobs == 0) {
    lane.boundary.reset();
    lane.claim_is_void = true;
  }
}

}  // namespace futured
