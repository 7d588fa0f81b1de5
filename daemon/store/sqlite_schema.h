// The tables, and how a database of any age becomes one of this program's. docs/formats/database.md describes them.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "daemon/store/sqlite_database.h"

namespace futured {

// "futd": what PRAGMA application_id of our databases says, so that nobody else's is migrated by mistake.
inline constexpr std::int64_t kApplicationId = 0x66757464;

// Migration n (from 0) turns version n into n + 1. Only ever appended to: a released one never changes.
[[nodiscard]] std::span<const char* const> schema_migrations();

// Refuses a database that is newer than `migrations` knows, or that is not ours. Changes nothing.
[[nodiscard]] Status check_schema(Database& database, std::span<const char* const> migrations);

// Brings the database to the newest version, each migration in a transaction of its own, after check_schema.
[[nodiscard]] Status migrate(Database& database, std::span<const char* const> migrations);

}  // namespace futured
