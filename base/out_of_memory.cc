#include "base/out_of_memory.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/own_groups.h"

namespace futured {

namespace {

// The kernel kills for no larger charge than eight pages; so close to its limit was who could not have one.
constexpr std::uint64_t kChargeBytesMax = 64 * 1024;
// v1 has no word for no limit: it is the largest number of whole pages.
constexpr std::uint64_t kNoLimitBytes = std::uint64_t{1} << 62;

// 0: it says "max", or is not there.
std::uint64_t number_in(const std::string& path) { return number_behind("n " + read_text(path), "n"); }

std::string memory_group_of(const OwnGroups& groups) {
  for (const std::string& folder : {groups.unified, groups.memory}) {
    if (!folder.empty() && memory_events_in(folder, 0)) return folder;
  }
  return {};
}

std::uint64_t limit_of(const MemoryKillSources& sources) {
  if (!sources.is_alone) return 0;
  const std::uint64_t bytes =
      std::max(number_in(sources.group + "/memory.max"), number_in(sources.group + "/memory.limit_in_bytes"));
  return bytes < kNoLimitBytes ? bytes : 0;
}

}  // namespace

std::optional<MemoryEvents> memory_events_in(const std::string& folder, std::uint64_t bytes_max) {
  const std::string events = read_text(folder + "/memory.events");
  if (!events.empty()) return MemoryEvents{number_behind(events, "oom_kill"), number_behind(events, "oom")};
  const std::string control = read_text(folder + "/memory.oom_control");
  if (control.find("oom_kill ") == std::string::npos) return std::nullopt;  // before Linux 4.13
  const std::uint64_t most = std::max(number_in(folder + "/memory.max_usage_in_bytes"),
                                      number_in(folder + "/memory.memsw.max_usage_in_bytes"));
  const bool was_at_max = bytes_max != 0 && most + kChargeBytesMax >= bytes_max;
  return MemoryEvents{number_behind(control, "oom_kill"), was_at_max ? 1U : 0U};
}

MemoryKillSources find_memory_kill_sources() {
  const std::string mounts = read_text("/proc/self/mountinfo");
  const std::string parents = read_text("/proc/" + std::to_string(::getppid()) + "/cgroup");
  MemoryKillSources sources;
  sources.group = memory_group_of(find_own_groups(mounts, read_text("/proc/self/cgroup")));
  sources.is_alone =
      !sources.group.empty() && !parents.empty() && sources.group != memory_group_of(find_own_groups(mounts, parents));
  return sources;
}

std::uint64_t memory_kills(const MemoryKillSources& sources) {
  if (!sources.group.empty()) return memory_events_in(sources.group, 0).value_or(MemoryEvents{}).kills;
  return number_behind(read_text(sources.vmstat), "oom_kill");
}

OutOfMemoryWatch::OutOfMemoryWatch(MemoryKillSources sources)
    : sources_(std::move(sources)), bytes_max_(limit_of(sources_)), seen_(count()) {}

MemoryEvents OutOfMemoryWatch::count() const {
  if (!sources_.is_alone) return {memory_kills(sources_), 0};
  return memory_events_in(sources_.group, bytes_max_).value_or(MemoryEvents{});
}

MemoryKill OutOfMemoryWatch::look() {
  const MemoryEvents before = std::exchange(seen_, count());
  if (seen_.kills <= before.kills) return MemoryKill::kNo;
  if (!sources_.is_alone) return MemoryKill::kLikely;
  return seen_.at_max != 0 && bytes_max_ != 0 ? MemoryKill::kOverLimit : MemoryKill::kYes;
}

}  // namespace futured
