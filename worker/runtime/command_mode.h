// The worker of a command pool: runs one command at a time, keeps its output, and leaves nothing of it behind.
#pragma once

#include <string>

#include "base/limits.h"
#include "worker/channel/worker_end.h"
#include "worker/runtime/output_capture.h"

namespace futured::runtime {

struct CommandOptions {
  std::string spool_directory;  // where output goes that is too long for a report; empty: it is reported whole
  CaptureLimits capture;
  std::string vmstat = "/proc/vmstat";  // tells whether the kernel killed for want of memory
};

// Works until the lifeline closes (0) or the channel breaks (1): the exit status of the worker process. The process is
// a subreaper, its descriptors 0, 1 and 2 are open, and it has one thread.
[[nodiscard]] int run_command_worker(channel::WorkerEnd& end, const CommandOptions& options);

}  // namespace futured::runtime
