// What no job names any more, in SQLite: sets of options (`specs`), and idempotency keys with their filters.
//
// A spec that the core holds has no `waits_for`. One that it has forgotten waits for a job: first for the newest that
// there was then, until the mark has passed it, later for one that names it. When that is gone, the next one is looked
// for among `first_job` to `last_job`; each row there is read once for each spec, however often jobs of it are kept
// longer than others. Without one, and without a schedule that names it, the spec goes.
#include <sqlite3.h>

#include <set>

#include "daemon/store/key_filter.h"
#include "daemon/store/sqlite_store.h"

namespace futured {

struct SqliteStore::SpecLook {
  std::uint64_t waits_for = 0;
  std::uint64_t spec = 0;
  std::uint64_t first_job = 0;
  std::uint64_t last_job = 0;
};

Status Retention::prepare_words(Database& database) {
  const std::pair<Statement*, const char*> statements[] = {
      {&spec_forget, "UPDATE specs SET waits_for = ?2, last_job = ?2 WHERE id = ?1"},
      {&specs_let_go,
       "UPDATE specs SET (waits_for, last_job) = (SELECT n, n FROM (SELECT coalesce(max(id), 0) AS n FROM jobs))"
       " WHERE waits_for IS NULL"},
      {&specs_free,
       "SELECT s.waits_for, s.id, s.first_job, s.last_job, EXISTS (SELECT 1 FROM jobs j WHERE j.id = s.waits_for AND "
       "j.spec = s.id)"
       " FROM specs s WHERE (s.waits_for, s.id) > (?1, ?2) AND s.waits_for < ?3 ORDER BY s.waits_for, s.id LIMIT ?4"},
      {&spec_users, "SELECT id, spec FROM jobs WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3"},
      {&spec_waits, "UPDATE specs SET waits_for = ?2, first_job = ?3 WHERE id = ?1"},
      {&spec_remove, "DELETE FROM specs WHERE id = ?"},
      {&schedule_specs, "SELECT spec FROM schedules"},
      {&keys_of_bucket,
       "SELECT hash, owner, key,"
       " EXISTS (SELECT 1 FROM jobs WHERE id >= keys.first AND id < keys.first + keys.count)"
       " FROM keys WHERE bucket = ?1 AND (hash, owner, key) > (?2, ?3, ?4) ORDER BY hash, owner, key LIMIT ?5"},
      {&key_remove, "DELETE FROM keys WHERE bucket = ? AND hash = ? AND owner = ? AND key = ?"},
      {&bucket_is_empty, "SELECT NOT EXISTS (SELECT 1 FROM keys WHERE bucket = ?)"},
      {&filter_remove, "DELETE FROM key_filters WHERE bucket = ?"},
  };
  for (const auto& [statement, sql] : statements) {
    Result<Statement> prepared = database.prepare(sql);
    if (!prepared) return prepared.error();
    *statement = *std::move(prepared);
  }
  const Result<std::int64_t> newest = database.number("SELECT coalesce(max(id), 0) FROM specs");
  if (!newest) return newest.error();
  newest_spec = static_cast<std::uint64_t>(*newest);
  return {};
}

// Behind the specs of the batch: one that came and was forgotten in one turn is forgotten.
int SqliteStore::forget_specs(const Batch& batch) {
  for (const SpecForgotten& row : batch.specs_forgotten) {
    retention_.spec_forget.bind(1, row.id.value);
    retention_.spec_forget.bind(2, row.newest.value);
    if (const int code = retention_.spec_forget.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

// A new daemon's core holds none: what it is to keep it hands in again.
int SqliteStore::let_specs_go() {
  retention_.words_wanted = true;
  return retention_.specs_let_go.run();
}

// Within the transaction of a step, behind its jobs.
int SqliteStore::trim_words(std::uint64_t mark, WordsTrimmed& trimmed) {
  WordsPlace& place = retention_.place;
  int code = SQLITE_OK;
  if (!place.specs_done) code = trim_specs(mark, trimmed);
  if (code == SQLITE_OK && !place.keys_done) code = trim_keys(mark, trimmed);
  return code;
}

// After the commit. The search rests once it has gone round and no job went meanwhile.
void SqliteStore::remember_words(const WordsTrimmed& trimmed, bool has_freed) {
  WordsPlace& place = retention_.place;
  for (const std::uint64_t bucket : trimmed.buckets) key_buckets_.erase(bucket);
  retention_.words_wanted = retention_.words_wanted || has_freed;
  if (!place.specs_done || !place.keys_done) return;
  place = {};
  retention_.words_wanted = has_freed;
}

int SqliteStore::trim_specs(std::uint64_t mark, WordsTrimmed& trimmed) {
  WordsPlace& place = retention_.place;
  std::vector<SpecLook> free;
  std::size_t looked_at = 0;
  WordsPlace next = place;
  {
    Statement& statement = retention_.specs_free;
    statement.bind(1, place.spec_waits_for);
    statement.bind(2, place.spec);
    statement.bind(3, mark);
    statement.bind(4, std::int32_t{limits::kTrimSpecsMax});
    Execution row(statement);
    for (; row.next(); ++looked_at) {
      next.spec_waits_for = row.number(0);
      next.spec = row.number(1);
      if (row.integer(4) == 0) free.push_back({row.number(0), row.number(1), row.number(2), row.number(3)});
    }
    if (row.code() != SQLITE_OK) return row.code();
  }
  std::set<std::uint64_t> scheduled;
  if (!free.empty()) {
    Execution row(retention_.schedule_specs);
    while (row.next()) scheduled.insert(row.number(0));
    if (row.code() != SQLITE_OK) return row.code();
  }
  int rows_left = limits::kTrimSpecRowsMax;
  const std::uint64_t removed_before = trimmed.specs;
  for (const SpecLook& look : free) {
    if (look.spec == retention_.newest_spec) continue;
    if (const int code = trim_spec(look, scheduled, rows_left, trimmed); code != SQLITE_OK) return code;
    if (rows_left > 0) continue;
    // The next step goes on with this one. It may be behind the place by then, which is as good: it goes round.
    trimmed.is_full = true;
    return SQLITE_OK;
  }
  next.specs_done = looked_at < static_cast<std::size_t>(limits::kTrimSpecsMax);
  trimmed.is_full = trimmed.is_full || (!next.specs_done && trimmed.specs != removed_before);
  place.spec_waits_for = next.spec_waits_for;
  place.spec = next.spec;
  place.specs_done = next.specs_done;
  return SQLITE_OK;
}

int SqliteStore::trim_spec(const SpecLook& look, const std::set<std::uint64_t>& scheduled, int& rows_left,
                           WordsTrimmed& trimmed) {
  std::uint64_t user = 0;
  std::uint64_t first = look.first_job;
  {
    retention_.spec_users.bind(1, first);
    retention_.spec_users.bind(2, look.last_job);
    retention_.spec_users.bind(3, rows_left);
    Execution row(retention_.spec_users);
    while (user == 0 && row.next()) {
      --rows_left;
      first = row.number(0);
      if (row.number(1) == look.spec) user = first;
    }
    if (row.code() != SQLITE_OK) return row.code();
  }
  const bool is_searched = user == 0 && rows_left > 0;
  if (is_searched && !scheduled.contains(look.spec)) {
    retention_.spec_remove.bind(1, look.spec);
    if (const int code = retention_.spec_remove.run(); code != SQLITE_OK) return code;
    ++trimmed.specs;
    return SQLITE_OK;
  }
  if (is_searched) first = look.last_job + 1;  // only the schedule is asked about the next time
  if (first == look.first_job && user == 0) return SQLITE_OK;
  retention_.spec_waits.bind(1, look.spec);
  retention_.spec_waits.bind(2, user != 0 ? user : look.waits_for);
  retention_.spec_waits.bind(3, first);
  return retention_.spec_waits.run();
}

// Of full buckets whose jobs the mark has all passed. A key that is left there is looked at again with the next round.
int SqliteStore::trim_keys(std::uint64_t mark, WordsTrimmed& trimmed) {
  struct Key {
    std::int64_t hash = 0;
    std::int64_t owner = 0;
    std::string key;
  };
  WordsPlace& place = retention_.place;
  const auto is_over = [&](const auto& bucket) {
    return bucket.first != key_buckets_.rbegin()->first && bucket.second.until <= mark;
  };
  auto bucket = key_buckets_.lower_bound(place.bucket);
  while (bucket != key_buckets_.end() && !is_over(*bucket)) ++bucket;
  if (bucket == key_buckets_.end()) {
    place.keys_done = true;
    return SQLITE_OK;
  }
  if (bucket->first != place.bucket || !place.in_bucket) {
    place.bucket = bucket->first;
    place.in_bucket = true;
    place.hash = INT64_MIN;
    place.owner = -1;
    place.key.clear();
  }
  std::vector<Key> dead;
  int looked_at = 0;
  Key last{place.hash, place.owner, place.key};
  {
    Statement& statement = retention_.keys_of_bucket;
    statement.bind(1, place.bucket);
    statement.bind(2, place.hash);
    statement.bind(3, place.owner);
    statement.bind_text(4, place.key);
    statement.bind(5, std::int32_t{limits::kTrimKeysMax});
    Execution row(statement);
    for (; row.next(); ++looked_at) {
      last = {row.integer(0), row.integer(1), std::string(row.bytes(2))};
      if (row.integer(3) == 0) dead.push_back(last);
    }
    if (row.code() != SQLITE_OK) return row.code();
  }
  for (const Key& key : dead) {
    retention_.key_remove.bind(1, place.bucket);
    retention_.key_remove.bind(2, key.hash);
    retention_.key_remove.bind(3, key.owner);
    retention_.key_remove.bind_text(4, key.key);
    if (const int code = retention_.key_remove.run(); code != SQLITE_OK) return code;
  }
  trimmed.keys += dead.size();
  trimmed.is_full = trimmed.is_full || !dead.empty();
  place.hash = last.hash;
  place.owner = last.owner;
  place.key = std::move(last.key);
  if (looked_at == limits::kTrimKeysMax) return SQLITE_OK;

  retention_.bucket_is_empty.bind(1, place.bucket);
  bool is_empty = false;
  {
    Execution row(retention_.bucket_is_empty);
    if (!row.next()) return row.code();
    is_empty = row.integer(0) != 0;
  }
  if (is_empty) {
    retention_.filter_remove.bind(1, place.bucket);
    if (const int code = retention_.filter_remove.run(); code != SQLITE_OK) return code;
    trimmed.buckets.push_back(place.bucket);
  }
  ++place.bucket;
  place.in_bucket = false;
  return SQLITE_OK;
}

}  // namespace futured
