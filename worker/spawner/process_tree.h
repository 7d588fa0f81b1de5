// Finding and killing a process with everything below it, without cgroups.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace futured::spawner {

struct ProcessStat {
  pid_t parent = 0;
  char state = '?';              // as in /proc/PID/stat; Z: its first thread is a zombie
  std::uint32_t threads = 0;     // the first one included, living or not
  std::uint64_t start_time = 0;  // clock ticks since boot: with the pid it names a process for good
};

// Nothing when there is no such process.
[[nodiscard]] std::optional<ProcessStat> read_stat(pid_t pid);

// Only its first thread can be seen to be a zombie: a process whose other threads go on lives.
[[nodiscard]] bool is_dead(const ProcessStat& stat);

// Direct children of any of its threads, zombies included.
[[nodiscard]] std::vector<pid_t> children_of(pid_t pid);

// The ids of its threads, of which the first one is the process's.
[[nodiscard]] std::vector<pid_t> threads_of(pid_t pid);

// Stops the roots and whatever descends from them, so that nothing can fork away, then kills all of it. Returns how
// many living processes it met: call again, as they are reaped, until that is 0.
std::size_t kill_trees(std::span<const pid_t> roots);

// Kills those among them whose first thread has ended while others go on: cgroup.kill signals first threads alone.
void kill_headless(std::span<const pid_t> pids);

// Living processes whose environment has exactly this KEY=VALUE, except this process and its ancestors.
[[nodiscard]] std::vector<pid_t> find_by_environment(const std::string& entry);

}  // namespace futured::spawner
