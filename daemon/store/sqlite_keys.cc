// Idempotency keys in SQLite: buckets of keys in the order in which they came, each full one with its filter.
#include "daemon/store/sqlite_keys.h"

#include <sqlite3.h>

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
  key_filters_.clear();
  Result<Statement> filters = database_.prepare("SELECT bucket, filter FROM key_filters ORDER BY bucket");
  if (!filters) return filters.error();
  Execution filter(*filters);
  while (filter.next()) {
    std::optional<KeyFilter> read = KeyFilter::of(filter.bytes(1));
    if (!read || filter.number(0) != key_filters_.size() + 1) {
      return Error{ErrorCode::kDataLoss, "the filter of key bucket " + std::to_string(filter.number(0)) +
                                             " is damaged; restore the database from a backup"};
    }
    key_filters_.push_back(*std::move(read));
  }
  if (filter.code() != SQLITE_OK) return database_.error(filter.code());

  KeyFilter& filling = key_filters_.emplace_back();
  Result<Statement> hashes = database_.prepare("SELECT hash FROM keys WHERE bucket = ?");
  if (!hashes) return hashes.error();
  hashes->bind(1, std::uint64_t{key_filters_.size()});
  Execution hash(*hashes);
  while (hash.next()) filling.add(hash.number(0));
  if (hash.code() != SQLITE_OK) return database_.error(hash.code());
  return {};
}

int SqliteStore::write_keys(const std::vector<KeyRow>& keys) {
  if (keys.empty()) return SQLITE_OK;
  std::uint64_t bucket = key_filters_.size();
  if (key_filters_.back().keys() >= options_.keys_per_bucket) {
    writes_.key_filter_add.bind(1, bucket);
    writes_.key_filter_add.bind_blob(2, key_filters_.back().bytes());
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
  if (key_filters_.back().keys() >= options_.keys_per_bucket) key_filters_.emplace_back();
  for (const KeyRow& row : keys) key_filters_.back().add(hash_of(row.key));
}

Result<KeyAnswer> SqliteStore::find_keys(const std::vector<KeyQuery>& keys) {
  KeyAnswer answer;
  answer.reserve(keys.size());
  for (const KeyQuery& key : keys) {
    const std::uint64_t hash = hash_of(key);
    std::optional<KeyRow>& found = answer.emplace_back();
    for (std::size_t bucket = key_filters_.size(); bucket > 0 && !found; --bucket) {
      if (!key_filters_[bucket - 1].may_hold(hash)) continue;
      reads_.key.bind(1, std::uint64_t{bucket});
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
