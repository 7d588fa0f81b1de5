// What a queue gives its jobs whose submit says nothing else.
#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

template <typename T>
void fill(T& said, const T& otherwise) {
  if (said == T{}) said = otherwise;
}

void settle_retries(const QueueDefaults& defaults, JobSpec& spec) {
  fill(spec.max_attempts, spec.at_most_once ? 1 : defaults.max_attempts);
  fill(spec.max_attempts, 1U);
  fill(spec.backoff, defaults.backoff);
  fill(spec.backoff_factor, defaults.backoff_factor);
  fill(spec.backoff_factor, 2.0);
  fill(spec.backoff_max, defaults.backoff_max);
  if (spec.max_attempts > 1) fill(spec.backoff_max, Duration(std::chrono::milliseconds(limits::kBackoffMsMaxDefault)));
  fill(spec.jitter, defaults.jitter);
  if (spec.retry_only.empty() && spec.retry_except.empty()) {
    spec.retry_only = defaults.retry_only;
    spec.retry_except = defaults.retry_except;
  }
  if (spec.retry_memory_factor == 0 && spec.max_attempts > 1 && !spec.at_most_once) {
    spec.retry_memory_factor = defaults.retry_memory_factor;
    spec.retry_memory_bytes_max = defaults.retry_memory_bytes_max;
  }
}

// A soft timeout of the queue that a job's own run timeout leaves no time for is none.
Status settle_timeouts(const QueueRow& queue, JobSpec& spec) {
  const QueueDefaults& defaults = queue.options.defaults;
  const bool says_soft = spec.soft_timeout.count() != 0;
  const bool says_run = spec.run_timeout.count() != 0;
  fill(spec.queue_timeout, defaults.queue_timeout);
  fill(spec.soft_timeout, defaults.soft_timeout);
  fill(spec.run_timeout, defaults.run_timeout);
  fill(spec.heartbeat_timeout, defaults.heartbeat_timeout);
  fill(spec.total_timeout, defaults.total_timeout);
  fill(spec.grace, defaults.grace);
  const bool both_said = says_soft && says_run;  // and looked at by who asked
  if (both_said || spec.run_timeout.count() == 0 || spec.soft_timeout < spec.run_timeout) return {};
  if (says_soft) {
    return Error{ErrorCode::kInvalidArgument, "spec.timeouts.soft_ms: it is not under the run_ms of " +
                                                  std::to_string(spec.run_timeout.count() / 1'000'000) +
                                                  " that queue \"" + queue.name +
                                                  "\" gives, which kills: say a longer run_ms, too"};
  }
  spec.soft_timeout = Duration(0);
  return {};
}

std::string names_of(const std::vector<std::string>& pools) {
  std::string text;
  for (const std::string& pool : pools) text += (text.empty() ? "\"" : ", \"") + pool + "\"";
  return text;
}

Status settle_pool(const QueueRow& queue, JobSpec& spec) {
  const std::vector<std::string>& pools = queue.options.pools;
  if (pools.empty()) return {};
  if (spec.pool.empty()) {
    spec.pool = pools.front();
    return {};
  }
  if (std::ranges::find(pools, spec.pool) != pools.end()) return {};
  return Error{ErrorCode::kInvalidArgument, "spec.pool: \"" + spec.pool + "\" is not among those of queue \"" +
                                                queue.name + "\": " + names_of(pools)};
}

}  // namespace

Duration Scheduler::ageing_of(const QueueRow& queue) {
  return queue.discipline == Discipline::kPriority ? queue.options.ageing : Duration(0);
}

// What the queue gives, and the job did not ask for, is left out where nothing could come of it.
void Scheduler::settle_memory(const JobSpec& asked, JobSpec& spec, const PoolState& pool) {
  if (asked.retry_memory_factor != 0 || check_memory(spec, pool).ok()) return;
  spec.retry_memory_factor = 0;
  spec.retry_memory_bytes_max = 0;
}

Result<JobSpec> Scheduler::settle(JobSpec spec, const QueueRow& queue) {
  const bool says_attempts = spec.max_attempts != 0;
  settle_retries(queue.options.defaults, spec);
  if (const Status sound = settle_timeouts(queue, spec); !sound.ok()) return sound.error();
  if (const Status sound = settle_pool(queue, spec); !sound.ok()) return sound.error();
  fill(spec.retention, queue.options.defaults.retention);
  spec.ageing = ageing_of(queue);
  if (!says_attempts && spec.retry_memory_factor != 0 && spec.max_attempts == 1) {
    return Error{ErrorCode::kInvalidArgument,
                 "spec.retries.memory_factor: one attempt is followed by none that could get more: raise max_attempts"};
  }
  return spec;
}

}  // namespace futured
