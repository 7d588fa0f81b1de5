// What a worker left in the spool directory of the stacks of an attempt (docs/formats/stacks.md).
#pragma once

#include <string>

#include "base/id.h"
#include "base/spool_file.h"

namespace futured {

// Reads and removes it; empty: there is none. At most limits::kStacksBytesMax. A worker wrote it: any bytes.
[[nodiscard]] std::string take_stacks(const std::string& spool_directory, const Fence& fence, SpoolUser user);

}  // namespace futured
