// LoopGauge: how one event loop fares: its turns, how late they come, and what held it up. Told by the loop's own
// thread, read by any.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "base/time.h"

namespace futured {

struct SlowStep {
  std::string what;
  WallTime started_at;
  Duration took{0};
  bool under_way = false;  // `took` is what it has taken so far
};

struct LoopReading {
  std::string name;
  std::uint64_t turns = 0;
  std::vector<std::string> descriptor_names;  // watched all the time, or while what they belong to is there
  std::uint32_t connections = 0;              // watched besides
  std::uint32_t timers = 0;                   // armed
  // How long what a turn did had waited for it: of the last turn, and the most since the start. Nothing: no turn of
  // this loop has known since when.
  std::optional<Duration> lag;
  std::optional<Duration> lag_max;
  std::vector<SlowStep> slow;  // the last ones over limits::kSlowStepNs, oldest first
};

// Reads no clock but for a slow step: a loop hands in the times that it has. A turn costs a few relaxed stores, and a
// loop that sleeps costs nothing. What a lag is counted from is the loop's to say; each does where it calls due().
class LoopGauge {
 public:
  explicit LoopGauge(std::string name, std::vector<std::string> descriptor_names = {});
  LoopGauge(const LoopGauge&) = delete;
  LoopGauge& operator=(const LoopGauge&) = delete;

  // ---- The loop's thread.
  // A turn begins; one that has not ended ends here.
  void begin(Instant at);
  // Something that this turn does was due, or handed in, at `since`. The earliest counts.
  void due(Instant since);
  // `what` was done since the turn's begin or its last stage. A literal. A slow turn is told by its longest stage;
  // coarse_now() is good enough for that.
  void stage(std::string_view what, Instant at);
  // Before the loop waits. `what`: of a turn without stages. Nothing happens when no turn has begun.
  void end(Instant at, std::string_view what);
  void set_timers(std::uint32_t armed) { timers_.store(armed, std::memory_order_relaxed); }
  void set_connections(std::uint32_t open) { connections_.store(open, std::memory_order_relaxed); }

  // ---- Any thread.
  void watch(std::vector<std::string> descriptor_names);  // also
  // A turn, as a whole: for a loop that is not ours, where one may overlap another.
  void ran(std::string_view what, Instant began, Instant ended);
  [[nodiscard]] LoopReading read(Instant now) const;

 private:
  void note(std::string_view what, Duration took);

  const std::string name_;
  std::atomic<std::uint64_t> turns_{0};
  std::atomic<std::int64_t> began_ns_{0};  // 0: no turn is under way
  std::atomic<std::int64_t> lag_ns_{-1};   // -1: not known
  std::atomic<std::int64_t> lag_max_ns_{-1};
  std::atomic<std::uint32_t> timers_{0};
  std::atomic<std::uint32_t> connections_{0};

  // The loop's thread only: of the turn under way.
  Duration turn_lag_{-1};
  Instant marked_;
  Duration longest_{0};
  std::string_view longest_stage_;

  mutable std::mutex mutex_;  // guards all below
  std::vector<std::string> descriptor_names_;
  std::array<SlowStep, limits::kSlowStepsKept> slow_;  // a ring
  std::size_t slow_count_ = 0;                         // ever
};

}  // namespace futured
