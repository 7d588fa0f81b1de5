#include "daemon/rpc/convert_queue.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/limits.h"

namespace futured::rpc {

namespace {

constexpr std::int64_t kNsPerMs = 1'000'000;

struct FieldName {
  const char* name;
  QueueField field;
};

constexpr FieldName kFields[] = {
    {"concurrency_max", QueueField::kConcurrencyMax},
    {"concurrency_per_key_max", QueueField::kConcurrencyPerKeyMax},
    {"rate", QueueField::kRate},
    {"rate_per_key", QueueField::kRatePerKey},
    {"queued_jobs_max", QueueField::kQueuedJobsMax},
    {"queued_bytes_max", QueueField::kQueuedBytesMax},
    {"pools", QueueField::kPools},
    {"weight", QueueField::kWeight},
    {"fair", QueueField::kFair},
    {"ageing_ms", QueueField::kAgeing},
    {"default_retries", QueueField::kDefaultRetries},
    {"default_timeouts", QueueField::kDefaultTimeouts},
    {"default_retention_ms", QueueField::kDefaultRetention},
};

template <typename T>
Status check_bound(T value, T most, const std::string& field) {
  if (value <= most) return {};
  return too_much(field, std::to_string(value) + " is over " + std::to_string(most));
}

Result<Duration> to_duration(std::int64_t ms, std::int64_t ms_max, const std::string& field) {
  if (ms < 0) return invalid(field, std::to_string(ms) + " is negative");
  if (ms > ms_max) return too_much(field, std::to_string(ms) + " ms are over " + std::to_string(ms_max));
  return Duration(ms * kNsPerMs);
}

Status set_duration(Duration& into, std::int64_t ms, std::int64_t ms_max, const std::string& field) {
  const auto duration = to_duration(ms, ms_max, field);
  if (!duration.ok()) return duration.error();
  into = *duration;
  return {};
}

// Nothing of it set: no limit.
Result<RateLimit> to_rate(const api::RateLimit& asked, const std::string& field) {
  RateLimit rate;
  if (!std::isfinite(asked.rate()) || asked.rate() < 0) {
    return invalid(field + ".rate", std::to_string(asked.rate()) + " is not a number of starts from 0 on");
  }
  if (asked.rate() > limits::kQueueRateMax) {
    return too_much(field + ".rate",
                    std::to_string(asked.rate()) + " is over " + std::to_string(limits::kQueueRateMax));
  }
  if (const Status sound = check_bound(asked.burst(), limits::kQueueBurstMax, field + ".burst"); !sound.ok()) {
    return sound.error();
  }
  if (asked.rate() == 0) {
    if (asked.per_ms() == 0 && asked.burst() == 0) return rate;
    return invalid(field + ".rate", "without a rate, per_ms and burst mean nothing; leave all three out for no limit");
  }
  const auto per = to_duration(asked.per_ms(), limits::kTimeoutMsMax, field + ".per_ms");
  if (!per.ok()) return per.error();
  rate.starts = asked.rate();
  rate.per = per->count() != 0 ? *per : Duration(1000 * kNsPerMs);
  rate.burst = std::max(asked.burst(), 1U);
  return rate;
}

Result<std::vector<std::string>> to_pools(const google::protobuf::RepeatedPtrField<std::string>& asked) {
  const std::string field = "options.pools";
  if (static_cast<std::size_t>(asked.size()) > limits::kQueuePoolsMax) {
    return too_much(field, std::to_string(asked.size()) + " are over " + std::to_string(limits::kQueuePoolsMax));
  }
  std::set<std::string> seen;
  for (int i = 0; i < asked.size(); ++i) {
    const std::string place = field + "[" + std::to_string(i) + "]";
    if (!asked[i].empty()) {
      if (const Status sound = check_name(asked[i], place); !sound.ok()) return sound.error();
    }
    if (!seen.insert(asked[i]).second) return invalid(place, "\"" + asked[i] + "\" is there twice");
  }
  return std::vector<std::string>(asked.begin(), asked.end());
}

Status add_retries(const api::Retries& retries, QueueDefaults& defaults) {
  const std::string field = "options.default_retries.";
  auto choice = to_retry_choice(retries, "options.default_retries");
  if (!choice.ok()) return choice.error();
  defaults.retry_only = std::move(choice->only);
  defaults.retry_except = std::move(choice->except);
  defaults.retry_memory_factor = choice->memory_factor;
  defaults.retry_memory_bytes_max = choice->memory_bytes_max;
  Status sound = check_bound(retries.max_attempts(), limits::kAttemptsMax, field + "max_attempts");
  if (!sound.ok()) return sound;
  defaults.max_attempts = retries.max_attempts();
  sound = set_duration(defaults.backoff, retries.backoff_ms(), limits::kBackoffMsMax, field + "backoff_ms");
  if (!sound.ok()) return sound;
  sound = set_duration(defaults.backoff_max, retries.backoff_ms_max(), limits::kBackoffMsMax, field + "backoff_ms_max");
  if (!sound.ok()) return sound;
  const double factor = retries.factor();
  if (factor != 0 && (!std::isfinite(factor) || factor < 1)) {
    return invalid(field + "factor", std::to_string(factor) + " is not 1 to 100");
  }
  if (factor > 100) return too_much(field + "factor", std::to_string(factor) + " is over 100");
  defaults.backoff_factor = factor;
  if (!(retries.jitter() >= 0 && retries.jitter() <= 1)) {
    return invalid(field + "jitter", std::to_string(retries.jitter()) + " is not 0 to 1");
  }
  defaults.jitter = retries.jitter();
  return {};
}

Status add_timeouts(const api::Timeouts& timeouts, QueueDefaults& defaults) {
  const std::string field = "options.default_timeouts.";
  const struct {
    Duration& into;
    std::int64_t ms;
    const char* name;
  } all[] = {
      {defaults.queue_timeout, timeouts.queue_ms(), "queue_ms"},
      {defaults.soft_timeout, timeouts.soft_ms(), "soft_ms"},
      {defaults.run_timeout, timeouts.run_ms(), "run_ms"},
      {defaults.heartbeat_timeout, timeouts.heartbeat_ms(), "heartbeat_ms"},
      {defaults.total_timeout, timeouts.total_ms(), "total_ms"},
      {defaults.grace, timeouts.grace_ms(), "grace_ms"},
  };
  for (const auto& one : all) {
    const Status sound = set_duration(one.into, one.ms, limits::kTimeoutMsMax, field + one.name);
    if (!sound.ok()) return sound;
  }
  if (timeouts.run_ms() == 0 || timeouts.soft_ms() < timeouts.run_ms()) return {};
  return invalid(field + "soft_ms", std::to_string(timeouts.soft_ms()) + " is not under the run_ms of " +
                                        std::to_string(timeouts.run_ms()) +
                                        ", which kills: it would ask nobody to stop");
}

Status add_limits(const api::QueueOptions& asked, QueueOptions& options) {
  Status sound = check_bound(asked.concurrency_max(), limits::kQueueConcurrencyMax, "options.concurrency_max");
  if (sound.ok()) {
    sound =
        check_bound(asked.concurrency_per_key_max(), limits::kQueueConcurrencyMax, "options.concurrency_per_key_max");
  }
  if (sound.ok()) {
    sound = check_bound<std::uint64_t>(asked.queued_jobs_max(), limits::kQueuedJobsMax, "options.queued_jobs_max");
  }
  if (sound.ok()) {
    sound = check_bound<std::uint64_t>(asked.queued_bytes_max(), limits::kQueuedBytesMax, "options.queued_bytes_max");
  }
  if (!sound.ok()) return sound;
  const auto rate = to_rate(asked.rate(), "options.rate");
  if (!rate.ok()) return rate.error();
  const auto rate_per_key = to_rate(asked.rate_per_key(), "options.rate_per_key");
  if (!rate_per_key.ok()) return rate_per_key.error();
  options.concurrency_max = asked.concurrency_max();
  options.concurrency_per_key_max = asked.concurrency_per_key_max();
  options.queued_jobs_max = asked.queued_jobs_max();
  options.queued_bytes_max = asked.queued_bytes_max();
  options.rate = *rate;
  options.rate_per_key = *rate_per_key;
  return {};
}

// Whether the message says anything of it: what is not said cannot be left out by mistake.
bool is_said(const api::QueueOptions& options, QueueField field) {
  switch (field) {
    case QueueField::kConcurrencyMax:
      return options.concurrency_max() != 0;
    case QueueField::kConcurrencyPerKeyMax:
      return options.concurrency_per_key_max() != 0;
    case QueueField::kRate:
      return options.has_rate();
    case QueueField::kRatePerKey:
      return options.has_rate_per_key();
    case QueueField::kQueuedJobsMax:
      return options.queued_jobs_max() != 0;
    case QueueField::kQueuedBytesMax:
      return options.queued_bytes_max() != 0;
    case QueueField::kPools:
      return !options.pools().empty();
    case QueueField::kWeight:
      return options.weight() != 0;
    case QueueField::kFair:
      return options.fair();
    case QueueField::kAgeing:
      return options.ageing_ms() != 0;
    case QueueField::kDefaultRetries:
      return options.has_default_retries();
    case QueueField::kDefaultTimeouts:
      return options.has_default_timeouts();
    case QueueField::kDefaultRetention:
      return options.default_retention_ms() != 0;
  }
  return false;
}

std::int64_t ms_of(Duration duration) { return duration.count() / kNsPerMs; }

void fill(const RateLimit& rate, api::RateLimit& out) {
  out.set_rate(rate.starts);
  out.set_per_ms(ms_of(rate.per));
  out.set_burst(rate.burst);
}

void fill_defaults(const QueueDefaults& defaults, api::QueueOptions& out) {
  api::Retries retries;
  retries.set_max_attempts(defaults.max_attempts);
  retries.set_backoff_ms(ms_of(defaults.backoff));
  retries.set_factor(defaults.backoff_factor);
  retries.set_backoff_ms_max(ms_of(defaults.backoff_max));
  retries.set_jitter(defaults.jitter);
  for (const std::string& entry : defaults.retry_only) retries.add_only_classes(entry);
  for (const std::string& entry : defaults.retry_except) retries.add_except_classes(entry);
  retries.set_memory_factor(defaults.retry_memory_factor);
  retries.set_memory_bytes_max(static_cast<std::int64_t>(defaults.retry_memory_bytes_max));
  if (retries.ByteSizeLong() > 0) *out.mutable_default_retries() = retries;
  api::Timeouts timeouts;
  timeouts.set_queue_ms(ms_of(defaults.queue_timeout));
  timeouts.set_soft_ms(ms_of(defaults.soft_timeout));
  timeouts.set_run_ms(ms_of(defaults.run_timeout));
  timeouts.set_heartbeat_ms(ms_of(defaults.heartbeat_timeout));
  timeouts.set_total_ms(ms_of(defaults.total_timeout));
  timeouts.set_grace_ms(ms_of(defaults.grace));
  if (timeouts.ByteSizeLong() > 0) *out.mutable_default_timeouts() = timeouts;
  out.set_default_retention_ms(ms_of(defaults.retention));
}

void fill(const QueueOptions& options, api::QueueOptions& out) {
  out.set_concurrency_max(options.concurrency_max);
  out.set_concurrency_per_key_max(options.concurrency_per_key_max);
  if (options.rate.is_set()) fill(options.rate, *out.mutable_rate());
  if (options.rate_per_key.is_set()) fill(options.rate_per_key, *out.mutable_rate_per_key());
  out.set_queued_jobs_max(options.queued_jobs_max);
  out.set_queued_bytes_max(options.queued_bytes_max);
  for (const std::string& pool : options.pools) out.add_pools(pool);
  out.set_weight(options.weight);
  out.set_fair(options.fair);
  out.set_ageing_ms(ms_of(options.ageing));
  fill_defaults(options.defaults, out);
}

}  // namespace

Result<Discipline> to_discipline(api::QueueDiscipline discipline) {
  switch (discipline) {
    case api::QUEUE_DISCIPLINE_UNSPECIFIED:
    case api::QUEUE_DISCIPLINE_FIFO:
      return Discipline::kFifo;
    case api::QUEUE_DISCIPLINE_LIFO:
      return Discipline::kLifo;
    case api::QUEUE_DISCIPLINE_PRIORITY:
      return Discipline::kPriority;
    default:  // a client's number
      return invalid("options.discipline", std::to_string(discipline) + " is not known");
  }
}

Result<QueueOptions> to_queue_options(const api::QueueOptions& asked) {
  QueueOptions options;
  if (asked.weight() > limits::kQueueWeightMax) {
    return too_much("options.weight", "a queue weighs at most " + std::to_string(limits::kQueueWeightMax));
  }
  if (asked.when_full() != api::FULL_QUEUE_POLICY_REFUSE) {
    return invalid("options.when_full", std::to_string(asked.when_full()) + " is not known");
  }
  if (const Status sound = add_limits(asked, options); !sound.ok()) return sound.error();
  auto pools = to_pools(asked.pools());
  if (!pools.ok()) return pools.error();
  options.pools = std::move(*pools);
  options.weight = std::max(asked.weight(), 1U);
  options.fair = asked.fair();
  if (const Status sound = add_retries(asked.default_retries(), options.defaults); !sound.ok()) return sound.error();
  if (const Status sound = add_timeouts(asked.default_timeouts(), options.defaults); !sound.ok()) return sound.error();
  Status sound = set_duration(options.ageing, asked.ageing_ms(), limits::kTimeoutMsMax, "options.ageing_ms");
  if (!sound.ok()) return sound.error();
  sound = set_duration(options.defaults.retention, asked.default_retention_ms(), limits::kRetentionMsMax,
                       "options.default_retention_ms");
  if (!sound.ok()) return sound.error();
  return options;
}

Result<std::vector<QueueField>> to_queue_fields(const google::protobuf::RepeatedPtrField<std::string>& names,
                                                const api::QueueOptions& options) {
  if (names.empty()) return invalid("fields", "say which of the options are to change");
  std::vector<QueueField> fields;
  for (int i = 0; i < names.size(); ++i) {
    const std::string place = "fields[" + std::to_string(i) + "]";
    if (names[i] == "discipline") return invalid(place, "the discipline of a queue never changes");
    if (names[i] == "when_full") continue;  // there is one way, which to_queue_options() checks
    const auto known = std::ranges::find_if(kFields, [&](const FieldName& one) { return names[i] == one.name; });
    if (known == std::end(kFields)) {
      const Status sound = check_name(names[i], place);
      return sound.ok() ? invalid(place, "\"" + names[i] + "\" is no option of a queue") : sound.error();
    }
    fields.push_back(known->field);
  }
  if (options.discipline() != api::QUEUE_DISCIPLINE_UNSPECIFIED) {
    return invalid("options.discipline", "the discipline of a queue never changes");
  }
  for (const FieldName& one : kFields) {
    if (is_said(options, one.field) && std::ranges::find(fields, one.field) == fields.end()) {
      return invalid(std::string("options.") + one.name, "it is set, and fields does not name it");
    }
  }
  return fields;
}

void to_api(const QueueRow& row, api::Queue& out) {
  out.set_name(row.name);
  fill(row.options, *out.mutable_options());
  out.mutable_options()->set_discipline(to_api(row.discipline));
  out.set_paused(row.paused);
  out.set_draining(row.draining);
  out.set_created_us(row.created_at.us);
}

void to_api(const QueueFigures& figures, api::Queue& out) {
  to_api(figures.row, out);
  out.set_scheduled(figures.delayed);
  out.set_blocked(figures.blocked);
  out.set_queued(figures.queued);
  out.set_running(figures.running);
  out.set_succeeded(figures.succeeded);
  out.set_failed(figures.failed);
  out.set_cancelled(figures.cancelled);
  out.set_timed_out(figures.timed_out);
  out.set_queued_bytes(figures.bytes);
  out.set_starts_per_second(figures.starts_per_second);
  out.set_wait_p50_us(figures.wait_p50.count() / 1000);
  out.set_wait_p99_us(figures.wait_p99.count() / 1000);
}

}  // namespace futured::rpc
