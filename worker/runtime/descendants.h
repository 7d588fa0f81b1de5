// The processes that a worker's jobs left behind. A worker is subreaper: whatever is orphaned below it becomes its
// child.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>

namespace futured::runtime {

// Processor time and memory of processes that have been waited for.
struct Usage {
  std::uint64_t cpu_ns = 0;          // user and system, summed
  std::uint64_t peak_rss_bytes = 0;  // of the largest single process

  void add(const rusage& one);
};

// Kills every child, and those that become our children by that, until there is none left; what they used is added to
// `usage`. One system call when there is none. Waits for a killed process as long as the kernel takes to end it. Safe
// in a signal handler.
void end_descendants(Usage& usage);

}  // namespace futured::runtime
