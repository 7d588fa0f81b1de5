// Removes what jobs leave in a directory, however they left it.
#pragma once

#include "base/result.h"

namespace futured::runtime {

// Removes everything in the open directory, and leaves the directory itself. Follows no link, opens what modes have
// closed, and needs the same few descriptors for a tree of any depth: directories in directories are moved up before
// they are emptied. The error is of something that could not be removed; the rest is gone.
[[nodiscard]] Status empty_directory(int directory);

}  // namespace futured::runtime
