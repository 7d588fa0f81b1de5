#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "base/limits.h"
#include "daemon/rpc/cache_key.h"
#include "daemon/rpc/convert.h"
#include "daemon/rpc/convert_callback.h"

namespace futured::rpc {

namespace {

// The length of the UTF-8 sequence that `text` begins with; 0: it begins with none (RFC 3629).
std::size_t utf8_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return 1;
  std::size_t length = 0;
  unsigned char second_min = 0x80;
  unsigned char second_max = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    if (lead == 0xe0) second_min = 0xa0;
    if (lead == 0xed) second_max = 0x9f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    if (lead == 0xf0) second_min = 0x90;
    if (lead == 0xf4) second_max = 0x8f;
  } else {
    return 0;
  }
  if (text.size() < length || at(1) < second_min || at(1) > second_max) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if (at(i) < 0x80 || at(i) > 0xbf) return 0;
  }
  return length;
}

bool is_plain_text(std::string_view text) {
  while (!text.empty()) {
    const auto first = static_cast<unsigned char>(text[0]);
    if (first < 0x20 || first == 0x7f) return false;
    if (first == 0xc2 && text.size() > 1 && static_cast<unsigned char>(text[1]) < 0xa0) return false;  // C1 controls
    const std::size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

struct Unbuilt {
  bool asked;
  const char* field;
};

Status refuse_unbuilt(std::span<const Unbuilt> fields) {
  for (const Unbuilt& field : fields) {
    if (field.asked) return unbuilt(field.field);
  }
  return {};
}

Result<Duration> to_duration(std::int64_t ms, std::int64_t ms_max, std::string_view field) {
  if (ms < 0) return invalid(field, std::to_string(ms) + " is negative");
  if (ms > ms_max) return too_much(field, std::to_string(ms) + " ms are over " + std::to_string(ms_max));
  return Duration(std::chrono::milliseconds(ms));
}

// Causes that no retry follows, or that crashes_max is for, are no mistake to be silent about.
Status check_class(const std::string& entry, const std::string& field) {
  if (const Status sound = check_name(entry, field); !sound.ok()) return sound;
  api::CauseKind kind = api::CAUSE_KIND_NONE;
  if (!api::CauseKind_Parse("CAUSE_KIND_" + entry, &kind)) return {};
  switch (kind) {
    case api::CAUSE_KIND_TASK_ERROR:
    case api::CAUSE_KIND_COMMAND_EXIT:
    case api::CAUSE_KIND_COMMAND_SIGNAL:
    case api::CAUSE_KIND_OUT_OF_MEMORY:
    case api::CAUSE_KIND_TIMEOUT:
      return {};
    case api::CAUSE_KIND_WORKER_DIED:
    case api::CAUSE_KIND_PROTOCOL:
      return invalid(field, entry + " spends no attempt; spec.crashes_max bounds it");
    default:  // the others, and what is no value of it
      return invalid(field, entry + " is never retried");
  }
}

Status add_classes(const google::protobuf::RepeatedPtrField<std::string>& asked, const std::string& field,
                   std::vector<std::string>& classes) {
  if (static_cast<std::size_t>(asked.size()) > limits::kRetryClassesMax) {
    return too_much(field, std::to_string(asked.size()) + " are over " + std::to_string(limits::kRetryClassesMax));
  }
  for (int i = 0; i < asked.size(); ++i) {
    const Status sound = check_class(asked[i], field + "[" + std::to_string(i) + "]");
    if (!sound.ok()) return sound;
    classes.push_back(asked[i]);
  }
  return {};
}

Status add_memory(const api::Retries& retries, const std::string& field, RetryChoice& choice) {
  const std::string factor_field = field + ".memory_factor";
  const std::string most_field = field + ".memory_bytes_max";
  const double factor = retries.memory_factor();
  const std::int64_t most = retries.memory_bytes_max();
  if (most < 0) return invalid(most_field, std::to_string(most) + " bytes are negative");
  if (most > limits::kRetryMemoryBytesMax) {
    return too_much(most_field,
                    std::to_string(most) + " bytes are over " + std::to_string(limits::kRetryMemoryBytesMax));
  }
  if (factor == 0) {
    return most == 0 ? Status() : invalid(most_field, "without a memory_factor no attempt gets more than the others");
  }
  if (!std::isfinite(factor)) return invalid(factor_field, "is no number; 2 doubles the limit");
  if (factor <= 1) return invalid(factor_field, std::to_string(factor) + " is not above 1; 2 doubles the limit");
  if (factor > limits::kMemoryFactorMax) {
    return too_much(factor_field, std::to_string(factor) + " is over " + std::to_string(limits::kMemoryFactorMax));
  }
  if (most == 0) return invalid(factor_field, "say in memory_bytes_max how much an attempt may get at most");
  if (retries.max_attempts() == 1) {
    return invalid(factor_field, "one attempt is followed by none that could get more: raise max_attempts");
  }
  choice.memory_factor = factor;
  choice.memory_bytes_max = static_cast<std::uint64_t>(most);
  return {};
}

Status add_retries(const api::Retries& retries, bool at_most_once, JobSpec& spec) {
  if (retries.max_attempts() > limits::kAttemptsMax) {
    return too_much("spec.retries.max_attempts",
                    std::to_string(retries.max_attempts()) + " is over " + std::to_string(limits::kAttemptsMax));
  }
  if (at_most_once && retries.max_attempts() > 1) {
    return invalid("spec.retries.max_attempts", "a job that runs at most once has one attempt");
  }
  spec.max_attempts = retries.max_attempts();
  auto choice = to_retry_choice(retries, "spec.retries");
  if (!choice.ok()) return choice.error();
  spec.retry_only = std::move(choice->only);
  spec.retry_except = std::move(choice->except);
  spec.retry_memory_factor = choice->memory_factor;
  spec.retry_memory_bytes_max = choice->memory_bytes_max;

  const auto backoff = to_duration(retries.backoff_ms(), limits::kBackoffMsMax, "spec.retries.backoff_ms");
  if (!backoff.ok()) return backoff.error();
  spec.backoff = *backoff;
  const auto most = to_duration(retries.backoff_ms_max(), limits::kBackoffMsMax, "spec.retries.backoff_ms_max");
  if (!most.ok()) return most.error();
  spec.backoff_max = *most;

  if (retries.factor() != 0) {
    if (!(retries.factor() >= 1) || std::isinf(retries.factor())) {
      return invalid("spec.retries.factor", std::to_string(retries.factor()) + " is not 1 to 100");
    }
    if (retries.factor() > 100) {
      return too_much("spec.retries.factor", std::to_string(retries.factor()) + " is over 100");
    }
    spec.backoff_factor = retries.factor();
  }
  if (!(retries.jitter() >= 0 && retries.jitter() <= 1)) {
    return invalid("spec.retries.jitter", std::to_string(retries.jitter()) + " is not 0 to 1");
  }
  spec.jitter = retries.jitter();
  return {};
}

Status add_timeouts(const api::Timeouts& timeouts, JobSpec& spec) {
  struct {
    std::int64_t ms;
    const char* field;
    Duration* into;
  } const fields[] = {
      {timeouts.queue_ms(), "spec.timeouts.queue_ms", &spec.queue_timeout},
      {timeouts.soft_ms(), "spec.timeouts.soft_ms", &spec.soft_timeout},
      {timeouts.run_ms(), "spec.timeouts.run_ms", &spec.run_timeout},
      {timeouts.heartbeat_ms(), "spec.timeouts.heartbeat_ms", &spec.heartbeat_timeout},
      {timeouts.total_ms(), "spec.timeouts.total_ms", &spec.total_timeout},
      {timeouts.grace_ms(), "spec.timeouts.grace_ms", &spec.grace},
  };
  for (const auto& field : fields) {
    const auto duration = to_duration(field.ms, limits::kTimeoutMsMax, field.field);
    if (!duration.ok()) return duration.error();
    *field.into = *duration;
  }
  if (timeouts.run_ms() != 0 && timeouts.soft_ms() >= timeouts.run_ms()) {
    return invalid("spec.timeouts.soft_ms", std::to_string(timeouts.soft_ms()) + " is not under the run_ms of " +
                                                std::to_string(timeouts.run_ms()) +
                                                ", which kills: it would ask nobody to stop");
  }
  return {};
}

// In one order, whatever order they were asked in. Whether there are such semaphores is known where jobs are accepted.
Status add_needs(const api::JobSpec& asked, JobSpec& spec) {
  if (static_cast<std::size_t>(asked.needs_size()) > limits::kNeedsMax) {
    return too_much("spec.needs",
                    std::to_string(asked.needs_size()) + " are over " + std::to_string(limits::kNeedsMax));
  }
  for (int i = 0; i < asked.needs_size(); ++i) {
    const api::Need& need = asked.needs(i);
    const std::string field = "spec.needs[" + std::to_string(i) + "]";
    if (const Status sound = check_name(need.semaphore(), field + ".semaphore"); !sound.ok()) return sound;
    if (need.permits() > limits::kPermitsMax) {
      return too_much(field + ".permits",
                      std::to_string(need.permits()) + " is over " + std::to_string(limits::kPermitsMax));
    }
    spec.needs.push_back({need.semaphore(), std::max<std::uint32_t>(need.permits(), 1)});
  }
  std::ranges::sort(spec.needs);
  const auto twice = std::ranges::adjacent_find(spec.needs, {}, &Need::semaphore);
  if (twice == spec.needs.end()) return {};
  return invalid("spec.needs", "semaphore \"" + twice->semaphore + "\" is named twice; name it once, with the sum");
}

Status refuse_unbuilt_options(const api::JobSpec& spec) {
  const Unbuilt fields[] = {
      {!spec.labels().empty(), "spec.labels"},
      {spec.memory_bytes_max() != 0, "spec.memory_bytes_max"},
      {spec.output_bytes_max() != 0, "spec.output_bytes_max"},
      {spec.parent_id() != 0, "spec.parent_id"},
      {!spec.task_version().empty(), "spec.task_version"},
      {spec.compression_level() != 0, "spec.compression_level"},
  };
  return refuse_unbuilt(fields);
}

}  // namespace

Status refuse_durable_segments(const api::JobSpec& spec, const std::string& field) {
  if (!spec.durable_segments()) return {};
  return invalid(field + ".durable_segments", "only what a client submits hands segments in; leave it out");
}

Error invalid(std::string_view field, std::string_view why) {
  return {ErrorCode::kInvalidArgument, std::string(field) + ": " + std::string(why)};
}

Error too_much(std::string_view field, std::string_view why) {
  return {ErrorCode::kResourceExhausted, std::string(field) + ": " + std::string(why)};
}

Error unbuilt(std::string_view field) {
  return {ErrorCode::kUnimplemented, std::string(field) + ": this server knows the field and cannot honour it yet"};
}

std::string field_of(const Error& error) { return error.message.substr(0, error.message.find(": ")); }

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

Status check_name(std::string_view name, std::string_view field) {
  if (name.empty()) return invalid(field, "a name has 1 to " + std::to_string(limits::kNameBytesMax) + " bytes");
  if (name.size() > limits::kNameBytesMax) {
    return invalid(field, std::to_string(name.size()) + " bytes are over " + std::to_string(limits::kNameBytesMax));
  }
  if (!is_plain_text(name)) return invalid(field, "a name is UTF-8 without control characters");
  return {};
}

// What lies too far ahead is refused by the scheduler, which knows what time it is.
Result<Start> to_start(const api::JobSpec& spec) {
  if (spec.start_at_us() < 0) return invalid("spec.start_at_us", "it is microseconds since 1970, and negative");
  const auto after = to_duration(spec.start_after_ms(), limits::kDelayMsMax, "spec.start_after_ms");
  if (!after.ok()) return after.error();
  if (spec.start_at_us() != 0 && spec.start_after_ms() != 0) {
    return invalid("spec.start_after_ms", "refused beside start_at_us: say one of the two");
  }
  auto dependencies = to_dependencies(spec);
  if (!dependencies.ok()) return dependencies.error();
  return Start{WallTime{spec.start_at_us()}, *after, *std::move(dependencies)};
}

Result<RetryChoice> to_retry_choice(const api::Retries& retries, const std::string& field) {
  RetryChoice choice;
  Status sound = add_classes(retries.only_classes(), field + ".only_classes", choice.only);
  if (sound.ok()) sound = add_classes(retries.except_classes(), field + ".except_classes", choice.except);
  if (sound.ok()) sound = add_memory(retries, field, choice);
  if (!sound.ok()) return sound.error();
  return choice;
}

Result<JobSpec> to_spec(const api::JobSpec& asked, const CallbackNames& names) {
  JobSpec spec;
  // What is not said is 0: the queue says it, and the core what remains.
  spec.max_attempts = 0;
  spec.backoff_factor = 0;
  struct {
    const std::string& name;
    const char* field;
    std::string* into;
  } const words[] = {
      {asked.queue(), "spec.queue", &spec.queue},
      {asked.pool(), "spec.pool", &spec.pool},
      {asked.task(), "spec.task", &spec.task},
      {asked.name(), "spec.name", &spec.name},
      {asked.fairness_key(), "spec.fairness_key", &spec.fairness_key},
      {asked.limit_key(), "spec.limit_key", &spec.limit_key},
  };
  for (const auto& word : words) {
    if (word.name.empty()) continue;
    if (const Status sound = check_name(word.name, word.field); !sound.ok()) return sound.error();
    *word.into = word.name;
  }
  if (const Status known = refuse_unbuilt_options(asked); !known.ok()) return known.error();
  if (const Status added = add_needs(asked, spec); !added.ok()) return added.error();
  spec.priority = asked.priority();
  spec.front = asked.front();
  spec.at_most_once = asked.at_most_once();
  if (asked.has_max_failures()) spec.max_failures = asked.max_failures();
  const auto retention = to_duration(asked.retention_ms(), limits::kRetentionMsMax, "spec.retention_ms");
  if (!retention.ok()) return retention.error();
  spec.retention = *retention;
  if (asked.crashes_max() > limits::kCrashesMax) {
    return too_much("spec.crashes_max",
                    std::to_string(asked.crashes_max()) + " is over " + std::to_string(limits::kCrashesMax));
  }
  if (asked.crashes_max() != 0) spec.crashes_max = asked.crashes_max();
  if (asked.has_retries()) {
    if (const Status added = add_retries(asked.retries(), asked.at_most_once(), spec); !added.ok())
      return added.error();
  }
  if (asked.has_timeouts()) {
    if (const Status added = add_timeouts(asked.timeouts(), spec); !added.ok()) return added.error();
  }
  const auto cache = to_cache_terms(asked);
  if (!cache.ok()) return cache.error();
  spec.cache = *cache;
  auto callbacks = to_callbacks(asked, names);
  if (!callbacks.ok()) return callbacks.error();
  spec.callbacks = std::move(*callbacks);
  return spec;
}

}  // namespace futured::rpc
