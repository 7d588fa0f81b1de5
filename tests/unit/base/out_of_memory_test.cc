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
  OutOfMemoryTest() { std::filesystem::create_directory(folder_); }
  ~OutOfMemoryTest() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& file, const std::string& text) const { std::ofstream(folder_ + "/" + file) << text; }
  void write_v1(int kills, std::uint64_t most) const {
    write("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill " + std::to_string(kills) + "\n");
    write("memory.max_usage_in_bytes", std::to_string(most) + "\n");
  }
  [[nodiscard]] MemoryKillSources machine() const { return {.vmstat = folder_ + "/vmstat"}; }
  [[nodiscard]] MemoryKillSources group(bool is_alone) const {
    return {.group = folder_, .is_alone = is_alone, .vmstat = folder_ + "/vmstat"};
  }

  std::string folder_ = std::filesystem::temp_directory_path() / ("futured-memory-" + std::to_string(::getpid()));
};

TEST_F(OutOfMemoryTest, KillsOfTheMachineAreReadByTheirName) {
  write("vmstat", "nr_free_pages 12\nnot_oom_kill 7\noom_kill 3\nswap_ra 9\n");
  EXPECT_EQ(memory_kills(machine()), 3u);
}

TEST_F(OutOfMemoryTest, AKernelThatDoesNotCountThemKillsNothing) {
  EXPECT_EQ(memory_kills(machine()), 0u) << "no such file";
  write("vmstat", "nr_free_pages 12\n");
  EXPECT_EQ(memory_kills(machine()), 0u);
}

TEST_F(OutOfMemoryTest, OfTheWholeMachineAKillIsLikelyAndSeenByOneLook) {
  write("vmstat", "oom_kill 5\n");
  OutOfMemoryWatch watch(machine());
  EXPECT_EQ(watch.look(), MemoryKill::kNo);
  write("vmstat", "oom_kill 6\n");
  EXPECT_EQ(watch.look(), MemoryKill::kLikely);
  EXPECT_EQ(watch.look(), MemoryKill::kNo);
}

TEST_F(OutOfMemoryTest, AKillInAnotherGroupIsNoneOfOurs) {
  write("vmstat", "oom_kill 5\n");
  write_v1(2, 1'000);
  for (const bool is_alone : {false, true}) {
    OutOfMemoryWatch watch(group(is_alone));
    write("vmstat", "oom_kill 6\n");
    EXPECT_EQ(watch.look(), MemoryKill::kNo);
  }
}

TEST_F(OutOfMemoryTest, OfAGroupThatIsSharedAKillIsLikely) {
  write_v1(2, 1'000);
  OutOfMemoryWatch watch(group(/*is_alone=*/false));
  write_v1(3, 1'000);
  EXPECT_EQ(watch.look(), MemoryKill::kLikely);
}

TEST_F(OutOfMemoryTest, OfItsOwnGroupAKillIsCertainAndOverItsLimitWhereItWasAtThat) {
  write("memory.limit_in_bytes", "67108864\n");
  write_v1(0, 1'000'000);
  OutOfMemoryWatch watch(group(/*is_alone=*/true));
  EXPECT_EQ(watch.bytes_max(), 67'108'864u);
  write_v1(1, 1'000'000);
  EXPECT_EQ(watch.look(), MemoryKill::kYes) << "it was the machine that had no more";
  write_v1(2, 67'100'000);
  EXPECT_EQ(watch.look(), MemoryKill::kOverLimit);
  EXPECT_EQ(watch.look(), MemoryKill::kNo);
}

TEST_F(OutOfMemoryTest, AGroupWithoutLimitIsNotOverOne) {
  write("memory.limit_in_bytes", "9223372036854771712\n");
  write_v1(0, 1'000'000);
  OutOfMemoryWatch watch(group(/*is_alone=*/true));
  EXPECT_EQ(watch.bytes_max(), 0u);
  write_v1(1, 1'000'000);
  EXPECT_EQ(watch.look(), MemoryKill::kYes);
}

TEST_F(OutOfMemoryTest, V2CountsBoth) {
  write("memory.max", "max\n");
  write("memory.events", "low 0\nmax 0\noom 0\noom_kill 0\n");
  EXPECT_EQ(OutOfMemoryWatch(group(/*is_alone=*/true)).bytes_max(), 0u);
  write("memory.max", "1048576\n");
  OutOfMemoryWatch watch(group(/*is_alone=*/true));
  EXPECT_EQ(watch.bytes_max(), 1'048'576u);
  write("memory.events", "low 0\nmax 9\noom 2\noom_kill 3\n");
  EXPECT_EQ(watch.look(), MemoryKill::kOverLimit);
}

TEST_F(OutOfMemoryTest, AFolderWithoutACounterIsNoGroup) {
  EXPECT_FALSE(memory_events_in(folder_, 0));
  write("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n");  // before Linux 4.13
  EXPECT_FALSE(memory_events_in(folder_, 0));
}

}  // namespace
}  // namespace futured
