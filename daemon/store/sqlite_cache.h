// The statements of the result cache's tables. docs/formats/database.md.
#pragma once

#include "base/result.h"
#include "daemon/store/sqlite_database.h"

namespace futured {

struct CacheStatements {
  Statement key_add, key_remove, key;
  Statement entry_add, entry_use, entry_remove, entry;
  Statement files_of_entry, file_use, uses_of_file, file_unuse;

  [[nodiscard]] Status prepare(Database& database);
};

}  // namespace futured
