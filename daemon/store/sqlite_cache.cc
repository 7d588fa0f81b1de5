// The result cache in SQLite: keys of jobs that have not ended, and outcomes that outlive the jobs that had them. An
// entry needs files of its own accord: in `file_uses` its job stands with a minus.
#include "daemon/store/sqlite_cache.h"

#include <sqlite3.h>

#include <algorithm>
#include <set>

#include "base/payload.h"
#include "daemon/store/cause_code.h"
#include "daemon/store/sqlite_store.h"
#include "daemon/store/stored_bytes.h"

namespace futured {

namespace {

std::int64_t user_of(JobId entry) { return -static_cast<std::int64_t>(entry.value); }

// From column `first` on: owner, task, version, digest.
CacheKey read_key(const Execution& row, int first) {
  return {row.number32(first), std::string(row.bytes(first + 1)), std::string(row.bytes(first + 2)),
          std::string(row.bytes(first + 3))};
}

void bind_key(Statement& statement, int first, const CacheKey& key) {
  statement.bind(first, key.owner);
  statement.bind_text(first + 1, key.task);
  statement.bind_text(first + 2, key.version);
  statement.bind_blob(first + 3, key.digest);
}

}  // namespace

Status CacheStatements::prepare(Database& database) {
  const std::pair<Statement*, const char*> statements[] = {
      {&key_add, "INSERT INTO cache_keys VALUES (?,?,?,?,?)"},
      {&key_remove, "DELETE FROM cache_keys WHERE job = ?"},
      {&key, "SELECT owner, task, version, digest FROM cache_keys WHERE job = ?"},
      {&entry_add,
       "INSERT INTO cache_entries SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, cause, result, ?12"
       " FROM job_state WHERE id = ?1"},
      {&entry_use, "UPDATE cache_entries SET hits = ?2, used_at = ?3 WHERE job = ?1"},
      {&entry_remove, "DELETE FROM cache_entries WHERE job = ?"},
      {&entry, "SELECT state, cause, result FROM cache_entries WHERE job = ?"},
      {&files_of_entry, "SELECT result FROM cache_entries WHERE job = ? AND substr(result, 1, 1) = x'02'"},
      {&file_use, "INSERT OR IGNORE INTO file_uses VALUES (?,?)"},
      {&file_unuse, "DELETE FROM file_uses WHERE digest = ? AND job = ?"},
      {&uses_of_file, "SELECT 1 FROM file_uses WHERE digest = ? LIMIT 1"},
  };
  for (const auto& [statement, sql] : statements) {
    Result<Statement> prepared = database.prepare(sql);
    if (!prepared) return prepared.error();
    *statement = *std::move(prepared);
  }
  return {};
}

int SqliteStore::write_cache_keys(const Batch& batch) {
  for (const CacheKeyRow& row : batch.cache_keys_added) {
    cache_.key_add.bind(1, row.job.value);
    bind_key(cache_.key_add, 2, *row.key);
    if (const int code = cache_.key_add.run(); code != SQLITE_OK) return code;
  }
  for (const JobId job : batch.cache_keys_removed) {
    cache_.key_remove.bind(1, job.value);
    if (const int code = cache_.key_remove.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

// Behind the endings and the files of the batch.
int SqliteStore::write_cache_entries(const Batch& batch) {
  unused_files_.clear();
  for (const CacheEntryRow& row : batch.cache_added) {
    if (const int code = add_cache_entry(row); code != SQLITE_OK) return code;
  }
  for (const CacheUseRow& row : batch.cache_used) {
    cache_.entry_use.bind(1, row.job.value);
    cache_.entry_use.bind(2, row.hits);
    cache_.entry_use.bind(3, row.used_at.us);
    if (const int code = cache_.entry_use.run(); code != SQLITE_OK) return code;
  }
  for (const JobId entry : batch.cache_removed) {
    if (const int code = remove_cache_entry(entry); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

int SqliteStore::add_cache_entry(const CacheEntryRow& row) {
  Statement& add = cache_.entry_add;
  add.bind(1, row.job.value);
  bind_key(add, 2, row.key);
  add.bind(6, static_cast<std::int32_t>(row.state));
  add.bind(7, row.bytes);
  add.bind(8, row.hits);
  add.bind(9, row.created_at.us);
  add.bind(10, row.expires_at.us);
  add.bind(11, row.used_at.us);
  add.bind_text(12, row.name);
  if (const int code = add.run(); code != SQLITE_OK) return code;
  std::vector<Digest> files;
  if (const int code = read_files_of_entry(row.job, files); code != SQLITE_OK) return code;
  for (const Digest& file : files) {
    cache_.file_use.bind_blob(1, file.raw());
    cache_.file_use.bind(2, user_of(row.job));
    if (const int code = cache_.file_use.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

int SqliteStore::read_files_of_entry(JobId entry, std::vector<Digest>& files) {
  cache_.files_of_entry.bind(1, entry.value);
  Execution row(cache_.files_of_entry);
  while (row.next()) files = files_of(row.bytes(0));
  return row.code();
}

// A file that nobody needs any more goes when this is committed.
int SqliteStore::remove_cache_entry(JobId entry) {
  std::vector<Digest> files;
  if (const int code = read_files_of_entry(entry, files); code != SQLITE_OK) return code;
  cache_.entry_remove.bind(1, entry.value);
  if (const int code = cache_.entry_remove.run(); code != SQLITE_OK) return code;
  for (const Digest& file : files) {
    cache_.file_unuse.bind_blob(1, file.raw());
    cache_.file_unuse.bind(2, user_of(entry));
    if (const int code = cache_.file_unuse.run(); code != SQLITE_OK) return code;
    cache_.uses_of_file.bind_blob(1, file.raw());
    Execution row(cache_.uses_of_file);
    if (row.next()) continue;
    if (row.code() != SQLITE_OK) return row.code();
    unused_files_.push_back(file);
  }
  return SQLITE_OK;
}

void SqliteStore::drop_unused_files() {
  std::ranges::sort(unused_files_);
  unused_files_.erase(std::ranges::unique(unused_files_).begin(), unused_files_.end());
  for (const Digest& file : unused_files_) files_->drop(file);
  unused_files_.clear();
}

// Of jobs whose specs ask for it, and so of few.
Status SqliteStore::add_cache_keys(const std::vector<StoredJob*>& jobs, const std::vector<SpecRow>& specs) {
  std::set<SpecId> cached;
  for (const SpecRow& spec : specs) {
    if (spec.spec.cache.enabled) cached.insert(spec.id);
  }
  if (cached.empty()) return {};
  for (StoredJob* const job : jobs) {
    if (!cached.contains(job->spec)) continue;
    cache_.key.bind(1, job->id.value);
    Execution row(cache_.key);
    if (row.next()) job->cache_key = std::make_shared<const CacheKey>(read_key(row, 0));
    if (row.code() != SQLITE_OK) return fault(row.code());
  }
  return {};
}

Status SqliteStore::read_cache_entries(Snapshot& snapshot) {
  Result<Statement> entries = database_.prepare(
      "SELECT job, owner, task, version, digest, state, bytes, hits, created_at, expires_at, used_at, name"
      " FROM cache_entries ORDER BY job");
  if (!entries) return entries.error().in("database " + path_);
  Execution row(*entries);
  while (row.next()) {
    snapshot.cache.push_back({JobId{row.number(0)}, read_key(row, 1), static_cast<JobState>(row.integer(5)),
                              row.number(6), row.number(7), WallTime{row.integer(8)}, WallTime{row.integer(9)},
                              WallTime{row.integer(10)}, std::string(row.bytes(11))});
  }
  if (row.code() != SQLITE_OK) return fault(row.code());
  return {};
}

Result<CacheAnswer> SqliteStore::read_cache(const std::vector<JobId>& entries) {
  CacheAnswer answer;
  for (const JobId entry : entries) {
    answer.emplace_back();
    cache_.entry.bind(1, entry.value);
    Execution row(cache_.entry);
    if (!row.next()) {
      if (row.code() != SQLITE_OK) return fault(row.code());
      continue;
    }
    CachedOutcome outcome;
    outcome.state = static_cast<JobState>(row.integer(0));
    if (!row.is_null(1)) {
      std::optional<Cause> cause = decode_cause(row.bytes(1));
      if (!cause) continue;
      outcome.cause = std::make_shared<const Cause>(*std::move(cause));
    }
    Result<std::string> result = restore(row.bytes(2), *files_);
    if (!result && result.error().code == ErrorCode::kResourceExhausted) return result.error();
    if (!result || names_segment(*result)) continue;  // a file of it is lost
    outcome.result = *std::move(result);
    answer.back() = std::make_shared<const CachedOutcome>(std::move(outcome));
  }
  return answer;
}

}  // namespace futured
