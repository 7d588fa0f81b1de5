// Whether the kernel has killed for want of memory.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace futured {

// Processes of this machine that the kernel has killed for want of memory since its boot, the machine's own or a
// control group's. Only the growth between two calls says anything: that some process was killed in between, not which.
// 0 where `vmstat` cannot be read or, before Linux 4.13, does not count them.
[[nodiscard]] std::uint64_t out_of_memory_kills(const std::string& vmstat = "/proc/vmstat");

// For one process that watches others: costs nothing until one of them dies of a SIGKILL that nobody sent.
class OutOfMemoryWatch {
 public:
  explicit OutOfMemoryWatch(std::string vmstat) : vmstat_(std::move(vmstat)), seen_(out_of_memory_kills(vmstat_)) {}

  // The kernel has killed for want of memory since the last look.
  [[nodiscard]] bool look() { return std::exchange(seen_, out_of_memory_kills(vmstat_)) < seen_; }

 private:
  std::string vmstat_;
  std::uint64_t seen_;
};

}  // namespace futured
