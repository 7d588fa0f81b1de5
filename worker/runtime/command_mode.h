// The worker of a command pool: runs one command at a time, keeps its output, and leaves nothing of it behind.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/limits.h"
#include "base/out_of_memory.h"
#include "worker/channel/worker_end.h"
#include "worker/runtime/output_capture.h"
#include "worker/runtime/work_directory.h"

namespace futured::runtime {

struct CommandOptions {
  std::string spool_directory;  // where output goes that is too long for a report; empty: it is reported whole
  CaptureLimits capture;
  MemoryKillSources memory_kills;               // tell whether the kernel killed for want of memory
  std::uint64_t memory_bytes_max = 0;           // of the pool's workers; this one may have a higher limit. 0: none
  std::map<std::string, std::uint64_t> limits;  // of each command
  WorkDirectory* directory = nullptr;           // where a command begins that names no directory; outlives the worker
};

// Works until the lifeline closes (0) or the channel breaks (1): the exit status of the worker process. The process is
// a subreaper, its descriptors 0, 1 and 2 are open, and it has one thread.
[[nodiscard]] int run_command_worker(channel::WorkerEnd& end, const CommandOptions& options);

}  // namespace futured::runtime
