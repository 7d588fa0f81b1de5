// The worker of a thread pool: several slots in one process, each served by a thread of its own.
#pragma once

#include <span>

#include "worker/channel/worker_end.h"
#include "worker/runtime/zygote.h"
#include "worker/sdk/registry.h"

namespace futured::runtime {

// Works until the lifeline closes (0) or a channel breaks (1): the exit status of the worker process. A job that takes
// the process down marks its slot, where that can be told: by a signal of its own making, or by exit().
[[nodiscard]] int run_thread_worker(std::span<channel::WorkerEnd> ends, std::span<const sdk::RegisteredTask> tasks,
                                    const ZygoteOptions& options);

}  // namespace futured::runtime
