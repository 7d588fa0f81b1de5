// Which hierarchy does what, on folders that stand for control groups: files that the kernel would make are made
// before.
#include "worker/spawner/slot_groups.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "worker/spawner/group_files.h"

namespace futured::spawner {
namespace {

constexpr std::uint64_t kInstance = 0x12;
constexpr WorkerLimits kLimits{.memory_bytes_max = 1 << 20, .processes_max = 32};

class SlotGroupsTest : public ::testing::Test {
 protected:
  SlotGroupsTest() {
    char name[] = "/tmp/futured-test-XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  ~SlotGroupsTest() override { std::filesystem::remove_all(folder_); }

  void file(const std::string& path, const std::string& text = "") {
    std::filesystem::create_directories(std::filesystem::path(folder_ + path).parent_path());
    std::ofstream(folder_ + path) << text;
  }
  [[nodiscard]] std::string text(const std::string& path) const { return read_text(folder_ + path); }

  std::string unified(const std::string& controllers) {
    file("/u/cgroup.procs");
    file("/u/cgroup.controllers", controllers);
    file("/u/cgroup.subtree_control");
    for (const char* name : {"/cgroup.kill", "/cgroup.subtree_control", "/slot-1/cgroup.procs", "/slot-1/memory.max",
                             "/slot-1/memory.oom.group", "/slot-1/memory.swap.max", "/slot-1/pids.max"}) {
      file("/u/futured-0000000000000012" + std::string(name));
    }
    return folder_ + "/u";
  }
  std::string memory() {
    file("/m/cgroup.procs");
    file("/m/futured-0000000000000012/memory.limit_in_bytes");
    file("/m/futured-0000000000000012/slot-1/cgroup.procs");
    file("/m/futured-0000000000000012/slot-1/memory.limit_in_bytes");
    return folder_ + "/m";
  }
  std::string pids() {
    file("/p/cgroup.procs");
    file("/p/futured-0000000000000012/pids.max");
    file("/p/futured-0000000000000012/slot-1/cgroup.procs");
    file("/p/futured-0000000000000012/slot-1/pids.max");
    return folder_ + "/p";
  }

  std::string folder_;
};

TEST_F(SlotGroupsTest, V2DoesAllThatItHasTheControllersFor) {
  const SlotGroups groups = SlotGroups::create({unified("cpu memory pids\n"), memory(), pids()}, kInstance);
  EXPECT_EQ(description_of(groups), "kills by cgroup v2, memory_max by cgroup v2, processes_max by cgroup v2");
  EXPECT_EQ(groups.paths(), std::vector<std::string>{folder_ + "/u/futured-0000000000000012"});
  const Confined confined = groups.confine("slot-1", 4711, kLimits);
  EXPECT_TRUE(confined.kill && confined.memory && confined.processes);
  const std::string slot = "/u/futured-0000000000000012/slot-1/";
  EXPECT_EQ(text(slot + "memory.max"), "1048576");
  EXPECT_EQ(text(slot + "memory.swap.max"), "0");
  EXPECT_EQ(text(slot + "memory.oom.group"), "1");
  EXPECT_EQ(text(slot + "pids.max"), "32");
  EXPECT_EQ(text(slot + "cgroup.procs"), "4711");
}

TEST_F(SlotGroupsTest, ASlotThatIsUsedAgainHasNoLimitOfItsLastPool) {
  const SlotGroups groups = SlotGroups::create({unified("memory pids"), "", ""}, kInstance);
  (void)groups.confine("slot-1", 4711, kLimits);
  (void)groups.confine("slot-1", 4712, {});
  const std::string slot = "/u/futured-0000000000000012/slot-1/";
  EXPECT_EQ(text(slot + "memory.max"), "max");
  EXPECT_EQ(text(slot + "memory.oom.group"), "0");
  EXPECT_EQ(text(slot + "pids.max"), "max");
}

TEST_F(SlotGroupsTest, WhatV2LacksV1Does) {
  const SlotGroups groups = SlotGroups::create({unified("hugetlb\n"), memory(), pids()}, kInstance);
  EXPECT_EQ(description_of(groups), "kills by cgroup v2, memory_max by cgroup v1, processes_max by cgroup v1");
  EXPECT_EQ(groups.paths().size(), 3u);
  const Confined confined = groups.confine("slot-1", 4711, kLimits);
  EXPECT_TRUE(confined.kill && confined.memory && confined.processes);
  EXPECT_EQ(text("/m/futured-0000000000000012/slot-1/memory.limit_in_bytes"), "1048576");
  EXPECT_EQ(text("/m/futured-0000000000000012/slot-1/cgroup.procs"), "4711");
  EXPECT_EQ(text("/p/futured-0000000000000012/slot-1/pids.max"), "32");
  EXPECT_EQ(text("/p/futured-0000000000000012/slot-1/cgroup.procs"), "4711");
}

TEST_F(SlotGroupsTest, EachThingIsDoneByWhatThereIsForIt) {
  const SlotGroups groups = SlotGroups::create({"", "", pids()}, kInstance);
  EXPECT_EQ(description_of(groups),
            "kills by walking /proc, memory_max by sampling /proc every 250 ms, processes_max by cgroup v1");
  const Confined confined = groups.confine("slot-1", 4711, kLimits);
  EXPECT_FALSE(confined.kill || confined.memory);
  EXPECT_TRUE(confined.processes);
}

TEST_F(SlotGroupsTest, ALimitThatCannotBeWrittenIsNotTakenForOne) {
  const SlotGroups groups = SlotGroups::create({"", memory(), pids()}, kInstance);
  std::filesystem::remove(folder_ + "/m/futured-0000000000000012/slot-1/memory.limit_in_bytes");
  std::filesystem::remove(folder_ + "/p/futured-0000000000000012/slot-1/cgroup.procs");
  const Confined confined = groups.confine("slot-1", 4711, kLimits);
  EXPECT_FALSE(confined.memory || confined.processes);
}

TEST_F(SlotGroupsTest, NoV1GroupIsUsedForAWorkerWithoutLimits) {
  const SlotGroups groups = SlotGroups::create({"", memory(), pids()}, kInstance);
  (void)groups.confine("slot-1", 4711, {});
  EXPECT_EQ(text("/m/futured-0000000000000012/slot-1/cgroup.procs"), "");
  EXPECT_EQ(text("/p/futured-0000000000000012/slot-1/cgroup.procs"), "");
}

TEST_F(SlotGroupsTest, WhatMemoryEventsSayOfEitherVersion) {
  file("/u/futured-0000000000000012/slot-1/memory.events", "low 0\nmax 9\noom 2\noom_kill 3\n");
  const SlotGroups two = SlotGroups::create({unified("memory"), "", ""}, kInstance);
  EXPECT_EQ(two.memory_events("slot-1", 9).kills, 3u);
  EXPECT_EQ(two.memory_events("slot-1", 9).at_max, 2u);
  file("/m/futured-0000000000000012/slot-1/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n");
  file("/m/futured-0000000000000012/slot-1/memory.max_usage_in_bytes", "900000\n");
  file("/m/futured-0000000000000012/slot-1/memory.memsw.max_usage_in_bytes", "1000000\n");
  const SlotGroups one = SlotGroups::create({"", memory(), ""}, kInstance);
  EXPECT_EQ(one.memory_events("slot-1", 1'000'000).kills, 5u);
  EXPECT_EQ(one.memory_events("slot-1", 1'000'000).at_max, 1u);
  EXPECT_EQ(one.memory_events("slot-1", 2'000'000).at_max, 0u) << "it was the machine that had no more";
  EXPECT_EQ(one.memory_events("slot-1", 0).at_max, 0u);
  EXPECT_EQ(SlotGroups().memory_events("slot-1", 9).kills, 0u);
}

TEST_F(SlotGroupsTest, OnlyWhatIsNamedAsOursIsRemoved) {
  file("/x/keep/cgroup.procs");
  std::filesystem::create_directories(folder_ + "/x/futured-0000000000000012/slot-1/inner");
  EXPECT_TRUE(CgroupTree::remove_leftover(folder_ + "/x", kInstance));
  EXPECT_TRUE(CgroupTree::remove_leftover(folder_ + "/x/futured-0000000000000012", 0x13));
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/x/futured-0000000000000012/slot-1/inner"));
  EXPECT_TRUE(CgroupTree::remove_leftover(folder_ + "/x/futured-0000000000000012", kInstance));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/x/futured-0000000000000012"));
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/x/keep"));
}

}  // namespace
}  // namespace futured::spawner
