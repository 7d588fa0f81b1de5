// Which parts of a worker's result lie in spool files, and whose (docs/formats/command.md).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/spool_file.h"

namespace futured {

// The result with `user` told of each part that names a file. A worker can name any file, but not in whose folder.
// Nothing: no part names one, or the result cannot be read.
[[nodiscard]] std::optional<std::string> with_spool_user(std::string_view result, SpoolUser user);

}  // namespace futured
