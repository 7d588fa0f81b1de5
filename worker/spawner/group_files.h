// The files of control groups: small texts that are read and written whole.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace futured::spawner {

// 0, or the errno that kept it from being written. The file must be there.
[[nodiscard]] int write_text(const std::string& path, const std::string& text);

// Processes of the group and of every group below it, zombies not counted.
[[nodiscard]] std::vector<pid_t> processes_of(const std::string& group);
// Removes the group and every group below it. False: some are still in use, or not ours to remove.
bool remove_group(const std::string& group);

}  // namespace futured::spawner
