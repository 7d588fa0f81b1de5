#include "base/loop_gauge.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace futured {

namespace {

constexpr Duration kSlow{limits::kSlowStepNs};
constexpr auto kRelaxed = std::memory_order_relaxed;

std::optional<Duration> known(std::int64_t ns) { return ns < 0 ? std::nullopt : std::optional(Duration(ns)); }

}  // namespace

LoopGauge::LoopGauge(std::string name, std::vector<std::string> descriptor_names)
    : name_(std::move(name)), descriptor_names_(std::move(descriptor_names)) {}

void LoopGauge::begin(Instant at) {
  end(at, "turn");
  turns_.fetch_add(1, kRelaxed);
  began_ns_.store(at.ns, kRelaxed);
  marked_ = at;
  turn_lag_ = Duration(-1);
  longest_ = Duration(0);
  longest_stage_ = {};
}

void LoopGauge::due(Instant since) {
  // Handed in after the turn's begin, and taken by it already: it has not waited.
  const Duration lag = std::max(Instant{began_ns_.load(kRelaxed)} - since, Duration(0));
  if (lag <= turn_lag_) return;
  turn_lag_ = lag;
  lag_ns_.store(lag.count(), kRelaxed);
  if (lag.count() > lag_max_ns_.load(kRelaxed)) lag_max_ns_.store(lag.count(), kRelaxed);
}

void LoopGauge::stage(std::string_view what, Instant at) {
  const Duration took = at - marked_;
  marked_ = at;
  if (took <= longest_) return;
  longest_ = took;
  longest_stage_ = what;
}

void LoopGauge::end(Instant at, std::string_view what) {
  const Instant began{began_ns_.load(kRelaxed)};
  if (began.ns == 0) return;
  began_ns_.store(0, kRelaxed);
  if (at - began > kSlow) note(longest_stage_.empty() ? what : longest_stage_, at - began);
}

void LoopGauge::watch(std::vector<std::string> descriptor_names) {
  const std::lock_guard lock(mutex_);
  std::ranges::move(descriptor_names, std::back_inserter(descriptor_names_));
}

void LoopGauge::ran(std::string_view what, Instant began, Instant ended) {
  turns_.fetch_add(1, kRelaxed);
  if (ended - began > kSlow) note(what, ended - began);
}

void LoopGauge::note(std::string_view what, Duration took) {
  SlowStep step{std::string(what), wall_now() + -took, took};
  const std::lock_guard lock(mutex_);
  slow_[slow_count_++ % slow_.size()] = std::move(step);
}

LoopReading LoopGauge::read(Instant now) const {
  LoopReading reading;
  reading.name = name_;
  reading.turns = turns_.load(kRelaxed);
  reading.connections = connections_.load(kRelaxed);
  reading.timers = timers_.load(kRelaxed);
  reading.lag = known(lag_ns_.load(kRelaxed));
  reading.lag_max = known(lag_max_ns_.load(kRelaxed));
  const Instant began{began_ns_.load(kRelaxed)};
  {
    const std::lock_guard lock(mutex_);
    reading.descriptor_names = descriptor_names_;
    for (std::size_t i = slow_count_ - std::min(slow_count_, slow_.size()); i < slow_count_; ++i) {
      reading.slow.push_back(slow_[i % slow_.size()]);
    }
  }
  // A loop that hangs is the one to be told of.
  if (began.ns != 0 && now - began > kSlow) {
    reading.slow.push_back({"turn", wall_now() + (began - now), now - began, true});
  }
  return reading;
}

}  // namespace futured
