// text.h, the part of it that is JSON.
#include <algorithm>

#include "client/cli/callback_flags.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

std::string base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    for (std::size_t j = 0; j < 4; ++j) out += j <= count ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

// 0 is a time that is not known, or has not come.
void put_time(Json& json, const char* name, std::int64_t us) {
  if (us != 0) json[name] = us;
}

void put_text(Json& json, const char* name, const std::string& text) {
  if (!text.empty()) json[name] = text;
}

void put_count(Json& json, const char* name, std::int64_t count) {
  if (count != 0) json[name] = count;
}

Json json_of(const client::Retries& retries) {
  return {{"max_attempts", retries.max_attempts},
          {"backoff_ms", retries.backoff.count()},
          {"factor", retries.factor},
          {"backoff_ms_max", retries.backoff_max.count()},
          {"jitter", retries.jitter},
          {"memory_factor", retries.memory_factor},
          {"memory_bytes_max", retries.memory_bytes_max},
          {"only_classes", retries.only_classes},
          {"except_classes", retries.except_classes}};
}

Json json_of(const client::CacheOptions& caching) {
  return {{"key", caching.key},
          {"ttl_ms", caching.ttl.count()},
          {"ignored_parts", caching.ignored_parts},
          {"ignored_fields", caching.ignored_fields},
          {"failures", caching.failures},
          {"explain", caching.explain}};
}

Json json_of(const client::Timeouts& timeouts) {
  return {{"queue_ms", timeouts.queue.count()}, {"soft_ms", timeouts.soft.count()},
          {"run_ms", timeouts.run.count()},     {"heartbeat_ms", timeouts.heartbeat.count()},
          {"total_ms", timeouts.total.count()}, {"grace_ms", timeouts.grace.count()}};
}

Json json_of(const client::CompletionCallback& callback) {
  return {{"on", condition_text(callback.on)},
          {"whole_batch", callback.whole_batch},
          {"target", target_text(callback)},
          {"secret", callback.secret_name}};
}

std::string_view word_of(client::Dependency::On on) {
  return on == client::Dependency::On::kEnd ? "end" : on == client::Dependency::On::kSuccess ? "success" : "failure";
}

// But for what the job itself tells: queue, pool, priority, name, labels, at most once.
Json json_of(const client::JobOptions& options) {
  Json json;
  json["retries"] = json_of(options.retries);
  json["timeouts"] = json_of(options.timeouts);
  json["crashes_max"] = options.crashes_max;
  if (options.front) json["front"] = true;
  put_count(json, "start_after_ms", options.start_after.count());
  put_time(json, "start_at_us", options.start_at_us);
  put_text(json, "fairness_key", options.fairness_key);
  put_text(json, "limit_key", options.limit_key);
  if (!options.needs.empty()) json["needs"] = options.needs;
  if (!options.after.empty()) json["after"] = options.after;
  if (!options.after_success.empty()) json["after_success"] = options.after_success;
  if (!options.after_failure.empty()) json["after_failure"] = options.after_failure;
  if (!options.when.empty()) json["when"] = options.when;
  for (const client::Dependency& one : options.depends_on) {
    Json entry;
    if (one.job != 0) entry["job"] = one.job;
    if (one.batch != 0) entry["batch"] = one.batch;
    put_text(entry, "event", one.event);
    if (one.event.empty()) entry["on"] = word_of(one.on);
    if (one.any_of_group != 0) entry["any_of_group"] = one.any_of_group;
    json["depends_on"].push_back(std::move(entry));
  }
  if (options.max_failures) json["max_failures"] = *options.max_failures;
  put_count(json, "retention_ms", options.retention.count());
  put_count(json, "memory_bytes_max", options.memory_bytes_max);
  put_count(json, "output_bytes_max", options.output_bytes_max);
  if (options.parent_id != 0) json["parent_id"] = options.parent_id;
  for (const client::CompletionCallback& callback : options.callbacks) json["callbacks"].push_back(json_of(callback));
  if (options.cache) {
    json["cache"] = true;
    json["caching"] = json_of(options.caching);
  }
  return json;
}

Json json_of(const client::AttemptInfo& attempt) {
  Json json;
  json["number"] = attempt.number;
  json["epoch"] = attempt.epoch;
  json["state"] = client::to_string(attempt.state);
  put_time(json, "started_us", attempt.started_us);
  put_time(json, "finished_us", attempt.finished_us);
  if (!attempt.worker.empty()) json["worker"] = attempt.worker;
  if (attempt.worker_pid != 0) json["worker_pid"] = attempt.worker_pid;
  json["cpu_us"] = attempt.cpu_us;
  json["peak_memory_bytes"] = attempt.peak_memory_bytes;
  put_count(json, "memory_bytes_max", attempt.memory_bytes_max);
  json["cause"] = to_json(attempt.cause);
  return json;
}

Json json_of(const client::StopInfo& stop) {
  Json json = {{"since_us", stop.since_us},
               {"kill_at_us", stop.kill_at_us},
               {"killed", stop.killed},
               {"why", client::to_string(stop.why)}};
  if (stop.why == client::CauseKind::kTimeout) json["timeout"] = client::to_string(stop.timeout);
  put_text(json, "reason", stop.reason);
  return json;
}

}  // namespace

void put_bytes(Json& object, const std::string& name, std::string_view bytes) {
  if (is_utf8(bytes)) {
    object[name] = bytes;
  } else {
    object[name + "_base64"] = base64(bytes);
  }
}

Json to_json(const client::Cause& cause) {
  Json json;
  json["kind"] = client::to_string(cause.kind);
  if (cause.kind == client::CauseKind::kTimeout) json["timeout"] = client::to_string(cause.timeout);
  if (!cause.error_class.empty()) put_bytes(json, "error_class", cause.error_class);
  if (!cause.message.empty()) put_bytes(json, "message", cause.message);
  json["exit_code"] = cause.exit_code;
  json["signal"] = cause.signal;
  if (cause.peak_memory_bytes != 0) json["peak_memory_bytes"] = cause.peak_memory_bytes;
  if (!cause.stdout_tail.empty()) put_bytes(json, "stdout_tail", cause.stdout_tail);
  if (!cause.stderr_tail.empty()) put_bytes(json, "stderr_tail", cause.stderr_tail);
  if (cause.retry_refused) json["retry_refused"] = true;
  if (!cause.stacks.empty()) put_bytes(json, "stacks", cause.stacks);
  return json;
}

Json to_json(const client::Outcome& outcome) {
  Json json;
  json["id"] = outcome.id;
  json["state"] = client::to_string(outcome.state);
  if (outcome.attempts != 0) json["attempts"] = outcome.attempts;
  put_time(json, "submitted_us", outcome.submitted_us);
  put_time(json, "started_us", outcome.started_us);
  put_time(json, "finished_us", outcome.finished_us);
  json["result_bytes"] = outcome.result_bytes;
  json["result"] = Json::array();
  for (const client::Part& part : outcome.result) {
    Json& entry = json["result"].emplace_back(Json::object());
    entry["content_type"] = part.content_type.empty() ? "application/octet-stream" : part.content_type;
    if (part.segment.id != 0) {
      entry["segment"] = {{"id", part.segment.id}, {"begin", part.segment.begin}, {"end", part.segment.end}};
    } else {
      put_bytes(entry, "data", part.bytes);
    }
  }
  if (outcome.from_cache) json["from_cache"] = true;
  if (!outcome.cache_note.empty()) json["cache_note"] = outcome.cache_note;
  if (!outcome.succeeded() || !outcome.cause.message.empty()) json["cause"] = to_json(outcome.cause);
  return json;
}

Json to_json(const client::JobInfo& job, Detail detail) {
  Json json;
  json["id"] = job.id;
  json["state"] = client::to_string(job.state);
  json["queue"] = job.queue;
  json["pool"] = job.pool;
  if (!job.task.empty()) json["task"] = job.task;
  if (!job.argv.empty()) {
    json["argv"] = Json::array();
    for (const std::string& word : job.argv) json["argv"].push_back(is_utf8(word) ? word : quoted({word}));
    json["cwd"] = job.cwd;
  }
  json["name"] = job.name;
  json["labels"] = job.labels;
  json["priority"] = job.priority;
  json["owner_uid"] = job.owner_uid;
  put_time(json, "submitted_us", job.submitted_us);
  put_time(json, "start_at_us", job.start_at_us);
  put_time(json, "started_us", job.started_us);
  put_time(json, "finished_us", job.finished_us);
  json["attempts"] = job.attempts;
  json["retry_of"] = job.retry_of;
  json["retried_by"] = job.retried_by;
  if (job.from_cache) json["from_cache"] = true;
  if (!job.cache_note.empty()) json["cache_note"] = job.cache_note;
  json["parent_id"] = job.parent_id;
  json["batch_id"] = job.batch_id;
  if (detail == Detail::kAll) {
    json["payload_bytes"] = job.payload_bytes;
    json["result_bytes"] = job.result_bytes;
  }
  json["at_most_once"] = job.at_most_once;
  if (job.state == client::JobState::kRunning) {
    json["progress"] = job.progress;
    json["progress_message"] = job.progress_message;
  }
  if (job.stop) json["stop"] = json_of(*job.stop);
  if (!job.waits_for.empty()) json["waits_for"] = job.waits_for;
  if (job.cause.kind != client::CauseKind::kNone) json["cause"] = to_json(job.cause);
  if (job.options) json["spec"] = json_of(*job.options);
  if (job.attempt_history.empty()) return json;
  json["attempt_history"] = Json::array();
  for (const client::AttemptInfo& attempt : job.attempt_history) json["attempt_history"].push_back(json_of(attempt));
  return json;
}

Json to_json(const client::CallbackInfo& info) {
  return {{"id", info.id},
          {"job", info.job_id},
          {"state", info.state},
          {"on", condition_text(info.callback.on)},
          {"whole_batch", info.callback.whole_batch},
          {"batch_jobs", info.batch_jobs},
          {"target", target_text(info.callback)},
          {"secret", info.callback.secret_name},
          {"attempts", info.attempts},
          {"attempts_max", info.callback.retries.max_attempts},
          {"next_attempt_us", info.next_attempt_us},
          {"delivered_us", info.delivered_us},
          {"last_error", info.last_error}};
}

void print_json(const Json& value) { print(value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"); }

}  // namespace futured::cli
