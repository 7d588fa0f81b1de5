// What the writer's and the readers' connections have in common about the table `keys`.
#pragma once

#include <cstdint>

#include "daemon/core/rows.h"
#include "daemon/store/sqlite_database.h"

namespace futured {

// Parameters: bucket, and those that bind_key() sets. A key whose last job was trimmed counts as never used.
inline constexpr const char* kFindKey =
    "SELECT first, count, fingerprint FROM keys WHERE bucket = ? AND hash = ? AND owner = ? AND key = ?"
    " AND (first + count > coalesce((SELECT value FROM meta WHERE name = 'trimmed_until'), 0)"
    " OR EXISTS (SELECT 1 FROM jobs WHERE id >= first AND id < first + count))";

[[nodiscard]] std::uint64_t hash_of(const KeyQuery& key);

// Parameters 2 to 4 of a statement; the key must live until the run is over.
void bind_key(Statement& statement, const KeyQuery& key);

// A row of kFindKey.
[[nodiscard]] KeyRow read_key(const Execution& row, const KeyQuery& key);

}  // namespace futured
