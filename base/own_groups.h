// Where a process's control groups are, by what /proc says of its mounts and of its groups. No path is taken for
// granted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace futured {

// Folders of the groups that a process is in; empty: there is none, or it lies outside what is mounted here.
struct OwnGroups {
  std::string unified;  // cgroup v2
  std::string memory;   // the v1 hierarchy that has this controller
  std::string pids;     // likewise

  bool operator==(const OwnGroups&) const = default;
};

// `mountinfo`: the text of /proc/PID/mountinfo; `cgroup`: that of /proc/PID/cgroup.
[[nodiscard]] OwnGroups find_own_groups(std::string_view mountinfo, std::string_view cgroup);
// Of this process. All empty where /proc cannot be read.
[[nodiscard]] OwnGroups find_own_groups();

// A small text of /proc or of a group, whole. Empty when it cannot be read.
[[nodiscard]] std::string read_text(const std::string& path);
// Whether a list such as cgroup.controllers ("cpuset cpu io memory pids\n") has this word.
[[nodiscard]] bool has_word(std::string_view list, std::string_view word);
// The number behind `name` in lines of "name number", such as memory.events and memory.oom_control; 0: not there.
[[nodiscard]] std::uint64_t number_behind(std::string_view lines, std::string_view name);

}  // namespace futured
