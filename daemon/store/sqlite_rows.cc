#include "daemon/store/sqlite_rows.h"

#include <algorithm>
#include <charconv>

#include "base/wire.h"
#include "daemon/store/cause_code.h"
#include "daemon/store/stored_bytes.h"

namespace futured {

namespace {

constexpr char kBetweenWords = '\n';

std::vector<std::string> split_words(std::string_view joined) {
  std::vector<std::string> words;
  while (!joined.empty()) {
    const std::size_t end = std::min(joined.find(kBetweenWords), joined.size());
    words.emplace_back(joined.substr(0, end));
    joined.remove_prefix(std::min(end + 1, joined.size()));
  }
  return words;
}

}  // namespace

std::string join_words(const std::vector<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) {
    if (!joined.empty()) joined += kBetweenWords;
    joined += word;
  }
  return joined;
}

std::string encode_needs(const std::vector<Need>& needs) {
  std::vector<std::string> lines;
  for (const Need& need : needs) lines.push_back(std::to_string(need.permits) + " " + need.semaphore);
  return join_words(lines);
}

std::vector<Need> decode_needs(std::string_view encoded) {
  std::vector<Need> needs;
  for (const std::string& line : split_words(encoded)) {
    const std::size_t gap = std::min(line.find(' '), line.size());
    Need need{line.substr(std::min(gap + 1, line.size())), 0};
    std::from_chars(line.data(), line.data() + gap, need.permits);
    needs.push_back(std::move(need));
  }
  return needs;
}

// Bits, so that a later term needs no column.
std::int32_t encode_cache_terms(const CacheTerms& terms) {
  return (terms.enabled ? 1 : 0) | (terms.failures ? 2 : 0) | (terms.explain ? 4 : 0);
}

// The key, how many parts and which, and the fields. Empty: none of them.
std::string encode_cache_words(const CacheTerms& terms) {
  std::string words;
  if (terms.key.empty() && terms.ignored_parts.empty() && terms.ignored_fields.empty()) return words;
  append_bytes(words, terms.key);
  append_varint(words, terms.ignored_parts.size());
  for (const std::uint32_t part : terms.ignored_parts) append_varint(words, part);
  for (const std::string& field : terms.ignored_fields) append_bytes(words, field);
  return words;
}

CacheTerms read_cache_terms(std::int64_t bits, Duration ttl, std::string_view words) {
  CacheTerms terms{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, ttl};
  if (words.empty()) return terms;
  WireReader reader(words);
  terms.key = reader.bytes();
  for (std::uint64_t parts = reader.varint(); parts > 0 && !reader.failed(); --parts) {
    terms.ignored_parts.push_back(static_cast<std::uint32_t>(reader.varint()));
  }
  while (!reader.failed() && !reader.at_end()) terms.ignored_fields.emplace_back(reader.bytes());
  return terms;
}

SpecRow read_spec(const Execution& row) {
  JobSpec spec;
  spec.queue = row.bytes(1);
  spec.pool = row.bytes(2);
  spec.task = row.bytes(3);
  spec.name = row.bytes(4);
  spec.priority = static_cast<std::int32_t>(row.integer(5));
  spec.max_attempts = row.number32(6);
  spec.backoff = Duration(row.integer(7));
  spec.backoff_factor = row.real(8);
  spec.backoff_max = Duration(row.integer(9));
  spec.jitter = row.real(10);
  spec.queue_timeout = Duration(row.integer(11));
  spec.run_timeout = Duration(row.integer(12));
  spec.total_timeout = Duration(row.integer(13));
  spec.grace = Duration(row.integer(14));
  spec.at_most_once = row.integer(15) != 0;
  spec.retry_only = split_words(row.bytes(16));
  spec.retry_except = split_words(row.bytes(17));
  spec.crashes_max = row.number32(18);
  spec.callbacks = row.bytes(19);
  spec.soft_timeout = Duration(row.integer(20));
  spec.heartbeat_timeout = Duration(row.integer(21));
  spec.retry_memory_factor = row.real(22);
  spec.retry_memory_bytes_max = row.number(23);
  spec.retention = Duration(row.integer(24));
  spec.front = row.integer(25) != 0;
  spec.fairness_key = row.bytes(26);
  spec.limit_key = row.bytes(27);
  spec.needs = decode_needs(row.bytes(28));
  spec.cache = read_cache_terms(row.integer(29), Duration(row.integer(30)), row.bytes(32));
  spec.ageing = Duration(row.integer(31));
  if (!row.is_null(33)) spec.max_failures = row.number32(33);
  return {SpecId{row.number(0)}, std::move(spec)};
}

Lineage read_lineage(const Execution& row, int first) {
  return {JobId{row.number(first)}, static_cast<std::uint8_t>(row.integer(first + 1))};
}

Result<Ending> read_ending(const Execution& row, int first, ContentFiles* files) {
  Ending ending;
  ending.state = static_cast<JobState>(row.integer(first));
  if (!is_terminal(ending.state)) return ending;
  ending.attempt = row.number32(first + 1);
  ending.epoch = Epoch{row.number32(first + 2)};
  ending.started_at = WallTime{row.integer(first + 3)};  // NULL reads as 0: it never ran
  ending.finished_at = WallTime{row.integer(first + 4)};
  if (!row.is_null(first + 5)) {
    std::optional<Cause> cause = decode_cause(row.bytes(first + 5));
    if (!cause) return Error{ErrorCode::kDataLoss, "the stored cause of an ending is damaged"};
    ending.cause = std::make_unique<Cause>(*std::move(cause));
  }
  if (files == nullptr) return ending;
  Result<std::string> result = restore(row.bytes(first + 6), *files);
  if (!result) return result.error();
  ending.result = *std::move(result);
  return ending;
}

std::string encode_ids(const std::vector<CallbackId>& ids) {
  std::string encoded;
  for (const CallbackId id : ids) append_varint(encoded, id.value);
  return encoded;
}

DeliveryRow read_delivery(const Execution& row) {
  DeliveryRow delivery{CallbackId{row.number(0)},
                       JobId{row.number(1)},
                       row.number32(2),
                       static_cast<DeliveryState>(row.integer(3)),
                       row.number32(4),
                       WallTime{row.integer(5)},
                       {},
                       std::string(row.bytes(7))};
  WireReader behind(row.bytes(6));
  while (!behind.at_end() && !behind.failed()) delivery.behind.push_back(CallbackId{behind.varint()});
  return delivery;
}

WholeBatchRow read_whole_batch(const Execution& row) {
  WholeBatchRow batch{JobId{row.number(0)}, row.number32(1), row.number32(2), row.number32(3)};
  if (!row.is_null(4)) batch.max_failures = row.number32(4);
  return batch;
}

Result<AttemptRow> read_attempt(const Execution& row) {
  AttemptRow attempt;
  attempt.fence = {JobId{row.number(0)}, Epoch{row.number32(1)}, row.number32(2)};
  attempt.slot = SlotId{row.number32(3)};
  attempt.finished_at = WallTime{row.integer(4)};
  if (!row.is_null(5)) attempt.started_at = WallTime{row.integer(4) - row.integer(5)};
  attempt.retry_at = WallTime{row.integer(6)};
  std::optional<Cause> cause = decode_cause(row.bytes(7));
  if (!cause) return Error{ErrorCode::kDataLoss, "the stored cause of an attempt is damaged"};
  attempt.cause = *std::move(cause);
  attempt.charge = static_cast<Charge>(row.integer(8));
  attempt.worker_pid = static_cast<std::int32_t>(row.integer(9));
  attempt.memory_bytes_max = row.number(10);
  attempt.next_memory_bytes_max = row.number(11);
  return attempt;
}

void bind_ran(Statement& statement, int parameter, WallTime started_at, WallTime finished_at) {
  if (started_at.us == 0) {
    statement.bind_null(parameter);
  } else {
    statement.bind(parameter, finished_at.us - started_at.us);
  }
}

}  // namespace futured
