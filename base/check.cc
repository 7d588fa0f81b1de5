#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace futured {

void check_failed(std::string_view condition, std::string_view why, std::source_location where) {
  std::fprintf(stderr, "futured: bug at %s:%u in %s: %.*s (%.*s)\n", where.file_name(), where.line(),
               where.function_name(), static_cast<int>(condition.size()), condition.data(),
               static_cast<int>(why.size()), why.data());
  std::abort();
}

}  // namespace futured
