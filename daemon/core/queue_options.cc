#include "daemon/core/queue_options.h"

#include <bit>

#include "base/limits.h"
#include "base/wire.h"

namespace futured {

namespace {

constexpr std::uint64_t kVersion = 2;
constexpr std::uint64_t kVersionWithoutClasses = 1;  // of which errors are tried again, and with how much memory

void append_duration(std::string& out, Duration duration) {
  append_varint(out, static_cast<std::uint64_t>(duration.count()));
}
void append_real(std::string& out, double value) { append_varint(out, std::bit_cast<std::uint64_t>(value)); }

void append_rate(std::string& out, const RateLimit& rate) {
  append_real(out, rate.starts);
  append_duration(out, rate.per);
  append_varint(out, rate.burst);
}

Duration read_duration(WireReader& reader) { return Duration(static_cast<std::int64_t>(reader.varint())); }
double read_real(WireReader& reader) { return std::bit_cast<double>(reader.varint()); }
std::uint32_t read_number(WireReader& reader) { return static_cast<std::uint32_t>(reader.varint()); }

RateLimit read_rate(WireReader& reader) {
  RateLimit rate;
  rate.starts = read_real(reader);
  rate.per = read_duration(reader);
  rate.burst = read_number(reader);
  return rate;
}

void append_defaults(std::string& out, const QueueDefaults& defaults) {
  append_varint(out, defaults.max_attempts);
  append_duration(out, defaults.backoff);
  append_real(out, defaults.backoff_factor);
  append_duration(out, defaults.backoff_max);
  append_real(out, defaults.jitter);
  append_duration(out, defaults.queue_timeout);
  append_duration(out, defaults.soft_timeout);
  append_duration(out, defaults.run_timeout);
  append_duration(out, defaults.heartbeat_timeout);
  append_duration(out, defaults.total_timeout);
  append_duration(out, defaults.grace);
  append_duration(out, defaults.retention);
}

void append_words(std::string& out, const std::vector<std::string>& words) {
  append_varint(out, words.size());
  for (const std::string& word : words) append_bytes(out, word);
}

bool read_words(WireReader& reader, std::size_t most, std::vector<std::string>& words) {
  const std::uint64_t count = reader.varint();
  if (reader.failed() || count > most) return false;
  for (std::uint64_t i = 0; i < count; ++i) words.emplace_back(reader.bytes());
  return true;
}

void append_classes(std::string& out, const QueueDefaults& defaults) {
  append_words(out, defaults.retry_only);
  append_words(out, defaults.retry_except);
  append_real(out, defaults.retry_memory_factor);
  append_varint(out, defaults.retry_memory_bytes_max);
}

bool read_classes(WireReader& reader, QueueDefaults& defaults) {
  if (!read_words(reader, limits::kRetryClassesMax, defaults.retry_only)) return false;
  if (!read_words(reader, limits::kRetryClassesMax, defaults.retry_except)) return false;
  defaults.retry_memory_factor = read_real(reader);
  defaults.retry_memory_bytes_max = reader.varint();
  return true;
}

QueueDefaults read_defaults(WireReader& reader) {
  QueueDefaults defaults;
  defaults.max_attempts = read_number(reader);
  defaults.backoff = read_duration(reader);
  defaults.backoff_factor = read_real(reader);
  defaults.backoff_max = read_duration(reader);
  defaults.jitter = read_real(reader);
  defaults.queue_timeout = read_duration(reader);
  defaults.soft_timeout = read_duration(reader);
  defaults.run_timeout = read_duration(reader);
  defaults.heartbeat_timeout = read_duration(reader);
  defaults.total_timeout = read_duration(reader);
  defaults.grace = read_duration(reader);
  defaults.retention = read_duration(reader);
  return defaults;
}

void change_retries(QueueDefaults& defaults, const QueueDefaults& changed) {
  defaults.max_attempts = changed.max_attempts;
  defaults.backoff = changed.backoff;
  defaults.backoff_factor = changed.backoff_factor;
  defaults.backoff_max = changed.backoff_max;
  defaults.jitter = changed.jitter;
  defaults.retry_only = changed.retry_only;
  defaults.retry_except = changed.retry_except;
  defaults.retry_memory_factor = changed.retry_memory_factor;
  defaults.retry_memory_bytes_max = changed.retry_memory_bytes_max;
}

void change_timeouts(QueueDefaults& defaults, const QueueDefaults& changed) {
  defaults.queue_timeout = changed.queue_timeout;
  defaults.soft_timeout = changed.soft_timeout;
  defaults.run_timeout = changed.run_timeout;
  defaults.heartbeat_timeout = changed.heartbeat_timeout;
  defaults.total_timeout = changed.total_timeout;
  defaults.grace = changed.grace;
}

void change_one(QueueOptions& options, const QueueOptions& changed, QueueField field) {
  switch (field) {
    case QueueField::kConcurrencyMax:
      options.concurrency_max = changed.concurrency_max;
      return;
    case QueueField::kConcurrencyPerKeyMax:
      options.concurrency_per_key_max = changed.concurrency_per_key_max;
      return;
    case QueueField::kRate:
      options.rate = changed.rate;
      return;
    case QueueField::kRatePerKey:
      options.rate_per_key = changed.rate_per_key;
      return;
    case QueueField::kQueuedJobsMax:
      options.queued_jobs_max = changed.queued_jobs_max;
      return;
    case QueueField::kQueuedBytesMax:
      options.queued_bytes_max = changed.queued_bytes_max;
      return;
    case QueueField::kPools:
      options.pools = changed.pools;
      return;
    case QueueField::kWeight:
      options.weight = changed.weight;
      return;
    case QueueField::kFair:
      options.fair = changed.fair;
      return;
    case QueueField::kAgeing:
      options.ageing = changed.ageing;
      return;
    case QueueField::kDefaultRetries:
      return change_retries(options.defaults, changed.defaults);
    case QueueField::kDefaultTimeouts:
      return change_timeouts(options.defaults, changed.defaults);
    case QueueField::kDefaultRetention:
      options.defaults.retention = changed.defaults.retention;
      return;
  }
}

}  // namespace

void change(QueueOptions& options, const QueueOptions& changed, const std::vector<QueueField>& fields) {
  for (const QueueField field : fields) change_one(options, changed, field);
}

std::string encode_queue_options(const QueueOptions& options) {
  std::string out;
  if (options == QueueOptions{}) return out;
  append_varint(out, kVersion);
  append_varint(out, options.concurrency_max);
  append_varint(out, options.concurrency_per_key_max);
  append_rate(out, options.rate);
  append_rate(out, options.rate_per_key);
  append_varint(out, options.queued_jobs_max);
  append_varint(out, options.queued_bytes_max);
  append_words(out, options.pools);
  append_varint(out, options.weight);
  append_varint(out, options.fair ? 1 : 0);
  append_duration(out, options.ageing);
  append_defaults(out, options.defaults);
  append_classes(out, options.defaults);
  return out;
}

Result<QueueOptions> decode_queue_options(std::string_view encoded) {
  QueueOptions options;
  if (encoded.empty()) return options;
  const Error damaged{ErrorCode::kDataLoss, "the stored options of a queue are damaged"};
  WireReader reader(encoded);
  const std::uint64_t version = reader.varint();
  if (version != kVersion && version != kVersionWithoutClasses) return damaged;
  options.concurrency_max = read_number(reader);
  options.concurrency_per_key_max = read_number(reader);
  options.rate = read_rate(reader);
  options.rate_per_key = read_rate(reader);
  options.queued_jobs_max = reader.varint();
  options.queued_bytes_max = reader.varint();
  if (!read_words(reader, limits::kQueuePoolsMax, options.pools)) return damaged;
  options.weight = read_number(reader);
  options.fair = reader.varint() != 0;
  options.ageing = read_duration(reader);
  options.defaults = read_defaults(reader);
  if (version == kVersion && !read_classes(reader, options.defaults)) return damaged;
  if (reader.failed() || !reader.at_end()) return damaged;
  return options;
}

}  // namespace futured
