#include "worker/spawner/slot_groups.h"

#include <algorithm>

#include "worker/spawner/tree_usage.h"

namespace futured::spawner {

namespace {

using Version = CgroupTree::Version;

[[nodiscard]] std::string text_of(std::uint64_t limit) { return limit == 0 ? "max" : std::to_string(limit); }

[[nodiscard]] std::string word_of(Means means, const std::string& otherwise) {
  switch (means) {
    case Means::kCgroup2:
      return "cgroup v2";
    case Means::kCgroup1:
      return "cgroup v1";
    case Means::kProc:
      break;
  }
  return otherwise;
}

}  // namespace

SlotGroups SlotGroups::create(const OwnGroups& own, std::uint64_t instance) {
  SlotGroups groups;
  groups.unified_ = CgroupTree::create(own.unified, Version::kTwo, instance, "cgroup.kill");  // Linux 5.14
  if (groups.unified_) {
    groups.memory_in_unified_ = groups.unified_->hand_out("memory");
    groups.pids_in_unified_ = groups.unified_->hand_out("pids");
  }
  if (!groups.memory_in_unified_) {
    groups.memory_ = CgroupTree::create(own.memory, Version::kOne, instance, "memory.limit_in_bytes");
  }
  if (!groups.pids_in_unified_) groups.pids_ = CgroupTree::create(own.pids, Version::kOne, instance, "pids.max");
  return groups;
}

Means SlotGroups::means(bool is_unified, const std::optional<CgroupTree>& tree) {
  if (is_unified) return Means::kCgroup2;
  return tree ? Means::kCgroup1 : Means::kProc;
}

std::vector<std::string> SlotGroups::paths() const {
  std::vector<std::string> paths;
  for (const auto* tree : {&unified_, &memory_, &pids_}) {
    if (*tree) paths.push_back((*tree)->path());
  }
  return paths;
}

Confined SlotGroups::confine(const std::string& group, pid_t pid, const WorkerLimits& limits) const {
  Confined confined;
  if (unified_ && unified_->make(group)) {
    const bool memory = memory_in_unified_ && limit_memory(*unified_, group, limits.memory_bytes_max);
    const bool pids = pids_in_unified_ && unified_->write(group, "pids.max", text_of(limits.processes_max));
    confined.kill = unified_->add(group, pid);
    confined.memory = confined.kill && memory;
    confined.processes = confined.kill && pids;
  }
  if (memory_ && limits.memory_bytes_max != 0 && memory_->make(group)) {
    confined.memory = limit_memory(*memory_, group, limits.memory_bytes_max) && memory_->add(group, pid);
  }
  if (pids_ && limits.processes_max != 0 && pids_->make(group)) {
    confined.processes = pids_->write(group, "pids.max", text_of(limits.processes_max)) && pids_->add(group, pid);
  }
  return confined;
}

bool SlotGroups::limit_memory(const CgroupTree& tree, const std::string& group, std::uint64_t bytes_max) const {
  if (tree.version() == Version::kTwo) {
    // Not there in a kernel without swap. In swap, what is over the limit would only be slow, and told by nobody.
    (void)tree.write(group, "memory.swap.max", bytes_max == 0 ? "max" : "0");
    (void)tree.write(group, "memory.oom.group", bytes_max == 0 ? "0" : "1");
    return tree.write(group, "memory.max", text_of(bytes_max));
  }
  // With swap, memsw is the sum of both, and never below the limit of memory alone. It is not there on every machine.
  (void)tree.write(group, "memory.memsw.limit_in_bytes", "-1");
  const bool limited = tree.write(group, "memory.limit_in_bytes", std::to_string(bytes_max));
  (void)tree.write(group, "memory.memsw.limit_in_bytes", std::to_string(bytes_max));
  // Back to what is in use now, for a group that could not be removed behind its last worker.
  for (const char* most : {"memory.max_usage_in_bytes", "memory.memsw.max_usage_in_bytes"}) {
    (void)tree.write(group, most, "0");
  }
  return limited;
}

MemoryEvents SlotGroups::memory_events(const std::string& group, std::uint64_t bytes_max) const {
  const std::optional<CgroupTree>& tree = memory_in_unified_ ? unified_ : memory_;
  if (!tree) return {};
  return memory_events_in(tree->path() + "/" + group, bytes_max).value_or(MemoryEvents{});
}

void SlotGroups::release(const std::string& group) const {
  for (const auto* tree : {&unified_, &memory_, &pids_}) {
    if (*tree) (*tree)->remove(group);
  }
}

void SlotGroups::remove() {
  for (auto* tree : {&unified_, &memory_, &pids_}) {
    if (*tree) (*tree)->remove();
  }
}

std::string description_of(const SlotGroups& groups) {
  const std::string sampling = "sampling /proc every " + std::to_string(kSampleEveryMs) + " ms";
  return "kills by " + word_of(groups.kills_by(), "walking /proc") + ", memory_max by " +
         word_of(groups.memory_by(), sampling) + ", processes_max by " + word_of(groups.processes_by(), sampling);
}

}  // namespace futured::spawner
