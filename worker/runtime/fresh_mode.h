// The worker of a fresh pool: runs each task in a fork of itself. It has never run one, so every task finds the process
// as the zygote made it.
#pragma once

#include <span>

#include "worker/channel/worker_end.h"
#include "worker/runtime/work_directory.h"
#include "worker/runtime/zygote.h"
#include "worker/sdk/registry.h"

namespace futured::runtime {

// Works until the lifeline closes (0) or the channel breaks (1): the exit status of the worker process. A fork that
// ends without a report ends the worker in the same way, for the daemon to see.
[[nodiscard]] int run_fresh_worker(channel::WorkerEnd& end, std::span<const sdk::RegisteredTask> tasks,
                                   const ZygoteOptions& options, WorkDirectory& directory);

}  // namespace futured::runtime
