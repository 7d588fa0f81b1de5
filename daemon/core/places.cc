// Where a job that waits stands in its queue.
#include <algorithm>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

// 1 to `count`, as if the orders from `first` to `last` were spread evenly.
std::uint64_t spread(std::int64_t order, std::int64_t first, std::int64_t last, std::uint64_t count) {
  if (last <= first) return count;
  const double share = static_cast<double>(order - first) / static_cast<double>(last - first);
  const auto before = static_cast<std::uint64_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(count - 1));
  return before + 1;
}

// Handed to a worker and not known to be taken: these go first. `before`: only those that the lane's order puts before
// it.
std::uint64_t handed_out(const Lane& lane, const Job* before = nullptr) {
  std::uint64_t count = 0;
  for (const Slot* const slot : lane.pool->slots) {
    for (const Job* job = slot->offers.front(); job != nullptr; job = job->next) {
      const bool counts = before == nullptr || lane.key_of(*job) < lane.key_of(*before);
      if (job->phase == Phase::kOffered && job->lane == &lane && counts) ++count;
    }
  }
  return count;
}

QueuePlace place_in(const JobList& list, const Lane& lane, const Job& job) {
  std::uint64_t place = 1;
  const Job* at = job.previous;
  for (; at != nullptr && place <= limits::kPlaceJobsMax; at = at->previous) ++place;
  if (at == nullptr) return {place};
  place = list.size();
  at = job.next;
  for (; at != nullptr && list.size() - place < limits::kPlaceJobsMax; at = at->next) --place;
  if (at == nullptr) return {place};
  return {
      spread(lane.key_of(job).order, lane.key_of(*list.front()).order, lane.key_of(*list.back()).order, list.size()),
      true};
}

QueuePlace ready_place(const Lane& lane, const Job& job) {
  std::uint64_t before = 0;
  const std::int64_t rank = lane.key_of(job).rank;
  for (auto list = lane.ready.begin(); list->first < rank; ++list) before += list->second.size();
  QueuePlace place = place_in(lane.ready.at(rank), lane, job);
  place.position += before;
  return place;
}

}  // namespace

const Lane* Scheduler::lane_named(const std::string& queue, PoolId pool) const {
  const auto found = queue_by_name_.find(queue);
  if (found == queue_by_name_.end()) return nullptr;
  const auto lane = lanes_.find({found->second->row.id, pool});
  return lane != lanes_.end() ? lane->second.get() : nullptr;
}

QueuePlace Scheduler::place_of(JobId id, const JobSpec& spec, PoolId pool, WallTime since) const {
  if (const Job* const job = jobs_.find(id); job != nullptr) {
    if (job->phase == Phase::kOffered) return {handed_out(*job->lane, job) + 1};
    if (job->phase != Phase::kReady) return {};
    QueuePlace place = ready_place(*job->lane, *job);
    place.position += handed_out(*job->lane);
    return place;
  }
  const Lane* const lane = lane_named(spec.queue, pool);
  if (lane == nullptr || lane->backlog_jobs == 0) return {};
  const OrderKey key = order_key(lane->queue->row.discipline, spec, id, since);
  return {handed_out(*lane) + lane->ready_jobs + backlog_place(*lane, key), true};
}

// Of how many a more urgent rank has nothing is known here, so a job behind one is told the last place.
std::uint64_t Scheduler::backlog_place(const Lane& lane, OrderKey key) const {
  if (lane.boundary && key.rank != lane.boundary->rank) return lane.backlog_jobs;
  const bool is_lifo = lane.queue->row.discipline == Discipline::kLifo;
  const auto newest = static_cast<std::int64_t>(next_id_) - 1;
  const std::int64_t first = lane.boundary ? lane.boundary->order : is_lifo ? -newest : 1;
  return spread(key.order, first, is_lifo ? -1 : newest, lane.backlog_jobs);
}

}  // namespace futured
