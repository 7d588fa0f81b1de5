// The spawner's own corner of the cgroup v2 tree, where there is one that may be written.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace futured::spawner {

// Below it one group for each slot and each pool's zygote. Kills of a group are complete and atomic.
class CgroupTree {
 public:
  // Nothing when no cgroup v2 is mounted, it may not be written, or it cannot kill (before Linux 5.14).
  [[nodiscard]] static std::optional<CgroupTree> create(std::uint64_t instance);
  // Kills all of what an earlier spawner left at `path` and removes it. False: something is still alive.
  [[nodiscard]] static bool remove_leftover(const std::string& path);

  [[nodiscard]] const std::string& path() const { return path_; }

  // Moves a process into the group, which is made at need. False: it could not be confined.
  [[nodiscard]] bool add(const std::string& group, pid_t pid) const;
  // Kills everything in the group. True once nothing is left in it.
  [[nodiscard]] bool kill(const std::string& group) const;
  [[nodiscard]] bool is_empty(const std::string& group) const;
  // Times that the group ran out of memory; 0 where memory is not controlled.
  [[nodiscard]] std::uint64_t out_of_memory_kills(const std::string& group) const;
  // Removes every group. At exit.
  void remove() const;

 private:
  explicit CgroupTree(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace futured::spawner
