// Retention: the statements of SqliteStore::trim, and how far it got. docs/formats/database.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"
#include "daemon/core/rows.h"
#include "daemon/store/sqlite_database.h"

namespace futured {

// What a step removed beside jobs, and where the next one goes on.
struct WordsTrimmed {
  std::uint64_t specs = 0;
  std::uint64_t keys = 0;
  std::vector<std::uint64_t> buckets;  // of keys, that have none any more
  bool is_full = false;
};

// How far the search for what no job names any more got. It goes round, as long as jobs are removed.
struct WordsPlace {
  std::uint64_t spec_waits_for = 0;
  std::uint64_t spec = 0;
  bool specs_done = false;
  std::uint64_t bucket = 0;
  bool in_bucket = false;
  std::int64_t hash = 0;
  std::int64_t owner = 0;
  std::string key;
  bool keys_done = false;
};

struct Retention {
  [[nodiscard]] Status prepare(Database& database);
  // A spec was stored: its jobs may be kept shorter than any before.
  void note(const SpecRow& row);

  std::uint64_t trimmed_until = 0;    // as stored
  std::uint64_t callbacks_until = 1;  // likewise: numbers of later callbacks below it were given out
  Duration shortest_own{0};           // of all specs that say one; 0: none does

  Statement due, surplus, next;  // rows of jobs
  Statement pending, is_needed;
  Statement keep, ended;
  Statement remove_use, is_used, remove_batches;
  std::vector<Statement> removals;

  // sqlite_trim_words.cc
  [[nodiscard]] Status prepare_words(Database& database);
  Statement spec_forget, specs_let_go, specs_free, spec_users, spec_waits, spec_remove, schedule_specs;
  Statement keys_of_bucket, key_remove, bucket_is_empty, filter_remove;
  WordsPlace place;
  bool words_wanted = true;       // something may have become free since the search began to go round
  std::uint64_t newest_spec = 0;  // is never removed, so that no number is given twice
};

}  // namespace futured
