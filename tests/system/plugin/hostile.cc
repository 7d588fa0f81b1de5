// The hostile job as a task.
#include <futured/task.h>

#include "tests/system/plugin/hostile.h"

FUTURED_TASK("test.hostile", [](std::string what, std::string token, std::string gate) {
  return hostile::commit({std::move(what), std::move(token), std::move(gate)});
});
