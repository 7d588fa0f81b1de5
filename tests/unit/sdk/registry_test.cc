#include "worker/sdk/registry.h"

#include <gtest/gtest.h>

namespace futured::sdk {
namespace {

FUTURED_TASK("first", [] { return 1; });
FUTURED_TASK("second", [] { return 2; }, {.version = "3"});

// One test, since what is wrong with a registry stays wrong.
TEST(Registry, KeepsTasksInOrderAndTheFirstMistake) {
  ASSERT_EQ(registered_tasks().size(), 2u);
  EXPECT_EQ(registered_tasks()[0].name, "first");
  EXPECT_EQ(registered_tasks()[1].version, "3");
  EXPECT_TRUE(registration_status().ok());

  const Status missing = load_plugin("/nonexistent.so");
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.error().message.find("/nonexistent.so"), std::string::npos);

  EXPECT_FALSE(register_callable("first", [] {}));
  EXPECT_EQ(registration_status().error().message, "task 'first' is defined already as a built-in task");
  EXPECT_FALSE(register_task(kAbiVersion + 1, "other", {}, {}));
  EXPECT_FALSE(register_callable("", [] {}));
  EXPECT_FALSE(register_callable("line\nbreak", [] {}));
  EXPECT_FALSE(register_callable(std::string(200, 'x'), [] {}));
  EXPECT_FALSE(register_callable("v", [] {}, {.version = std::string(200, 'x')}));
  EXPECT_EQ(registered_tasks().size(), 2u);
}

}  // namespace
}  // namespace futured::sdk
