#include "worker/sdk/registry.h"

#include <dlfcn.h>

#include <algorithm>
#include <optional>

#include "base/limits.h"
#include "worker/sdk/c_plugin.h"

namespace futured {
namespace sdk {

namespace {

struct Registry {
  std::vector<RegisteredTask> tasks;
  std::optional<Error> wrong;
  std::string origin;  // what is being loaded
};

// Static initialisers of several files fill it, in no order: made at its first use, never destroyed, so that a task
// that calls exit() cannot meet it half gone.
Registry& registry() {
  static Registry* const kept = new Registry;
  return *kept;
}

bool is_sound_name(const std::string& name) {
  return !name.empty() && name.size() <= limits::kNameBytesMax &&
         std::none_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

std::string what_is_wrong(const Registry& all, int abi_version, const std::string& name, const TaskOptions& options) {
  if (abi_version != kAbiVersion) {
    return "was built against version " + std::to_string(abi_version) + " of the task headers, this worker against " +
           std::to_string(kAbiVersion);
  }
  if (!is_sound_name(name)) {
    return "has an empty name, one over " + std::to_string(limits::kNameBytesMax) +
           " bytes, or one with control characters";
  }
  if (options.version.size() > limits::kNameBytesMax) {
    return "has a version over " + std::to_string(limits::kNameBytesMax) + " bytes";
  }
  const auto same =
      std::find_if(all.tasks.begin(), all.tasks.end(), [&](const auto& task) { return task.name == name; });
  if (same != all.tasks.end()) {
    return "is defined already" + (same->origin.empty() ? " as a built-in task" : " by " + same->origin);
  }
  return {};
}

// Static initialisers register what is written in C++, the entry point what is written for C.
Status start(const std::string& path) {
  // A path without a slash would be searched for in the library path.
  const std::string file = path.find('/') == std::string::npos ? "./" + path : path;
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    const char* why = dlerror();
    return Error{ErrorCode::kFailedPrecondition, "plugin does not load: " + std::string(why != nullptr ? why : path)};
  }
  void* const entry = dlsym(library, "futured_plugin_tasks");
  return entry == nullptr ? Status() : register_c_tasks(reinterpret_cast<CEntry>(entry), path);
}

bool add(int abi_version, std::string name, TaskOptions options, TaskFunction function, AsyncTaskFunction coroutine) {
  Registry& all = registry();
  const std::string wrong = what_is_wrong(all, abi_version, name, options);
  if (!wrong.empty()) {
    const std::string where = all.origin.empty() ? "" : all.origin + ": ";
    if (!all.wrong) {
      all.wrong = Error{ErrorCode::kFailedPrecondition,
                        where + "task '" + name.substr(0, limits::kNameBytesMax) + "' " + wrong};
    }
    return false;
  }
  all.tasks.push_back(
      {std::move(name), std::move(options.version), all.origin, std::move(function), std::move(coroutine)});
  return true;
}

}  // namespace

bool register_task(int abi_version, std::string name, TaskOptions options, TaskFunction function) noexcept {
  return add(abi_version, std::move(name), std::move(options), std::move(function), {});
}

bool register_async_task(int abi_version, std::string name, TaskOptions options, AsyncTaskFunction function) noexcept {
  return add(abi_version, std::move(name), std::move(options), {}, std::move(function));
}

std::span<RegisteredTask> registered_tasks() { return registry().tasks; }

Status registration_status() {
  if (registry().wrong) return *registry().wrong;
  return {};
}

Status load_plugin(const std::string& path) {
  Registry& all = registry();
  const std::size_t before = all.tasks.size();
  Status started;
  all.origin = path;
  try {
    started = start(path);
  } catch (const std::exception& error) {
    started = Error{ErrorCode::kFailedPrecondition, "plugin " + path + " failed to start: " + error.what()};
  }
  all.origin.clear();
  if (all.wrong) return *all.wrong;  // first, since it may be why the entry point gave up
  if (!started) return started;
  if (all.tasks.size() == before) {
    return Error{ErrorCode::kFailedPrecondition, "plugin " + path + " defines no task"};
  }
  return {};
}

}  // namespace sdk
}  // namespace futured
