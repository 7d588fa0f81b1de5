// What a freshly forked worker does before its first job.
#pragma once

#include <cstdint>

#include "base/fd.h"
#include "worker/channel/channel.h"
#include "worker/runtime/zygote.h"

namespace futured::runtime {

struct WorkerFds {
  channel::ChannelFds channel;
  Fd lifeline;
};

// Turns this process, a fork of the zygote, into a worker, waits for the spawner's word, works, and exits.
[[noreturn]] void run_worker(const ZygoteOptions& options, std::uint32_t slot, WorkerFds fds);

}  // namespace futured::runtime
