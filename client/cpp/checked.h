// A Result of the layers below: its value, or the client's exception for its Error. Internal.
#pragma once

#include <utility>

#include "base/result.h"

namespace futured::client {

// Throws Unavailable or Error.
[[noreturn]] void fail(const futured::Error& error);

template <typename T>
T checked(Result<T> result) {
  if (!result.ok()) fail(result.error());
  return std::move(result).value();
}

inline void checked(const Status& status) {
  if (!status.ok()) fail(status.error());
}

}  // namespace futured::client
