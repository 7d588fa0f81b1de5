// Specs, attempts and refusals into messages.
#include "base/limits.h"
#include "daemon/rpc/convert_callback.h"

namespace futured::rpc {

namespace {

std::int64_t ms_of(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

}  // namespace

api::QueueDiscipline to_api(Discipline discipline) {
  switch (discipline) {
    case Discipline::kFifo:
      return api::QUEUE_DISCIPLINE_FIFO;
    case Discipline::kLifo:
      return api::QUEUE_DISCIPLINE_LIFO;
    case Discipline::kPriority:
      return api::QUEUE_DISCIPLINE_PRIORITY;
  }
  return api::QUEUE_DISCIPLINE_UNSPECIFIED;
}

void to_api(const JobSpec& spec, api::JobSpec& out) {
  out.set_queue(spec.queue);
  out.set_pool(spec.pool);
  out.set_task(spec.task);
  out.set_name(spec.name);
  out.set_priority(spec.priority);
  out.set_at_most_once(spec.at_most_once);
  if (spec.max_failures) out.set_max_failures(*spec.max_failures);
  out.set_crashes_max(spec.crashes_max);
  out.set_retention_ms(ms_of(spec.retention));
  out.set_front(spec.front);
  out.set_fairness_key(spec.fairness_key);
  out.set_limit_key(spec.limit_key);
  for (const Need& need : spec.needs) {
    api::Need& told = *out.add_needs();
    told.set_semaphore(need.semaphore);
    told.set_permits(need.permits);
  }
  if (spec.cache.enabled) {
    api::CachePolicy& cache = *out.mutable_cache();
    cache.set_enabled(true);
    cache.set_ttl_ms(ms_of(spec.cache.ttl));
    cache.set_cache_failures(spec.cache.failures);
    cache.set_explain(spec.cache.explain);
    cache.set_key(spec.cache.key);
    cache.mutable_ignored_parts()->Assign(spec.cache.ignored_parts.begin(), spec.cache.ignored_parts.end());
    cache.mutable_ignored_fields()->Assign(spec.cache.ignored_fields.begin(), spec.cache.ignored_fields.end());
  }
  api::Retries& retries = *out.mutable_retries();
  retries.set_max_attempts(spec.max_attempts);
  retries.set_backoff_ms(ms_of(spec.backoff));
  retries.set_factor(spec.backoff_factor);
  retries.set_backoff_ms_max(ms_of(spec.backoff_max));
  retries.set_jitter(spec.jitter);
  retries.set_memory_factor(spec.retry_memory_factor);
  retries.set_memory_bytes_max(static_cast<std::int64_t>(spec.retry_memory_bytes_max));
  for (const std::string& entry : spec.retry_only) retries.add_only_classes(entry);
  for (const std::string& entry : spec.retry_except) retries.add_except_classes(entry);
  api::Timeouts& timeouts = *out.mutable_timeouts();
  timeouts.set_queue_ms(ms_of(spec.queue_timeout));
  timeouts.set_soft_ms(ms_of(spec.soft_timeout));
  timeouts.set_run_ms(ms_of(spec.run_timeout));
  timeouts.set_heartbeat_ms(ms_of(spec.heartbeat_timeout));
  timeouts.set_total_ms(ms_of(spec.total_timeout));
  timeouts.set_grace_ms(spec.grace.count() > 0 ? ms_of(spec.grace) : limits::kKillGraceMs);
  if (const auto callbacks = decode_callbacks(spec.callbacks); callbacks.ok()) {
    for (const CallbackSpec& callback : *callbacks) to_api(callback, *out.add_callbacks());
  }
}

void to_api(const AttemptRow& attempt, api::Attempt& out) {
  out.set_number(attempt.fence.attempt);
  out.set_epoch(attempt.fence.epoch.value);
  to_api(attempt.cause, *out.mutable_cause());
  out.set_state(out.cause().kind() == api::CAUSE_KIND_TIMEOUT ? api::JOB_STATE_TIMED_OUT : api::JOB_STATE_FAILED);
  out.set_started_us(attempt.started_at.us);
  out.set_finished_us(attempt.finished_at.us);
  out.set_worker_pid(attempt.worker_pid);
  out.set_cpu_us(attempt.cause.cpu_us);
  out.set_peak_memory_bytes(static_cast<std::int64_t>(attempt.cause.peak_memory_bytes));
  out.set_memory_bytes_max(static_cast<std::int64_t>(attempt.memory_bytes_max));
}

int status_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return 3;
    case ErrorCode::kDeadlineExceeded:
      return 4;
    case ErrorCode::kNotFound:
      return 5;
    case ErrorCode::kAlreadyExists:
      return 6;
    case ErrorCode::kPermissionDenied:
      return 7;
    case ErrorCode::kResourceExhausted:
      return 8;
    case ErrorCode::kFailedPrecondition:
      return 9;
    case ErrorCode::kUnimplemented:
      return 12;
    case ErrorCode::kInternal:
      return 13;
    case ErrorCode::kUnavailable:
      return 14;
    case ErrorCode::kDataLoss:
      return 15;
  }
  return 13;
}

void to_api(const Error& error, api::Error& out) {
  out.set_code(status_code(error.code));
  out.set_message(error.message);
}

}  // namespace futured::rpc
