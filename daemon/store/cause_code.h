// A Cause as the bytes of one column. docs/formats/database.md.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/core/types.h"

namespace futured {

[[nodiscard]] std::string encode_cause(const Cause& cause);
// Nothing: the bytes are damaged.
[[nodiscard]] std::optional<Cause> decode_cause(std::string_view encoded);

}  // namespace futured
