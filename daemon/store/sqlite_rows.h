// Columns into rows: what the store and its readers share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "daemon/core/rows.h"
#include "daemon/store/content_files.h"
#include "daemon/store/sqlite_database.h"

namespace futured {

inline constexpr const char* kSpecColumns =
    "id, queue, pool, task, name, priority, max_attempts, backoff_ns, backoff_factor, backoff_max_ns, jitter, "
    "queue_timeout_ns, run_timeout_ns, total_timeout_ns, grace_ns, at_most_once, retry_only, "
    "retry_except, crashes_max, callbacks, soft_timeout_ns, heartbeat_timeout_ns, retry_memory_factor, "
    "retry_memory_bytes_max, retention_ns, front, fairness_key, limit_key, needs, "
    "cache, cache_ttl_ns, ageing_ns, cache_words, max_failures";
[[nodiscard]] SpecRow read_spec(const Execution& row);

[[nodiscard]] std::int32_t encode_cache_terms(const CacheTerms& terms);
[[nodiscard]] CacheTerms read_cache_terms(std::int64_t bits, Duration ttl, std::string_view words);
// What of them are words, and numbers of parts.
[[nodiscard]] std::string encode_cache_words(const CacheTerms& terms);

// From column `first` on: parent, depth.
[[nodiscard]] Lineage read_lineage(const Execution& row, int first);

// From column `first` on: state, attempt, epoch, started_at, finished_at, cause; and result, in `files` or not, unless
// they are null.
inline constexpr const char* kEndingColumns = "state, attempt, epoch, started_at, finished_at, cause";
[[nodiscard]] Result<Ending> read_ending(const Execution& row, int first, ContentFiles* files);

// The columns of `deliveries`, in their order.
inline constexpr const char* kDeliveryColumns = "id, job, lane, state, attempts, at, behind, error";
[[nodiscard]] DeliveryRow read_delivery(const Execution& row);
// As its column `behind` has them.
[[nodiscard]] std::string encode_ids(const std::vector<CallbackId>& ids);

// Of a job: the first one of its batch and how many that has, in the first row. None: there is no such job.
inline constexpr const char* kBatchWith =
    "SELECT first, count FROM (SELECT first, count FROM batches WHERE first <= ?1 ORDER BY first DESC LIMIT 1)"
    " WHERE first + count > ?1 UNION ALL SELECT id, 1 FROM jobs WHERE id = ?1";
// The columns of `dependencies`, in their order.
inline constexpr const char* kDependencyColumns =
    "job, number, parent, event, condition, state, batch_jobs, any_of, takes_result";

// The columns of `whole_batches`, in their order.
[[nodiscard]] WholeBatchRow read_whole_batch(const Execution& row);

inline constexpr const char* kAttemptColumns =
    "job, epoch, attempt, slot, finished_at, ran, retry_at, cause, charge, worker_pid, memory_bytes_max, "
    "next_memory_bytes_max";
[[nodiscard]] Result<AttemptRow> read_attempt(const Execution& row);

// As the column `needs` of a spec has them: a line each, the permits first, for a name may hold any sign.
[[nodiscard]] std::string encode_needs(const std::vector<Need>& needs);
[[nodiscard]] std::vector<Need> decode_needs(std::string_view encoded);

// Words without control characters, as one column.
[[nodiscard]] std::string join_words(const std::vector<std::string>& words);

// How a start that never was (0) and the time between start and end are stored. docs/formats/database.md.
void bind_ran(Statement& statement, int parameter, WallTime started_at, WallTime finished_at);

}  // namespace futured
