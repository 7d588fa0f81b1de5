// The control groups by which workers are killed and limited, each in the hierarchy that this machine has for it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/out_of_memory.h"
#include "base/own_groups.h"
#include "worker/spawner/cgroup.h"
#include "worker/spawner/wire.h"

namespace futured::spawner {

// Of a worker with all that it starts. 0: no limit.
struct WorkerLimits {
  std::uint64_t memory_bytes_max = 0;
  std::uint32_t processes_max = 0;  // threads count, as they do for the kernel
};

// What control groups do for one worker. Where one is false, the spawner has to do it by way of /proc.
struct Confined {
  bool kill = false;
  bool memory = false;
  bool processes = false;
};

class SlotGroups {
 public:
  SlotGroups() = default;  // none
  // Takes of each thing what there is: v2 first, since one kill there ends a whole tree, and then v1.
  [[nodiscard]] static SlotGroups create(const OwnGroups& own, std::uint64_t instance);

  [[nodiscard]] Means kills_by() const { return unified_ ? Means::kCgroup2 : Means::kProc; }
  [[nodiscard]] Means memory_by() const { return means(memory_in_unified_, memory_); }
  [[nodiscard]] Means processes_by() const { return means(pids_in_unified_, pids_); }
  // Of every hierarchy that is used, for whoever has to remove what a crash leaves.
  [[nodiscard]] std::vector<std::string> paths() const;

  // Before the process may begin. What it has in memory already is charged to whoever it was forked from.
  [[nodiscard]] Confined confine(const std::string& group, pid_t pid, const WorkerLimits& limits) const;
  // Kills everything in the group, which is one whose kill is `confined`. True once nothing is left in it.
  [[nodiscard]] bool kill(const std::string& group) const { return unified_->kill(group); }
  // All 0 where memory is not controlled. `bytes_max`: the group's limit; 0: none.
  [[nodiscard]] MemoryEvents memory_events(const std::string& group, std::uint64_t bytes_max) const;
  // Once the worker is dead. What it leaves in memory, such as results that somebody still holds, is then charged to
  // nobody; the next worker has a group of its own.
  void release(const std::string& group) const;
  // At exit.
  void remove();

 private:
  [[nodiscard]] static Means means(bool is_unified, const std::optional<CgroupTree>& tree);
  [[nodiscard]] bool limit_memory(const CgroupTree& tree, const std::string& group, std::uint64_t bytes_max) const;

  std::optional<CgroupTree> unified_;
  bool memory_in_unified_ = false;
  bool pids_in_unified_ = false;
  std::optional<CgroupTree> memory_;  // v1
  std::optional<CgroupTree> pids_;    // v1
};

// "kills by cgroup v2, memory_max by cgroup v1, processes_max by sampling /proc every 250 ms"
[[nodiscard]] std::string description_of(const SlotGroups& groups);

}  // namespace futured::spawner
