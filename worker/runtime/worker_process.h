// What a freshly forked worker does before its first job.
#pragma once

#include <cstdint>
#include <vector>

#include "base/fd.h"
#include "worker/channel/channel.h"
#include "worker/runtime/zygote.h"

namespace futured::runtime {

struct WorkerFds {
  std::vector<channel::ChannelFds> channels;  // of consecutive slots
  Fd lifeline;
};

// `slot`: the first of the worker's. Turns this process, a fork of the zygote, into a worker, waits for the spawner's
// word, works, and exits.
[[noreturn]] void run_worker(const ZygoteOptions& options, std::uint32_t slot, WorkerFds fds);

}  // namespace futured::runtime
