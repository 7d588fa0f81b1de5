#include "daemon/loop/stacks.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/limits.h"

namespace futured {
namespace {

class StacksTest : public ::testing::Test {
 protected:
  StacksTest() { folder_ = mkdtemp(pattern_); }
  ~StacksTest() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) { std::ofstream(folder_ + "/" + name) << text; }

  char pattern_[32] = "/tmp/futured-stacks-XXXXXX";
  std::string folder_;
  const Fence fence_{JobId{42}, Epoch{1}, 3};
};

TEST_F(StacksTest, AreReadOnceAndOfTheirAttemptOnly) {
  write("42.1.3.stacks", "thread 7");
  write("42.1.2.stacks", "another");
  EXPECT_EQ(take_stacks(folder_, fence_, {}), "thread 7");
  EXPECT_EQ(take_stacks(folder_, fence_, {}), "");
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/42.1.2.stacks"));
}

TEST_F(StacksTest, OfAFileThatIsTooLongTheBeginningIsRead) {
  write("42.1.3.stacks", std::string(2 * limits::kStacksBytesMax, 'x'));
  EXPECT_EQ(take_stacks(folder_, fence_, {}).size(), limits::kStacksBytesMax);
}

TEST_F(StacksTest, WhatIsNoPlainFileIsNotRead) {
  write("secret", "not yours");
  std::filesystem::create_symlink(folder_ + "/secret", folder_ + "/42.1.3.stacks");
  EXPECT_EQ(take_stacks(folder_, fence_, {}), "");
  std::filesystem::remove(folder_ + "/42.1.3.stacks");
  ASSERT_EQ(mkfifo((folder_ + "/42.1.3.stacks").c_str(), 0600), 0);
  EXPECT_EQ(take_stacks(folder_, fence_, {}), "");
}

}  // namespace
}  // namespace futured
