#include "client/cli/flag_names.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string_view>

namespace futured::cli {

namespace {

struct Name {
  std::string_view field;  // without indices
  std::string_view flag;   // or the word of the usage line
};

constexpr Name kNames[] = {
    // run, submit, call, map
    {"spec.queue", "--queue"},
    {"spec.pool", "--pool"},
    {"spec.task", "task"},
    {"spec.name", "--name"},
    {"spec.crashes_max", "--crashes"},
    {"spec.retries.max_attempts", "--attempts"},
    {"spec.retries.backoff_ms", "--backoff"},
    {"spec.retries.only_classes", "--retry-only"},
    {"spec.retries.except_classes", "--retry-except"},
    {"spec.retries.memory_factor", "--retry-memory"},
    {"spec.retries.memory_bytes_max", "--retry-memory-max"},
    {"spec.timeouts.queue_ms", "--queue-timeout"},
    {"spec.timeouts.soft_ms", "--soft-timeout"},
    {"spec.timeouts.run_ms", "--timeout"},
    {"spec.timeouts.heartbeat_ms", "--heartbeat-timeout"},
    {"spec.timeouts.total_ms", "--total-timeout"},
    {"spec.timeouts.grace_ms", "--grace"},
    {"spec.retention_ms", "--retention"},
    {"spec.needs", "--needs"},
    {"spec.needs.semaphore", "--needs"},
    {"spec.needs.permits", "--needs"},
    {"spec.cache.ttl_ms", "--cache-ttl"},
    {"spec.cache.key", "--cache-key"},
    {"spec.cache.ignored_parts", "--cache-ignore"},
    {"spec.cache.ignored_fields", "--cache-ignore"},
    {"spec.cache", "--cache"},
    {"spec.max_failures", "--max-failures"},
    {"spec.limit_key", "--limit-key"},
    {"spec.fairness_key", "--fairness-key"},
    {"spec.dependencies", "--after, --after-ok, --after-failed, --after-any, --when"},
    {"spec.dependencies.job_id", "--after, --after-ok, --after-failed, --after-any"},
    {"spec.dependencies.batch_id", "batch:ID"},
    {"spec.dependencies.event", "--when"},
    {"spec.start_at_us", "--at"},
    {"spec.start_after_ms", "--in"},
    {"spec.callbacks", "--callback, --on-success, --on-failure"},
    {"spec.callbacks.webhook.secret_name", "--callback-secret"},
    {"items.idempotency_key", "--key"},
    {"items.command", "command"},
    {"items.command.argv", "command"},
    {"items.command.env", "--env"},
    {"items.command.cwd", "--cwd"},
    {"items.result_of", "--result-of or --stdin-result-of"},
    {"items.parts", "arguments"},
    // callback
    {"spec.webhook.secret_name", "--secret"},
    {"batch_jobs", "job"},
    {"state", "--state"},
    {"states", "--state"},
    // schedule
    {"schedule.name", "name"},
    {"schedule.cron", "--cron"},
    {"schedule.every_ms", "--every"},
    {"schedule.time_zone", "--tz"},
    {"schedule.catch_up", "--catch-up"},
    {"schedule.catch_up_max", "--catch-up"},
    {"schedule.overlap", "--overlap"},
    {"schedule.jitter_ms", "--jitter"},
    {"schedule.item", "words"},
    {"count", "-n"},
    // the others
    {"filter.queue", "--queue"},
    {"filter.pool", "--pool"},
    {"filter.task", "--task"},
    {"filter.name", "--name"},
    {"filter.states", "--state"},
    {"page_token", "--page"},
    {"idempotency_key", "key"},
    {"ids.first", "ids"},
    {"ids.last", "ids"},
    {"grace_ms", "--grace"},
    {"reason", "--reason"},
    {"epoch", "--since"},
    {"sequence", "--since"},
    {"from_start", "--since"},
    {"discipline", "--discipline"},
    // queue
    {"spec.front", "--front"},
    {"options.discipline", "--discipline"},
    {"options.concurrency_max", "--concurrency"},
    {"options.concurrency_per_key_max", "--concurrency-per-key"},
    {"options.rate.rate", "--rate"},
    {"options.rate.per_ms", "--rate"},
    {"options.rate.burst", "--burst"},
    {"options.rate_per_key.rate", "--rate-per-key"},
    {"options.rate_per_key.per_ms", "--rate-per-key"},
    {"options.rate_per_key.burst", "--burst-per-key"},
    {"options.queued_jobs_max", "--max-jobs"},
    {"options.queued_bytes_max", "--max-bytes"},
    {"options.pools", "--pool"},
    {"options.weight", "--weight"},
    {"options.fair", "--fair"},
    {"options.ageing_ms", "--ageing"},
    {"options.default_retries.max_attempts", "--attempts"},
    {"options.default_retries.backoff_ms", "--backoff"},
    {"options.default_retries.factor", "--backoff-factor"},
    {"options.default_retries.backoff_ms_max", "--backoff-max"},
    {"options.default_retries.jitter", "--jitter"},
    {"options.default_retries.only_classes", "--retry-only"},
    {"options.default_retries.except_classes", "--retry-except"},
    {"options.default_retries.memory_factor", "--retry-memory"},
    {"options.default_retries.memory_bytes_max", "--retry-memory-max"},
    {"options.default_timeouts.queue_ms", "--queue-timeout"},
    {"options.default_timeouts.soft_ms", "--soft-timeout"},
    {"options.default_timeouts.run_ms", "--run-timeout"},
    {"options.default_timeouts.heartbeat_ms", "--heartbeat-timeout"},
    {"options.default_timeouts.total_ms", "--total-timeout"},
    {"options.default_timeouts.grace_ms", "--grace"},
    {"options.default_retention_ms", "--retention"},
};

constexpr std::string_view kOneOfCallbacks = "spec.callbacks[";
// Of `fut callback add`. Of a task or a queue that there is not, the daemon says "spec" alone.
constexpr std::string_view kTargetFields[] = {"spec.webhook", "spec.grpc", "spec.command", "spec.follow_up"};

// "spec.callbacks[0].webhook.url" without "[0]".
std::string without_indices(std::string_view field) {
  std::string path;
  bool is_index = false;
  for (const char letter : field) {
    if (letter == '[') is_index = true;
    if (!is_index) path += letter;
    if (letter == ']') is_index = false;
  }
  return path;
}

// Counted from 1.
std::string place_of(std::string_view field) {
  std::uint32_t index = 0;
  const std::size_t begin = std::min(field.find('[') + 1, field.size());
  std::from_chars(field.data() + begin, field.data() + field.size(), index);
  return std::to_string(index + 1);
}

// "" when fut has none.
std::string flag_of(std::string_view field) {
  const std::string path = without_indices(field);
  const auto known = std::ranges::find(kNames, std::string_view(path), &Name::field);
  const bool is_one_callback = field.starts_with(kOneOfCallbacks);
  const bool is_known = known != std::end(kNames);
  if (is_one_callback && (!is_known || path == "spec.callbacks")) {
    return "callback " + place_of(field) + " of --callback, --on-success, --on-failure";
  }
  if (is_known) return std::string(known->flag);
  const auto begins = [&](std::string_view target) { return path.starts_with(target); };
  return path == "spec" || std::ranges::any_of(kTargetFields, begins) ? "target" : "";
}

// "--after, --after-ok" where only these of several flags were given; all of them where none was.
std::string those_given(const std::string& flags, const std::function<bool(const std::string&)>& is_given) {
  if (!is_given || !flags.starts_with("--")) return flags;
  std::string given;
  for (std::size_t begin = 0; begin < flags.size();) {
    const std::size_t end = std::min(flags.find(", ", begin), flags.size());
    const std::string flag = flags.substr(begin, end - begin);
    if (is_given(flag)) given += (given.empty() ? "" : ", ") + flag;
    begin = end + 2;
  }
  return given.empty() ? flags : given;
}

}  // namespace

std::string with_flag_names(const std::string& whole, const std::function<bool(const std::string&)>& is_given) {
  // What a schedule's jobs are asked with is told as of any other job.
  constexpr std::string_view kOfSchedule = "schedule: ";
  constexpr std::string_view kSpecOfSchedule = "schedule.spec.";
  std::string message = whole;
  if (message.starts_with(kOfSchedule)) message.erase(0, kOfSchedule.size());
  if (message.starts_with(kSpecOfSchedule)) message.erase(0, std::string_view("schedule.").size());
  const std::size_t colon = message.find(": ");
  if (colon == std::string::npos) return message;
  const std::string field = message.substr(0, colon);
  const std::string flag = those_given(flag_of(field), is_given);
  if (flag.empty()) return message;
  std::string why = message.substr(colon + 2);
  if (field.ends_with(".follow_up")) why = with_flag_names(why, is_given);  // it has a spec of its own
  constexpr std::string_view kBudget = "spec.crashes_max";
  if (const std::size_t at = why.find(kBudget); at != std::string::npos) why.replace(at, kBudget.size(), "--crashes");
  return flag + ": " + why;
}

}  // namespace futured::cli
