// What the processes of a command are at, as far as /proc tells: docs/formats/stacks.md.
#pragma once

#include <sys/types.h>

#include <string>

namespace futured::runtime {

// Every thread of every descendant of `root`, and what could not be read of it. At most limits::kStacksBytesMax.
[[nodiscard]] std::string stacks_below(pid_t root);

}  // namespace futured::runtime
