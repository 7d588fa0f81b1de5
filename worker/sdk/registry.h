// The tasks that this process knows: filled by static initialisers of the executable and of its plugins.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "futured/task.h"

namespace futured::sdk {

struct RegisteredTask {
  std::string name;
  std::string version;
  std::string origin;     // the plugin's path; empty for a task of the executable
  TaskFunction function;  // or
  AsyncTaskFunction coroutine;
};

// All tasks so far, in the order of their registration: the index of a task is what a RUN record names.
[[nodiscard]] std::span<RegisteredTask> registered_tasks();

// The first thing that was wrong with a registration, naming the task and where it came from.
[[nodiscard]] Status registration_status();

// Loads a plugin; its static initialisers register its tasks, and so does its C entry point, if it has one. Refuses one
// that does not load, registers nothing, or whose registrations are wrong. The library stays loaded for the life of the
// process. One thread, before any fork.
[[nodiscard]] Status load_plugin(const std::string& path);

}  // namespace futured::sdk
