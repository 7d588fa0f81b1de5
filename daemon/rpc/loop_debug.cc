#include "daemon/rpc/loop_debug.h"

namespace futured::rpc {

namespace {

constexpr std::int64_t kNotKnown = -1;

std::int64_t us_of(const std::optional<Duration>& lag) { return lag ? lag->count() / 1000 : kNotKnown; }

}  // namespace

void to_api(const LoopReading& reading, api::LoopDebug& out) {
  out.set_name(reading.name);
  out.set_turns(reading.turns);
  out.set_descriptors(static_cast<std::uint32_t>(reading.descriptor_names.size()) + reading.connections);
  for (const std::string& name : reading.descriptor_names) out.add_descriptor_names(name);
  if (reading.connections > 0) out.add_descriptor_names("connections: " + std::to_string(reading.connections));
  out.set_timers(reading.timers);
  out.set_lag_us(us_of(reading.lag));
  out.set_lag_max_us(us_of(reading.lag_max));
  for (const SlowStep& step : reading.slow) {
    api::SlowCallback& slow = *out.add_slow_callbacks();
    slow.set_what(step.what);
    slow.set_started_us(step.started_at.us);
    slow.set_took_us(step.took.count() / 1000);
    slow.set_under_way(step.under_way);
  }
}

}  // namespace futured::rpc
