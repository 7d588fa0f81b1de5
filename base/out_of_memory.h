// Whether the kernel has killed for want of memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace futured {

// What a control group's memory controller has counted. Only the growth between two looks says anything.
struct MemoryEvents {
  std::uint64_t kills = 0;   // processes of the group that the kernel killed for want of memory, whoever's it was
  std::uint64_t at_max = 0;  // times that the group was at its own limit; v1 tells no more than whether it was
};

// Of the group in this folder, v2 or v1 by the files that it has; nothing: none of them counts kills. `bytes_max`: the
// group's limit; 0: none.
[[nodiscard]] std::optional<MemoryEvents> memory_events_in(const std::string& folder, std::uint64_t bytes_max);

// Where kills are counted that may have been of this process or of what it starts.
struct MemoryKillSources {
  std::string group;      // folder of the control group that it is in; empty: none counts
  bool is_alone = false;  // nobody else is in that: whatever is counted there was of it
  // Without a group: of the whole machine, whichever group had no memory. Before Linux 4.13 it counts none.
  std::string vmstat = "/proc/vmstat";
};

// Of this process. It is alone where its group is not its parent's.
[[nodiscard]] MemoryKillSources find_memory_kill_sources();
// Kills so far. 0 where nothing counts them.
[[nodiscard]] std::uint64_t memory_kills(const MemoryKillSources& sources);

enum class MemoryKill : std::uint8_t {
  kNo,
  kLikely,     // somebody was killed, and it cannot be known who
  kYes,        // of this process's own group
  kOverLimit,  // the same, and the group was at its limit
};

// For one process that watches others: costs nothing until one of them dies of a SIGKILL that nobody sent.
class OutOfMemoryWatch {
 public:
  explicit OutOfMemoryWatch(MemoryKillSources sources);

  // What the kernel has done since the last look.
  [[nodiscard]] MemoryKill look();
  [[nodiscard]] std::uint64_t bytes_max() const { return bytes_max_; }  // of its own group; 0: no limit

 private:
  [[nodiscard]] MemoryEvents count() const;

  const MemoryKillSources sources_;
  const std::uint64_t bytes_max_;
  MemoryEvents seen_;
};

}  // namespace futured
