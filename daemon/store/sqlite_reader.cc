#include "daemon/store/sqlite_reader.h"

#include <sqlite3.h>

#include <algorithm>

#include "base/limits.h"
#include "daemon/store/sqlite_keys.h"
#include "daemon/store/sqlite_rows.h"
#include "daemon/store/stored_bytes.h"

namespace futured {
namespace {

constexpr std::size_t kSpecsKeptMax = 1024;
constexpr std::int64_t kReaderCacheKib = 4 * 1024;

// Of each statement that gives jobs, and where their ending follows.
constexpr const char* kHeadColumns =
    "SELECT id, spec, owner, retry_of, submitted_at, parent, depth, "
    "(SELECT start_at FROM delays d WHERE d.job = id), ";
constexpr int kEndingColumn = 8;

void read_head(const Execution& row, StoredJob& job) {
  job.id = JobId{row.number(0)};
  job.spec = SpecId{row.number(1)};
  job.owner = row.number32(2);
  job.retry_of = JobId{row.number(3)};
  job.submitted_at = WallTime{row.integer(4)};
  job.lineage = read_lineage(row, 5);
  job.start_at = WallTime{row.integer(7)};  // NULL reads as 0
}

bool matches(const JobQuery& query, JobState state) {
  return query.states.empty() || std::ranges::find(query.states, state) != query.states.end();
}

bool matches(const JobQuery& query, const JobSpec& spec) {
  return (query.queue.empty() || query.queue == spec.queue) && (query.name.empty() || query.name == spec.name) &&
         (query.task.empty() || query.task == spec.task);
}

}  // namespace

Status SqliteReader::prepare() {
  if (prepared_) return {};
  Result<Database> database = Database::open(path_, {.read_only = true, .vfs = vfs_, .cache_kib = kReaderCacheKib});
  if (!database) return database.error().in("database " + path_);
  database_ = *std::move(database);
  const std::pair<Statement*, std::string> statements[] = {
      {&begin_, "BEGIN"},
      {&end_, "COMMIT"},
      {&job_, std::string(kHeadColumns) + kEndingColumns +
                  ", result, CASE WHEN ?2 THEN payload END FROM job_state WHERE id = ?1"},
      {&head_, std::string(kHeadColumns) + kEndingColumns + " FROM job_state WHERE id = ?"},
      {&attempts_, std::string("SELECT ") + kAttemptColumns + " FROM attempts WHERE job = ? ORDER BY attempt, epoch"},
      {&spec_, std::string("SELECT ") + kSpecColumns + " FROM specs WHERE id = ?"},
      {&page_, std::string(kHeadColumns) + kEndingColumns + " FROM job_state WHERE id < ? ORDER BY id DESC"},
      {&page_up_, std::string(kHeadColumns) + kEndingColumns + " FROM job_state WHERE id > ?1 AND id < ?2 ORDER BY id"},
      {&children_, "SELECT job FROM children WHERE parent = ?1 AND job > ?2 AND job < ?3 ORDER BY job DESC"},
      {&children_up_, "SELECT job FROM children WHERE parent = ?1 AND job > ?2 AND job < ?3 ORDER BY job"},
      {&buckets_, "SELECT (SELECT coalesce(min(bucket), 1) FROM keys), (SELECT coalesce(max(bucket), 0) FROM keys)"},
      {&key_, kFindKey},
      {&trimmed_, "SELECT coalesce((SELECT value FROM meta WHERE name = 'trimmed_until'), 0)"},
      {&gone_,
       "SELECT ?1 < (SELECT value FROM meta WHERE name = 'trimmed_until')"
       " AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = ?1)"},
      {&dependencies_,
       std::string("SELECT ") + kDependencyColumns + " FROM dependencies WHERE job = ? ORDER BY number"},
      {&batch_with_, kBatchWith},
      {&ending_, std::string("SELECT ") + kEndingColumns + ", result FROM job_state WHERE id = ?"},
  };
  for (const auto& [statement, sql] : statements) {
    Result<Statement> made = database_.prepare(sql);
    if (!made) return made.error().in("database " + path_);
    *statement = *std::move(made);
  }
  if (const Status prepared = prepare_callbacks(); !prepared) return prepared;
  prepared_ = true;
  return {};
}

Result<std::optional<JobRecord>> SqliteReader::get(JobId id, bool with_payload) {
  if (const Status ready = prepare(); !ready) return ready.error();
  const OneState state(begin_, end_);
  Result<std::optional<JobRecord>> record = read_job(id, with_payload);
  if (!record || !*record) return record;
  const Result<const JobSpec*> spec = spec_of((*record)->job.spec);
  if (!spec) return spec.error();
  (*record)->spec = **spec;
  if (const Status read = read_attempts(**record); !read) return read.error();
  if (const Status read = read_dependencies(**record); !read) return read.error();
  const Result<BatchRow> batch = batch_with(id);
  if (!batch) return batch.error();
  (*record)->batch = batch->first;
  return record;
}

Result<std::optional<JobRecord>> SqliteReader::read_job(JobId id, bool with_payload) {
  job_.bind(1, id.value);
  job_.bind(2, std::int32_t{with_payload});
  Execution row(job_);
  if (!row.next()) {
    if (row.code() != SQLITE_OK) return fault(row.code());
    return std::optional<JobRecord>();
  }
  JobRecord record;
  read_head(row, record.job);
  Result<Ending> ending = read_ending(row, kEndingColumn, files_.get());
  if (!ending) return ending.error().in("database " + path_);
  record.ending = *std::move(ending);
  record.job.state = record.ending.state;
  if (with_payload) {
    Result<std::string> payload = restore(row.bytes(kEndingColumn + 7), *files_);
    if (!payload) return payload.error();
    record.job.payload = SharedBytes::of(*std::move(payload));
  }
  return std::optional<JobRecord>(std::move(record));
}

Result<std::optional<JobRecord>> SqliteReader::read_job_head(JobId id) {
  head_.bind(1, id.value);
  Execution row(head_);
  if (!row.next()) {
    if (row.code() != SQLITE_OK) return fault(row.code());
    return std::optional<JobRecord>();
  }
  JobRecord record;
  read_head(row, record.job);
  Result<Ending> ending = read_ending(row, kEndingColumn, nullptr);
  if (!ending) return ending.error().in("database " + path_);
  record.ending = *std::move(ending);
  record.job.state = record.ending.state;
  return std::optional<JobRecord>(std::move(record));
}

Status SqliteReader::read_attempts(JobRecord& record) {
  attempts_.bind(1, record.job.id.value);
  Execution row(attempts_);
  while (row.next()) {
    Result<AttemptRow> attempt = read_attempt(row);
    if (!attempt) return attempt.error().in("database " + path_);
    record.job.count_attempt(attempt->fence.attempt, attempt->charge, attempt->retry_at,
                             attempt->next_memory_bytes_max);
    record.attempts.push_back(*std::move(attempt));
  }
  if (row.code() != SQLITE_OK) return fault(row.code());
  return {};
}

Result<const JobSpec*> SqliteReader::spec_of(SpecId id) {
  if (const auto kept = specs_.find(id); kept != specs_.end()) return &kept->second;
  spec_.bind(1, id.value);
  Execution row(spec_);
  if (!row.next()) {
    if (row.code() != SQLITE_OK) return fault(row.code());
    return Error{ErrorCode::kDataLoss, "database " + path_ + ": spec " + std::to_string(id.value) +
                                           " is named by a job and is missing; restore it from a backup"};
  }
  if (specs_.size() >= kSpecsKeptMax) specs_.clear();
  return &specs_.emplace(id, read_spec(row).spec).first->second;
}

Result<JobPage> SqliteReader::list(const JobQuery& query) {
  if (const Status ready = prepare(); !ready) return ready.error();
  const OneState state(begin_, end_);
  if (query.parent.is_set()) return list_children(query);
  JobPage page;
  const std::uint64_t before = query.before == 0 ? std::uint64_t{INT64_MAX} : query.before;
  if (query.oldest_first) {
    page_up_.bind(1, query.after);
    page_up_.bind(2, before);
  } else {
    page_.bind(1, before);
  }
  Execution row(query.oldest_first ? page_up_ : page_);
  for (std::uint64_t scanned = 0; row.next(); ++scanned) {
    if (scanned == query.scan_max || page.jobs.size() == query.jobs_max) return page;
    page.next_before = row.number(0);
    if (const Status added = add_if_wanted(query, row, page); !added) return added.error();
  }
  if (row.code() != SQLITE_OK) return fault(row.code());
  page.next_before = 0;
  return page;
}

// Children are few among all jobs, so they are found by their parent, and each is then read by its number.
Result<JobPage> SqliteReader::list_children(const JobQuery& query) {
  JobPage page;
  Statement& children = query.oldest_first ? children_up_ : children_;
  children.bind(1, query.parent.value);
  children.bind(2, query.oldest_first ? query.after : 0);
  children.bind(3, query.before == 0 ? std::uint64_t{INT64_MAX} : query.before);
  Execution child(children);
  for (std::uint64_t scanned = 0; child.next(); ++scanned) {
    if (scanned == query.scan_max || page.jobs.size() == query.jobs_max) return page;
    page.next_before = child.number(0);
    head_.bind(1, page.next_before);
    Execution row(head_);
    if (row.next()) {
      if (const Status added = add_if_wanted(query, row, page); !added) return added.error();
    } else if (row.code() != SQLITE_OK) {
      return fault(row.code());
    }
  }
  if (child.code() != SQLITE_OK) return fault(child.code());
  page.next_before = 0;
  return page;
}

// `row`: of the head columns and those of an ending.
Status SqliteReader::add_if_wanted(const JobQuery& query, const Execution& row, JobPage& page) {
  if (!matches(query, static_cast<JobState>(row.integer(kEndingColumn)))) return {};
  const Result<const JobSpec*> spec = spec_of(SpecId{row.number(1)});
  if (!spec) return spec.error();
  if (!matches(query, **spec)) return {};
  Result<Ending> ending = read_ending(row, kEndingColumn, nullptr);
  if (!ending) return ending.error().in("database " + path_);
  if (!query.wants(*ending)) return {};
  JobRecord& record = page.jobs.emplace_back();
  read_head(row, record.job);
  record.spec = **spec;
  record.ending = *std::move(ending);
  record.job.state = record.ending.state;
  const Result<BatchRow> batch = batch_with(record.job.id);
  if (!batch) return batch.error();
  record.batch = batch->first;
  return {};
}

Result<EndingsPage> SqliteReader::endings(const std::vector<JobId>& ids, std::size_t bytes_max) {
  if (ids.size() > limits::kListPageMax) {
    return Error{ErrorCode::kInvalidArgument,
                 "endings of more than " + std::to_string(limits::kListPageMax) + " jobs asked at once"};
  }
  if (const Status ready = prepare(); !ready) return ready.error();
  const OneState state(begin_, end_);
  EndingsPage page;
  std::size_t bytes = 0;
  for (const JobId id : ids) {
    if (page.ids > 0 && bytes >= bytes_max) break;
    ++page.ids;
    ending_.bind(1, id.value);
    Execution row(ending_);
    if (row.next()) {
      Result<Ending> ending = read_ending(row, 0, files_.get());
      if (!ending) return ending.error().in("database " + path_);
      bytes += ending->result.size();
      page.rows.push_back({id, *std::move(ending)});
    } else if (row.code() != SQLITE_OK) {
      return fault(row.code());
    }
  }
  return page;
}

// Without filters: one search in each bucket, of which there are few.
Result<std::optional<KeyRow>> SqliteReader::find_key(const KeyQuery& key) {
  if (const Status ready = prepare(); !ready) return ready.error();
  const OneState state(begin_, end_);
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  {
    Execution row(buckets_);
    if (!row.next()) return fault(row.code());
    first = row.number(0);
    last = row.number(1);
  }
  for (std::uint64_t bucket = last; bucket >= first; --bucket) {
    key_.bind(1, bucket);
    bind_key(key_, key);
    Execution row(key_);
    if (row.next()) return std::optional<KeyRow>(read_key(row, key));
    if (row.code() != SQLITE_OK) return fault(row.code());
  }
  return std::optional<KeyRow>();
}

Result<std::uint64_t> SqliteReader::trimmed_until() {
  if (const Status ready = prepare(); !ready) return ready.error();
  Execution row(trimmed_);
  if (!row.next()) return fault(row.code());
  return row.number(0);
}

Result<std::vector<JobId>> SqliteReader::gone(const std::vector<JobId>& ids) {
  if (const Status ready = prepare(); !ready) return ready.error();
  const OneState state(begin_, end_);
  std::vector<JobId> gone;
  for (const JobId id : ids) {
    if (id.value > INT64_MAX) continue;
    gone_.bind(1, id.value);
    Execution row(gone_);
    if (!row.next()) return fault(row.code());
    if (row.integer(0) != 0) gone.push_back(id);
  }
  return gone;
}

}  // namespace futured
