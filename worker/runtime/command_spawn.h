// Starts the program of a command with vfork's cost: the child borrows our memory until it has exec'd.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/command.h"
#include "base/fd.h"

namespace futured::runtime {

struct SpawnRequest {
  const Command& command;                     // sound by check_command
  const std::vector<std::string>& variables;  // of ours, KEY=VALUE: under the command's own
  int stdin_descriptor;
  int stdout_descriptor;
  int stderr_descriptor;
  const std::string& directory;  // where it begins if the command does not say; empty: where we are
  const std::map<std::string, std::uint64_t>& limits;  // of a pool's terms: soft and hard
};

// A program that runs in its own process group, whose id is its pid; or why none does.
struct Spawned {
  pid_t pid = -1;
  Fd pidfd;
  std::string_view error_class;  // ProgramNotFound, NotExecutable, InvalidCommand or SpawnFailed
  std::string message;
  bool retry_is_pointless = false;

  [[nodiscard]] bool is_running() const { return pid > 0; }
};

// One thread of the process at a time. The child has no descriptor but 0, 1 and 2, no handler and no blocked signal.
[[nodiscard]] Spawned spawn(const SpawnRequest& request);

}  // namespace futured::runtime
