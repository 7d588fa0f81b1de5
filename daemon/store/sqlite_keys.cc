// Idempotency keys in SQLite: buckets of keys in the order in which they came, each full one with its filter.
#include "daemon/store/sqlite_keys.h"

#include <sqlite3.h>

#include <algorithm>

#include "base/hash.h"
#include "daemon/store/sqlite_store.h"

namespace futured {

std::uint64_t hash_of(const KeyQuery& key) { return stable_hash(key.key, key.owner); }

void bind_key(Statement& statement, const KeyQuery& key) {
  statement.bind(2, hash_of(key));
  statement.bind(3, key.owner);
  statement.bind_text(4, key.key);
}

KeyRow read_key(const Execution& row, const KeyQuery& key) {
  return {key, JobId{row.number(0)}, row.number32(1), row.number(2)};
}

// The filters of the full buckets, and the hashes of the one that fills.
Status SqliteStore::read_key_filters() {
  key_buckets_.clear();
  Result<Statement> filters = database_.prepare("SELECT bucket, filter, until FROM key_filters ORDER BY bucket");
  if (!filters) return filters.error();
  Execution filter(*filters);
  while (filter.next()) {
    std::optional<KeyFilter> read = KeyFilter::of(filter.bytes(1));
    if (!read) {
      return Error{ErrorCode::kDataLoss, "the filter of key bucket " + std::to_string(filter.number(0)) +
                                             " is damaged; restore the database from a backup"};
    }
    key_buckets_[filter.number(0)] = {*std::move(read), filter.number(2)};
  }
  if (filter.code() != SQLITE_OK) return database_.error(filter.code());

  const Result<std::int64_t> newest = database_.number("SELECT coalesce(max(bucket), 1) FROM keys");
  if (!newest) return newest.error();
  const std::uint64_t behind = key_buckets_.empty() ? 1 : key_buckets_.rbegin()->first + 1;
  const std::uint64_t fills = std::max(behind, static_cast<std::uint64_t>(*newest));
  KeyBucket& filling = key_buckets_[fills];
  Result<Statement> hashes = database_.prepare("SELECT hash, first + count FROM keys WHERE bucket = ?");
  if (!hashes) return hashes.error();
  hashes->bind(1, fills);
  Execution hash(*hashes);
  while (hash.next()) {
    filling.filter.add(hash.number(0));
    filling.until = std::max(filling.until, hash.number(1));
  }
  if (hash.code() != SQLITE_OK) return database_.error(hash.code());
  return {};
}

int SqliteStore::write_keys(const std::vector<KeyRow>& keys) {
  if (keys.empty()) return SQLITE_OK;
  const auto& [number, filling] = *key_buckets_.rbegin();
  std::uint64_t bucket = number;
  if (filling.filter.keys() >= options_.keys_per_bucket) {
    writes_.key_filter_add.bind(1, bucket);
    writes_.key_filter_add.bind_blob(2, filling.filter.bytes());
    writes_.key_filter_add.bind(3, filling.until);
    if (const int code = writes_.key_filter_add.run(); code != SQLITE_OK) return code;
    ++bucket;
  }
  for (const KeyRow& row : keys) {
    Statement& statement = writes_.key_add;
    statement.bind(1, bucket);
    bind_key(statement, row.key);
    statement.bind(5, row.first.value);
    statement.bind(6, row.count);
    statement.bind(7, row.fingerprint);
    if (const int code = statement.run(); code != SQLITE_OK) return code;
    // It is there already and stands for jobs that are, too.
    if (sqlite3_changes(database_.raw()) == 0) return SQLITE_CONSTRAINT;
  }
  return SQLITE_OK;
}

// After the commit, and with the same eyes as write_keys.
void SqliteStore::remember_keys(const std::vector<KeyRow>& keys) {
  if (keys.empty()) return;
  const auto& [number, full] = *key_buckets_.rbegin();
  if (full.filter.keys() >= options_.keys_per_bucket) key_buckets_.try_emplace(number + 1);
  KeyBucket& filling = key_buckets_.rbegin()->second;
  for (const KeyRow& row : keys) {
    filling.filter.add(hash_of(row.key));
    filling.until = std::max(filling.until, row.first.value + row.count);
  }
}

Result<KeyAnswer> SqliteStore::find_keys(const std::vector<KeyQuery>& keys) {
  KeyAnswer answer;
  answer.reserve(keys.size());
  for (const KeyQuery& key : keys) {
    const std::uint64_t hash = hash_of(key);
    std::optional<KeyRow>& found = answer.emplace_back();
    for (auto bucket = key_buckets_.rbegin(); bucket != key_buckets_.rend() && !found; ++bucket) {
      if (!bucket->second.filter.may_hold(hash)) continue;
      reads_.key.bind(1, bucket->first);
      bind_key(reads_.key, key);
      Execution row(reads_.key);
      if (row.next()) {
        found = read_key(row, key);
      } else if (row.code() != SQLITE_OK) {
        return fault(row.code());
      }
    }
  }
  return answer;
}

}  // namespace futured
