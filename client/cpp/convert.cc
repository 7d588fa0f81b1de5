#include "client/cpp/convert.h"

#include <algorithm>
#include <cctype>
#include <utility>

namespace futured::client {

namespace {

// "JOB_STATE_QUEUED" without its prefix.
std::string word_of(const std::string& name, std::size_t prefix) { return name.substr(prefix); }

ErrorKind kind_of(int status_code) {
  switch (status_code) {
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::OUT_OF_RANGE:
      return ErrorKind::kInvalidArgument;
    case grpc::StatusCode::NOT_FOUND:
      return ErrorKind::kNotFound;
    case grpc::StatusCode::ALREADY_EXISTS:
      return ErrorKind::kAlreadyExists;
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
      return ErrorKind::kPermissionDenied;
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::ABORTED:
      return ErrorKind::kFailedPrecondition;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return ErrorKind::kResourceExhausted;
    case grpc::StatusCode::UNIMPLEMENTED:
      return ErrorKind::kUnimplemented;
    case grpc::StatusCode::UNAVAILABLE:
      return ErrorKind::kUnavailable;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return ErrorKind::kTimeout;
    case grpc::StatusCode::DATA_LOSS:
      return ErrorKind::kDataLoss;
    default:  // of a peer's number
      return ErrorKind::kInternal;
  }
}

void to_timeouts(const Timeouts& timeouts, api::Timeouts& out) {
  out.set_queue_ms(timeouts.queue.count());
  out.set_soft_ms(timeouts.soft.count());
  out.set_run_ms(timeouts.run.count());
  out.set_heartbeat_ms(timeouts.heartbeat.count());
  out.set_total_ms(timeouts.total.count());
  out.set_grace_ms(timeouts.grace.count());
}

using DependencyList = google::protobuf::RepeatedPtrField<api::Dependency>;

// Options: JobOptions or SubmitOptions.
template <typename Options>
void add_dependencies(const Options& options, DependencyList& out) {
  const auto add = [&out](const std::vector<std::uint64_t>& ids, api::DependencyCondition condition) {
    for (const std::uint64_t id : ids) {
      api::Dependency& dependency = *out.Add();
      dependency.set_job_id(id);
      dependency.set_condition(condition);
    }
  };
  add(options.after, api::DEPENDENCY_CONDITION_ENDED);
  add(options.after_success, api::DEPENDENCY_CONDITION_SUCCEEDED);
  add(options.after_failure, api::DEPENDENCY_CONDITION_FAILED);
  for (const std::string& event : options.when) out.Add()->set_event(event);
  for (const Dependency& asked : options.depends_on) {
    api::Dependency& dependency = *out.Add();
    dependency.set_any_of_group(asked.any_of_group);
    if (!asked.event.empty()) {
      dependency.set_event(asked.event);
      continue;
    }
    if (asked.batch != 0) {
      dependency.set_batch_id(asked.batch);
    } else {
      dependency.set_job_id(asked.job);
    }
    dependency.set_condition(asked.on == Dependency::On::kEnd       ? api::DEPENDENCY_CONDITION_ENDED
                             : asked.on == Dependency::On::kSuccess ? api::DEPENDENCY_CONDITION_SUCCEEDED
                                                                    : api::DEPENDENCY_CONDITION_FAILED);
  }
}

Dependency from_dependency(const api::Dependency& dependency) {
  Dependency out;
  out.on = dependency.condition() == api::DEPENDENCY_CONDITION_ENDED       ? Dependency::On::kEnd
           : dependency.condition() == api::DEPENDENCY_CONDITION_SUCCEEDED ? Dependency::On::kSuccess
                                                                           : Dependency::On::kFailure;
  out.job = dependency.job_id();
  out.batch = dependency.batch_id();
  out.event = dependency.event();
  out.any_of_group = dependency.any_of_group();
  return out;
}

Retries from_retries(const api::Retries& retries) {
  Retries out;
  out.max_attempts = retries.max_attempts();
  out.backoff = Milliseconds(retries.backoff_ms());
  out.factor = retries.factor();
  out.backoff_max = Milliseconds(retries.backoff_ms_max());
  out.jitter = retries.jitter();
  out.only_classes.assign(retries.only_classes().begin(), retries.only_classes().end());
  out.except_classes.assign(retries.except_classes().begin(), retries.except_classes().end());
  out.memory_factor = retries.memory_factor();
  out.memory_bytes_max = retries.memory_bytes_max();
  return out;
}

Timeouts from_timeouts(const api::Timeouts& timeouts) {
  Timeouts out;
  out.queue = Milliseconds(timeouts.queue_ms());
  out.soft = Milliseconds(timeouts.soft_ms());
  out.run = Milliseconds(timeouts.run_ms());
  out.heartbeat = Milliseconds(timeouts.heartbeat_ms());
  out.total = Milliseconds(timeouts.total_ms());
  out.grace = Milliseconds(timeouts.grace_ms());
  return out;
}

api::QueueDiscipline to_discipline(std::string word) {
  std::ranges::transform(word, word.begin(),
                         [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  if (word.empty() || word == "fifo") return api::QUEUE_DISCIPLINE_FIFO;
  if (word == "lifo") return api::QUEUE_DISCIPLINE_LIFO;
  if (word == "priority") return api::QUEUE_DISCIPLINE_PRIORITY;
  throw Error(ErrorKind::kInvalidArgument, "discipline: \"" + word + "\" is not fifo, lifo or priority");
}

void to_rate(const RateLimit& rate, api::RateLimit& out) {
  out.set_rate(rate.starts);
  out.set_per_ms(rate.per.count());
  out.set_burst(rate.burst);
}

RateLimit from_rate(const api::RateLimit& rate) { return {rate.rate(), Milliseconds(rate.per_ms()), rate.burst()}; }

// Whether anything of it is said.
bool is_said(const RateLimit& rate) { return rate.starts != 0 || rate.per.count() != 0 || rate.burst != 0; }

QueueOptions from_options(const api::QueueOptions& options) {
  QueueOptions out;
  out.concurrency_max = options.concurrency_max();
  out.concurrency_per_key_max = options.concurrency_per_key_max();
  out.rate = from_rate(options.rate());
  out.rate_per_key = from_rate(options.rate_per_key());
  out.queued_jobs_max = options.queued_jobs_max();
  out.queued_bytes_max = options.queued_bytes_max();
  out.pools.assign(options.pools().begin(), options.pools().end());
  out.weight = options.weight();
  out.fair = options.fair();
  out.ageing = Milliseconds(options.ageing_ms());
  out.retries = from_retries(options.default_retries());
  out.timeouts = from_timeouts(options.default_timeouts());
  out.retention = Milliseconds(options.default_retention_ms());
  return out;
}

// As far as this server serves them.
JobOptions from_spec(const api::JobSpec& spec) {
  JobOptions out;
  out.queue = spec.queue();
  out.pool = spec.pool();
  out.priority = spec.priority();
  out.retries = from_retries(spec.retries());
  out.timeouts = from_timeouts(spec.timeouts());
  out.crashes_max = spec.crashes_max();
  out.at_most_once = spec.at_most_once();
  out.durable_segments = spec.durable_segments();
  if (spec.has_max_failures()) out.max_failures = spec.max_failures();
  out.cache = spec.cache().enabled();
  out.caching.ttl = Milliseconds(spec.cache().ttl_ms());
  out.caching.failures = spec.cache().cache_failures();
  out.caching.explain = spec.cache().explain();
  out.caching.key = spec.cache().key();
  out.caching.ignored_parts.assign(spec.cache().ignored_parts().begin(), spec.cache().ignored_parts().end());
  out.caching.ignored_fields.assign(spec.cache().ignored_fields().begin(), spec.cache().ignored_fields().end());
  out.front = spec.front();
  out.name = spec.name();
  out.fairness_key = spec.fairness_key();
  out.limit_key = spec.limit_key();
  for (const api::Need& need : spec.needs()) out.needs[need.semaphore()] = need.permits();
  for (const api::Dependency& one : spec.dependencies()) {
    if (one.any_of_group() != 0 || one.on_case() == api::Dependency::kBatchId) {
      out.depends_on.push_back(from_dependency(one));
    } else if (one.on_case() == api::Dependency::kEvent) {
      out.when.push_back(one.event());
    } else if (one.condition() == api::DEPENDENCY_CONDITION_SUCCEEDED) {
      out.after_success.push_back(one.job_id());
    } else if (one.condition() == api::DEPENDENCY_CONDITION_FAILED) {
      out.after_failure.push_back(one.job_id());
    } else {
      out.after.push_back(one.job_id());
    }
  }
  return out;
}

StopInfo from_stop(const api::Stop& stop) {
  return {.since_us = stop.since_us(),
          .kill_at_us = stop.kill_at_us(),
          .killed = stop.killed(),
          .why = static_cast<CauseKind>(stop.why()),
          .timeout = static_cast<TimeoutKind>(stop.timeout()),
          .reason = stop.reason()};
}

AttemptInfo from_attempt(const api::Attempt& attempt) {
  AttemptInfo out;
  out.number = attempt.number();
  out.epoch = attempt.epoch();
  out.state = static_cast<JobState>(attempt.state());
  out.started_us = attempt.started_us();
  out.finished_us = attempt.finished_us();
  out.worker_pid = attempt.worker_pid();
  out.worker = attempt.worker();
  out.cause = from_cause(attempt.cause());
  out.cpu_us = attempt.cpu_us();
  out.peak_memory_bytes = attempt.peak_memory_bytes();
  out.memory_bytes_max = attempt.memory_bytes_max();
  return out;
}

// As the daemon's configuration has them.
std::string leaks_word(api::LeakPolicy policy) {
  switch (policy) {
    case api::LEAK_POLICY_UNSPECIFIED:
    case api::LEAK_POLICY_REPLACE:
      return "replace";
    case api::LEAK_POLICY_WARN:
      return "warn";
    case api::LEAK_POLICY_OFF:
      return "ignore";
    default:  // of a peer's number
      return std::to_string(policy);
  }
}

PoolSettings from_options(const api::PoolOptions& options) {
  PoolSettings out;
  out.jobs_at_once = std::max(options.jobs_at_once(), 1U);
  out.jobs_per_worker_max = options.jobs_per_worker_max();
  out.rss_bytes_max = options.worker_rss_bytes_max();
  out.leaks = leaks_word(options.leaks());
  out.user = options.user();
  out.env_allow.assign(options.env_allow().begin(), options.env_allow().end());
  out.limits.insert(options.limits().begin(), options.limits().end());
  out.nice = options.nice();
  out.no_new_privileges = options.no_new_privileges();
  out.no_network = options.no_network();
  out.private_directory = options.private_directory();
  out.memory_bytes_max = static_cast<std::uint64_t>(options.worker_memory_bytes_max());
  out.processes_max = options.processes_max();
  out.plugins.assign(options.plugins().begin(), options.plugins().end());
  return out;
}

}  // namespace

void to_retries(const Retries& retries, api::Retries& out) {
  out.set_max_attempts(retries.max_attempts);
  out.set_backoff_ms(retries.backoff.count());
  out.set_factor(retries.factor);
  out.set_backoff_ms_max(retries.backoff_max.count());
  out.set_jitter(retries.jitter);
  for (const std::string& entry : retries.only_classes) out.add_only_classes(entry);
  for (const std::string& entry : retries.except_classes) out.add_except_classes(entry);
  out.set_memory_factor(retries.memory_factor);
  out.set_memory_bytes_max(retries.memory_bytes_max);
}

// What is said without `cache` goes along: the daemon refuses it by name.
void add_cache(const JobOptions& options, api::JobSpec& spec) {
  const CacheOptions& caching = options.caching;
  const bool says_more = caching.ttl.count() != 0 || !caching.ignored_parts.empty() ||
                         !caching.ignored_fields.empty() || !caching.key.empty() || caching.failures || caching.explain;
  if (!options.cache && !says_more) return;
  api::CachePolicy& policy = *spec.mutable_cache();
  policy.set_enabled(options.cache);
  policy.set_ttl_ms(caching.ttl.count());
  policy.mutable_ignored_parts()->Assign(caching.ignored_parts.begin(), caching.ignored_parts.end());
  policy.mutable_ignored_fields()->Assign(caching.ignored_fields.begin(), caching.ignored_fields.end());
  policy.set_key(caching.key);
  policy.set_cache_failures(caching.failures);
  policy.set_explain(caching.explain);
}

api::JobSpec to_spec(const JobOptions& options, std::string_view task) {
  api::JobSpec spec;
  spec.set_queue(options.queue);
  spec.set_pool(options.pool);
  spec.set_task(std::string(task));
  spec.set_priority(options.priority);
  to_retries(options.retries, *spec.mutable_retries());
  to_timeouts(options.timeouts, *spec.mutable_timeouts());
  spec.set_at_most_once(options.at_most_once);
  spec.set_crashes_max(options.crashes_max);
  spec.set_name(options.name);
  spec.mutable_labels()->insert(options.labels.begin(), options.labels.end());
  spec.set_front(options.front);
  spec.set_start_at_us(options.start_at_us);
  spec.set_start_after_ms(options.start_after.count());
  spec.set_fairness_key(options.fairness_key);
  spec.set_limit_key(options.limit_key);
  for (const auto& [semaphore, permits] : options.needs) {
    api::Need& need = *spec.add_needs();
    need.set_semaphore(semaphore);
    need.set_permits(permits);
  }
  add_dependencies(options, *spec.mutable_dependencies());
  spec.set_retention_ms(options.retention.count());
  spec.set_memory_bytes_max(options.memory_bytes_max);
  spec.set_output_bytes_max(options.output_bytes_max);
  spec.set_parent_id(options.parent_id);
  if (options.max_failures) spec.set_max_failures(*options.max_failures);
  for (const CompletionCallback& callback : options.callbacks) to_callback(callback, *spec.add_callbacks());
  add_cache(options, spec);
  spec.set_durable_segments(options.durable_segments);
  return spec;
}

void to_dependencies(const SubmitOptions& options, api::Item& out) {
  add_dependencies(options, *out.mutable_dependencies());
}

void to_part(const Part& part, api::Part& out) {
  out.set_content_type(part.content_type);
  if (part.result_of != 0) {
    out.set_result_of(part.result_of);
    return;
  }
  if (part.segment.id == 0) {
    out.set_data(part.bytes);
  } else {
    api::SegmentSlice& slice = *out.mutable_segment();
    slice.set_id(part.segment.id);
    slice.set_begin(part.segment.begin);
    slice.set_end(part.segment.end);
  }
  if (part.segment.dtype.empty()) return;
  out.mutable_array()->set_dtype(part.segment.dtype);
  for (const std::int64_t extent : part.segment.shape) out.mutable_array()->add_shape(extent);
}

void to_command(const CommandLine& command, api::Command& out) {
  for (const std::string& word : command.argv) out.add_argv(word);
  for (const std::string& setting : command.env) out.add_env(setting);
  out.set_cwd(command.cwd);
  out.set_stdin_bytes(command.stdin_bytes);
  out.set_stdin_result_of(command.stdin_result_of);
  if (command.umask) out.set_umask(*command.umask);
}

void add_ranges(std::vector<std::uint64_t> ids, google::protobuf::RepeatedPtrField<api::IdRange>& out) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (std::size_t begin = 0; begin < ids.size();) {
    std::size_t end = begin + 1;
    while (end < ids.size() && ids[end] == ids[end - 1] + 1) ++end;
    api::IdRange& range = *out.Add();
    range.set_first(ids[begin]);
    range.set_last(ids[end - 1]);
    begin = end;
  }
}

Part from_part(api::Part&& part) {
  Part out;
  out.content_type = std::move(*part.mutable_content_type());
  out.bytes = std::move(*part.mutable_data());
  if (part.has_segment()) {
    out.segment.id = part.segment().id();
    out.segment.begin = part.segment().begin();
    out.segment.end = part.segment().end();
  }
  if (part.has_array()) {
    out.segment.dtype = part.array().dtype();
    out.segment.shape.assign(part.array().shape().begin(), part.array().shape().end());
  }
  out.result_of = part.result_of();
  return out;
}

void to_filter(const JobFilter& filter, api::JobFilter& out) {
  for (const JobState state : filter.states) out.add_states(static_cast<api::JobState>(state));
  for (const CauseKind cause : filter.causes) out.add_causes(static_cast<api::CauseKind>(cause));
  out.set_queue(filter.queue);
  out.set_pool(filter.pool);
  out.set_task(filter.task);
  out.set_name(filter.name);
  out.mutable_labels()->insert(filter.labels.begin(), filter.labels.end());
  if (filter.owner_uid) out.set_owner_uid(*filter.owner_uid);
  out.set_submitted_after_us(filter.submitted_after_us);
  out.set_submitted_before_us(filter.submitted_before_us);
  out.set_parent_id(filter.parent_id);
  out.set_batch_id(filter.batch_id);
}

Cause from_cause(const api::Cause& cause) {
  Cause out;
  out.kind = static_cast<CauseKind>(cause.kind());
  out.timeout = static_cast<TimeoutKind>(cause.timeout());
  out.error_class = cause.error_class();
  out.message = cause.message();
  out.exit_code = cause.exit_code();
  out.signal = cause.signal();
  out.peak_memory_bytes = cause.peak_memory_bytes();
  out.stdout_tail = cause.stdout_tail();
  out.stderr_tail = cause.stderr_tail();
  out.retry_refused = cause.retry_refused();
  out.stacks = cause.stacks();
  return out;
}

Outcome from_outcome(api::Outcome&& outcome) {
  Outcome out;
  out.id = outcome.id();
  out.state = static_cast<JobState>(outcome.state());
  out.attempts = outcome.attempts();
  out.submitted_us = outcome.submitted_us();
  out.started_us = outcome.started_us();
  out.finished_us = outcome.finished_us();
  out.result.reserve(static_cast<std::size_t>(outcome.result_size()));
  for (api::Part& part : *outcome.mutable_result()) out.result.push_back(from_part(std::move(part)));
  out.result_elided = outcome.result_elided();
  out.result_bytes = outcome.result_bytes();
  if (outcome.has_cause()) out.cause = from_cause(outcome.cause());
  out.from_cache = outcome.from_cache();
  out.cache_note = outcome.cache_note();
  return out;
}

JobInfo from_job(const api::Job& job) {
  JobInfo out;
  out.id = job.id();
  out.state = static_cast<JobState>(job.state());
  out.queue = job.queue();
  out.pool = job.pool();
  out.task = job.task();
  out.argv.assign(job.command().argv().begin(), job.command().argv().end());
  out.cwd = job.command().cwd();
  out.name = job.name();
  out.labels.insert(job.labels().begin(), job.labels().end());
  out.priority = job.priority();
  out.owner_uid = job.owner_uid();
  out.owner = job.owner();
  out.submitted_us = job.submitted_us();
  out.start_at_us = job.start_at_us();
  out.started_us = job.started_us();
  out.finished_us = job.finished_us();
  out.next_attempt_us = job.next_attempt_us();
  out.attempts = job.attempts();
  out.retry_of = job.retry_of();
  out.retried_by = job.retried_by();
  out.from_cache = job.from_cache();
  out.cache_note = job.cache_note();
  out.parent_id = job.parent_id();
  out.batch_id = job.batch_id();
  out.payload_bytes = job.payload_bytes();
  out.result_bytes = job.result_bytes();
  out.at_most_once = job.at_most_once();
  out.progress = job.progress();
  out.progress_message = job.progress_message();
  out.alive_us = job.alive_us();
  out.waits_for.assign(job.waits_for().begin(), job.waits_for().end());
  if (job.has_stop()) out.stop = from_stop(job.stop());
  out.cause = from_cause(job.cause());
  if (job.has_spec()) out.options = from_spec(job.spec());
  for (const api::Attempt& attempt : job.attempt_history()) out.attempt_history.push_back(from_attempt(attempt));
  return out;
}

void to_queue_options(const QueueOptions& options, api::QueueOptions& out) {
  out.set_discipline(to_discipline(options.discipline));
  out.set_concurrency_max(options.concurrency_max);
  out.set_concurrency_per_key_max(options.concurrency_per_key_max);
  if (is_said(options.rate)) to_rate(options.rate, *out.mutable_rate());
  if (is_said(options.rate_per_key)) to_rate(options.rate_per_key, *out.mutable_rate_per_key());
  out.set_queued_jobs_max(options.queued_jobs_max);
  out.set_queued_bytes_max(options.queued_bytes_max);
  for (const std::string& pool : options.pools) out.add_pools(pool);
  out.set_weight(options.weight);
  out.set_fair(options.fair);
  out.set_ageing_ms(options.ageing.count());
  api::Retries retries;
  to_retries(options.retries, retries);
  if (retries.ByteSizeLong() > 0) *out.mutable_default_retries() = retries;
  api::Timeouts timeouts;
  to_timeouts(options.timeouts, timeouts);
  if (timeouts.ByteSizeLong() > 0) *out.mutable_default_timeouts() = timeouts;
  out.set_default_retention_ms(options.retention.count());
}

QueueInfo from_queue(const api::Queue& queue) {
  QueueInfo out;
  out.name = queue.name();
  out.discipline = queue.options().discipline() == api::QUEUE_DISCIPLINE_UNSPECIFIED
                       ? "FIFO"
                       : word_of(api::QueueDiscipline_Name(queue.options().discipline()), sizeof("QUEUE_DISCIPLINE"));
  out.paused = queue.paused();
  out.draining = queue.draining();
  out.options = from_options(queue.options());
  out.options.discipline = out.discipline;
  out.queued_bytes = queue.queued_bytes();
  out.wait_p50_us = queue.wait_p50_us();
  out.wait_p99_us = queue.wait_p99_us();
  out.created_us = queue.created_us();
  out.scheduled = queue.scheduled();
  out.blocked = queue.blocked();
  out.queued = queue.queued();
  out.running = queue.running();
  out.succeeded = queue.succeeded();
  out.failed = queue.failed();
  out.cancelled = queue.cancelled();
  out.timed_out = queue.timed_out();
  out.starts_per_second = queue.starts_per_second();
  return out;
}

PoolInfo from_pool(const api::Pool& pool) {
  PoolInfo out;
  out.name = pool.name();
  out.mode = word_of(api::PoolMode_Name(pool.options().mode()), sizeof("POOL_MODE"));
  out.workers = pool.workers();
  out.workers_min = pool.options().workers_min();
  out.workers_max = pool.options().workers_max();
  out.worker_idle_ms = pool.options().worker_idle_ms();
  out.workers_busy = pool.workers_busy();
  out.jobs_running = pool.jobs_running();
  out.jobs_max = pool.jobs_max();
  out.jobs_run = pool.jobs_run();
  out.settings = from_options(pool.options());
  for (const api::Task& task : pool.tasks()) out.tasks.push_back({task.name(), task.version(), task.description()});
  out.zygote_pid = pool.zygote_pid();
  out.zygote_start_us = pool.zygote_start_us();
  out.fork_us = pool.fork_us();
  out.problem = pool.problem();
  return out;
}

WorkerInfo from_worker(const api::Worker& worker) {
  WorkerInfo out;
  out.pool = worker.pool();
  out.slot = worker.slot();
  out.generation = worker.generation();
  out.pid = worker.pid();
  out.state = word_of(api::WorkerState_Name(worker.state()), sizeof("WORKER_STATE"));
  out.job_ids.assign(worker.job_ids().begin(), worker.job_ids().end());
  out.jobs_running = worker.jobs_running();
  out.jobs_max = worker.jobs_max();
  out.jobs_run = worker.jobs_run();
  out.rss_bytes = worker.rss_bytes();
  out.pss_bytes = worker.pss_bytes();
  out.cpu_us = worker.cpu_us();
  out.started_us = worker.started_us();
  out.offers = worker.offers();
  out.processes = worker.processes();
  out.tree_rss_bytes = worker.tree_rss_bytes();
  return out;
}

std::exception_ptr to_exception(int status_code, const std::string& message) {
  const ErrorKind kind = kind_of(status_code);
  if (kind == ErrorKind::kUnavailable) return std::make_exception_ptr(Unavailable(message));
  if (kind == ErrorKind::kTimeout) return std::make_exception_ptr(WaitTimeout(message));
  return std::make_exception_ptr(Error(kind, message));
}

bool is_transient(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE || status.error_code() == grpc::StatusCode::CANCELLED;
}

bool may_resume(const grpc::Status& status) {
  return status.ok() || is_transient(status) || status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED ||
         status.error_code() == grpc::StatusCode::INTERNAL;
}

}  // namespace futured::client
