// Ends a worker whose spawner is gone, even while a task computes and looks at nothing.
#pragma once

#include "base/result.h"

namespace futured::runtime {

// Has the kernel send SIGIO to the calling thread once the lifeline's other end closes. While is_busy() the handler
// kills the process's children and ends it; else it only sets has_lifeline_closed(), and the loop ends by itself.
// Modes process and fresh only, once. A lifeline that is closed already is seen as well.
[[nodiscard]] Status watch_lifeline(int lifeline);

// Around each run of a task. A store each: no system call.
void set_busy(bool busy);
[[nodiscard]] bool has_lifeline_closed();

}  // namespace futured::runtime
