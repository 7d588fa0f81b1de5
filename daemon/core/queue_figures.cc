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

std::optional<QueueFigures> Scheduler::queue(const std::string& name, Instant now) const {
  const auto found = queue_by_name_.find(name);
  if (found == queue_by_name_.end()) return std::nullopt;
  QueueFigures figures = figures_of(*found->second, now);
  for (const LaneFigures& lane : lanes()) {
    if (lane.queue == name) figures.add(lane);
  }
  return figures;
}

std::vector<QueueFigures> Scheduler::queues(const std::string& after, std::size_t most, Instant now) const {
  std::vector<const QueueState*> chosen;
  for (const auto& queue : queues_) {
    if (queue->row.name > after) chosen.push_back(queue.get());
  }
  std::ranges::sort(chosen, {}, [](const QueueState* queue) { return queue->row.name; });
  if (chosen.size() > most) chosen.resize(most);
  std::map<std::string, std::size_t> place;
  std::vector<QueueFigures> all;
  for (const QueueState* const queue : chosen) {
    place[queue->row.name] = all.size();
    all.push_back(figures_of(*queue, now));
  }
  for (const LaneFigures& lane : lanes()) {
    if (const auto found = place.find(lane.queue); found != place.end()) all[found->second].add(lane);
  }
  return all;
}

}  // namespace futured
