// The hostile job as a task.
#include <futured/task.h>

#include "hostile.h"

FUTURED_TASK("test.hostile", [](std::string what, std::string token, std::string gate) {
  return hostile::commit({std::move(what), std::move(token), std::move(gate)});
});
