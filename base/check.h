// FUTURED_CHECK: aborts on a bug in our own code. Bytes from a worker, a client or a disk never reach one.
#pragma once

#include <source_location>
#include <string_view>

namespace futured {

// Writes where and what to standard error and aborts; the daemon then restarts from its store.
[[noreturn]] void check_failed(std::string_view condition, std::string_view why,
                               std::source_location where = std::source_location::current());

}  // namespace futured

#define FUTURED_CHECK(condition, why)           \
  do {                                          \
    if (!(condition)) [[unlikely]]              \
      ::futured::check_failed(#condition, why); \
  } while (false)
