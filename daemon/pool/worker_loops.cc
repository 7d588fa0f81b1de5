#include "daemon/pool/worker_loops.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "worker/channel/channel.h"

namespace futured::pool {

namespace {

std::optional<Duration> known(std::int64_t ns) { return ns < 0 ? std::nullopt : std::optional(Duration(ns)); }

// A worker wrote the times.
SlowStep step_of(std::uint64_t job, std::int64_t began_ns, Duration took, Instant now) {
  const Duration ago = now - Instant{std::clamp<std::int64_t>(began_ns, 0, now.ns)};
  return {.what = "job " + std::to_string(job),
          .started_at = wall_now() + -ago,
          .took = std::clamp(took, Duration(0), Duration(now.ns))};
}

}  // namespace

struct WorkerLoops::Watched {
  std::string name;
  channel::ChannelMap map;
};

WorkerLoops::WorkerLoops() = default;
WorkerLoops::~WorkerLoops() = default;

void WorkerLoops::started(SlotId slot, const std::string& pool, int memory) {
  auto map = channel::ChannelMap::map(memory);
  if (!map || map->runs_at_once() <= 1) return ended(slot);
  const std::lock_guard lock(mutex_);
  watched_[slot.value] =
      std::make_unique<Watched>(Watched{"worker " + pool + "/" + std::to_string(slot.value), std::move(*map)});
}

void WorkerLoops::ended(SlotId slot) {
  const std::lock_guard lock(mutex_);
  watched_.erase(slot.value);
}

std::vector<LoopReading> WorkerLoops::read(Instant now) const {
  const std::lock_guard lock(mutex_);
  std::vector<LoopReading> readings;
  for (const auto& [slot, watched] : watched_) {
    const channel::LoopFigures& figures = watched->map.loop_figures();
    LoopReading& reading = readings.emplace_back();
    reading.name = watched->name;
    reading.turns = figures.turns.load(std::memory_order_relaxed);
    reading.descriptor_names = {"channel"};
    reading.connections = figures.descriptors.load(std::memory_order_relaxed);
    reading.timers = figures.timers.load(std::memory_order_relaxed);
    reading.lag = known(figures.lag_ns.load(std::memory_order_relaxed));
    reading.lag_max = known(figures.lag_max_ns.load(std::memory_order_relaxed));
    const std::uint64_t count = figures.slow_count.load(std::memory_order_acquire);
    const std::uint64_t kept = std::min<std::uint64_t>(count, limits::kSlowStepsKept);
    for (std::uint64_t i = count - kept; i < count; ++i) {
      const auto& slow = figures.slow[i % limits::kSlowStepsKept];
      reading.slow.push_back(step_of(slow.job.load(std::memory_order_relaxed),
                                     slow.began_at_ns.load(std::memory_order_relaxed),
                                     Duration(slow.took_ns.load(std::memory_order_relaxed)), now));
    }
    const std::int64_t began_ns = figures.began_at_ns.load(std::memory_order_relaxed);
    const std::uint32_t running = watched->map.header().running.load(std::memory_order_acquire);
    if (began_ns <= 0 || began_ns > now.ns || running == 0 || running > watched->map.run_places()) continue;
    const Duration took = now - Instant{began_ns};
    if (took.count() < limits::kSlowStepNs) continue;
    reading.slow.push_back(step_of(watched->map.place(running - 1).fence.job, began_ns, took, now));
    reading.slow.back().under_way = true;
  }
  return readings;
}

}  // namespace futured::pool
