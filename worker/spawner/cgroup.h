// The spawner's own corner of one hierarchy of control groups, v1 or v2: a group for each slot, and one for each
// zygote.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace futured::spawner {

// In v2 a kill of a group is complete and atomic. A v1 hierarchy has only what its controller limits and counts.
class CgroupTree {
 public:
  enum class Version { kOne, kTwo };

  // Makes `own`/futured-<instance>, `own` being this process's group in the hierarchy. `needed` names a file that the
  // tree's groups must have for us to write. Nothing when there is no such group, or it may not be written.
  [[nodiscard]] static std::optional<CgroupTree> create(const std::string& own, Version version, std::uint64_t instance,
                                                        const std::string& needed);
  // Kills all of what the spawner of `instance` left at `path` and removes it. False: something is still alive.
  [[nodiscard]] static bool remove_leftover(const std::string& path, std::uint64_t instance);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] Version version() const { return version_; }

  // The group is made at need. False: it could not be made.
  [[nodiscard]] bool make(const std::string& group) const;
  // Moves a process into a group that has been made. False: it stays where it was.
  [[nodiscard]] bool add(const std::string& group, pid_t pid) const;
  [[nodiscard]] bool write(const std::string& group, const std::string& file, const std::string& text) const;
  [[nodiscard]] std::string read(const std::string& group, const std::string& file) const;
  // v2: kills everything in the group. True once nothing is left in it.
  [[nodiscard]] bool kill(const std::string& group) const;
  // v2. Zombies do not count.
  [[nodiscard]] bool is_empty(const std::string& group) const;
  // With every group that was made inside.
  void remove(const std::string& group) const;

  // v2: gives the groups of this tree the controller's files. While processes are in our own group, the kernel lets it
  // hand out no controller; so we leave it for a group of this tree, and come back when nothing is gained by that.
  [[nodiscard]] bool hand_out(const std::string& controller);

  // Removes the tree, and puts this process back where it was. At exit.
  void remove();

 private:
  CgroupTree(std::string own, std::string path, Version version);
  [[nodiscard]] bool step_aside();
  void step_back();

  std::string own_;
  std::string path_;
  Version version_;
  bool is_aside_ = false;
};

}  // namespace futured::spawner
