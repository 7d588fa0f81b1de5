// What people are told of queues.
#include <algorithm>

#include "daemon/core/scheduler.h"

namespace futured {

namespace {

Duration percentile(std::vector<float>& us, double share) {
  if (us.empty()) return Duration(0);
  const auto at = static_cast<std::size_t>(share * static_cast<double>(us.size() - 1));
  std::ranges::nth_element(us, us.begin() + static_cast<std::ptrdiff_t>(at));
  return Duration(static_cast<std::int64_t>(us[at]) * 1000);
}

QueueFigures figures_of(const QueueState& queue, Instant now) {
  QueueFigures figures{.row = queue.row};
  figures.bytes = queue.bytes;
  figures.succeeded = queue.succeeded;
  figures.failed = queue.failed;
  figures.cancelled = queue.cancelled;
  figures.timed_out = queue.timed_out;
  figures.starts_per_second = queue.starts.per_second(now);
  std::vector<float> waits = queue.waits.us();
  figures.wait_p50 = percentile(waits, 0.50);
  figures.wait_p99 = percentile(waits, 0.99);
  return figures;
}

}  // namespace

void Scheduler::add_lanes(const std::map<const QueueState*, QueueFigures*>& wanted) const {
  std::map<const Lane*, std::uint64_t> running;
  for (const auto& slot : slots_) {
    for (const Job* job = slot->offers.front(); job != nullptr; job = job->next) ++running[job->lane];
  }
  for (const auto& [key, lane] : lanes_) {
    const auto found = wanted.find(lane->queue);
    if (found == wanted.end()) continue;
    const std::uint64_t runs = running[lane.get()];
    found->second->queued += lane->ready_jobs + lane->following_jobs + lane->backlog_jobs;
    found->second->running += runs;
    found->second->blocked += lane->blocked_jobs;
    found->second->delayed +=
        lane->resident_jobs - lane->ready_jobs - lane->following_jobs - runs - lane->blocked_jobs + lane->delayed_jobs;
  }
}

std::optional<QueueFigures> Scheduler::queue(const std::string& name, Instant now) const {
  const auto found = queue_by_name_.find(name);
  if (found == queue_by_name_.end()) return std::nullopt;
  QueueFigures figures = figures_of(*found->second, now);
  add_lanes({{found->second, &figures}});
  return figures;
}

std::vector<QueueFigures> Scheduler::queues(const std::string& after, std::size_t most, Instant now) const {
  std::vector<const QueueState*> chosen;
  for (const auto& queue : queues_) {
    if (queue->row.name > after) chosen.push_back(queue.get());
  }
  std::ranges::sort(chosen, {}, [](const QueueState* queue) { return queue->row.name; });
  if (chosen.size() > most) chosen.resize(most);
  std::vector<QueueFigures> all;
  for (const QueueState* const queue : chosen) all.push_back(figures_of(*queue, now));
  std::map<const QueueState*, QueueFigures*> wanted;
  for (std::size_t i = 0; i < chosen.size(); ++i) wanted[chosen[i]] = &all[i];
  add_lanes(wanted);
  return all;
}

}  // namespace futured
