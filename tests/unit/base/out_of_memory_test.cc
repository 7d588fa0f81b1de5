#include "base/out_of_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace futured {
namespace {

class OutOfMemoryTest : public ::testing::Test {
 protected:
  ~OutOfMemoryTest() override { std::filesystem::remove(path_); }
  void write(const std::string& text) { std::ofstream(path_) << text; }

  std::string path_ = std::filesystem::temp_directory_path() / ("futured-vmstat-" + std::to_string(::getpid()));
};

TEST_F(OutOfMemoryTest, KillsAreReadByTheirName) {
  write("nr_free_pages 12\nnot_oom_kill 7\noom_kill 3\nswap_ra 9\n");
  EXPECT_EQ(out_of_memory_kills(path_), 3u);
}

TEST_F(OutOfMemoryTest, AKernelThatDoesNotCountThemKillsNothing) {
  EXPECT_EQ(out_of_memory_kills(path_), 0u) << "no such file";
  write("nr_free_pages 12\n");
  EXPECT_EQ(out_of_memory_kills(path_), 0u);
}

TEST_F(OutOfMemoryTest, EachKillIsSeenByOneLook) {
  write("oom_kill 5\n");
  OutOfMemoryWatch watch(path_);
  EXPECT_FALSE(watch.look());
  write("oom_kill 6\n");
  EXPECT_TRUE(watch.look());
  EXPECT_FALSE(watch.look());
}

}  // namespace
}  // namespace futured
