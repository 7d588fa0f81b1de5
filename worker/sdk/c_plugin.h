// The worker's side of futured/task_c.h: tasks behind a C entry point, registered as any other.
#pragma once

#include <string>

#include "base/result.h"
#include "futured/task_c.h"

namespace futured::sdk {

using CEntry = decltype(&futured_plugin_tasks);

// Calls the entry point of the plugin at `path`. Refuses one that returns an error or whose tasks are built against
// another version; names are checked by register_task, which keeps what is wrong with them.
[[nodiscard]] Status register_c_tasks(CEntry entry, const std::string& path);

}  // namespace futured::sdk
