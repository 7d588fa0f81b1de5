// Retention: the statements of SqliteStore::trim, and how far it got. docs/formats/database.md.
#pragma once

#include <cstdint>
#include <vector>

#include "base/time.h"
#include "daemon/core/types.h"
#include "daemon/store/sqlite_database.h"

namespace futured {

struct Retention {
  [[nodiscard]] Status prepare(Database& database);
  // A spec was stored: its jobs may be kept shorter than any before.
  void note(const JobSpec& spec);

  std::uint64_t trimmed_until = 0;  // as stored
  Duration shortest_own{0};         // of all specs that say one; 0: none does

  Statement due, surplus, next;  // rows of jobs
  Statement pending, is_needed;
  Statement keep, ended;
  Statement remove_use, is_used, remove_batches;
  std::vector<Statement> removals;
};

}  // namespace futured
