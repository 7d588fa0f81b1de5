#include "base/own_groups.h"

#include <gtest/gtest.h>

namespace futured {
namespace {

TEST(OwnGroups, OfASystemWithV2Only) {
  const OwnGroups own = find_own_groups(
      "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
      "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
      "0::/system.slice/futured-spawner.service\n");
  EXPECT_EQ(own, (OwnGroups{"/sys/fs/cgroup/system.slice/futured-spawner.service", "", ""}));
}

TEST(OwnGroups, OfASystemWithBoth) {
  const OwnGroups own = find_own_groups(
      "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
      "8:pids:/\n4:memory:/jobs/a b\n0::/\n");
  EXPECT_EQ(own, (OwnGroups{"/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory/jobs/a b", "/sys/fs/cgroup/pids"}));
}

TEST(OwnGroups, ControllersMayShareAHierarchy) {
  const OwnGroups own = find_own_groups("35 31 0:32 / /cg rw - cgroup cgroup rw,cpu,memory,pids\n",
                                        "4:cpu,memory,pids:/x\n1:name=systemd:/y\n");
  EXPECT_EQ(own, (OwnGroups{"", "/cg/x", "/cg/x"}));
}

TEST(OwnGroups, AControllersNameIsAWholeWord) {
  const OwnGroups own =
      find_own_groups("35 31 0:32 / /cg rw - cgroup cgroup rw,memoryless\n", "4:memoryless:/x\n3:name=memory:/y\n");
  EXPECT_EQ(own, OwnGroups{});
}

TEST(OwnGroups, AMountThatShowsAPartIsUsedForWhatLiesInIt) {
  const char* const mounts =
      "30 22 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n"
      "31 22 0:26 / /host/cgroup rw - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(find_own_groups(mounts, "0::/docker/abc/x\n").unified, "/sys/fs/cgroup/x");
  EXPECT_EQ(find_own_groups(mounts, "0::/docker/abc\n").unified, "/sys/fs/cgroup");
  EXPECT_EQ(find_own_groups(mounts, "0::/docker/abcd\n").unified, "/host/cgroup/docker/abcd");
}

TEST(OwnGroups, AGroupOutsideOfOurNamespaceIsNone) {
  const char* const mounts = "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(find_own_groups(mounts, "0::/../other\n").unified, "");
  EXPECT_EQ(find_own_groups(mounts, "0::/..x\n").unified, "/sys/fs/cgroup/..x");
}

TEST(OwnGroups, PathsAreUnescaped) {
  const char* const mounts = "30 22 0:26 / /my\\040groups\\134x\\9 rw - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(find_own_groups(mounts, "0::/a\n").unified, "/my groups\\x\\9/a");
}

TEST(OwnGroups, NonsenseIsNone) {
  for (const char* text : {"", "\n\n", " - ", "x - cgroup2", "1 2 3 4 5 6 - cgroup2 x", ":::", "0::"}) {
    EXPECT_EQ(find_own_groups(text, text), OwnGroups{}) << text;
  }
}

TEST(GroupFiles, WordsAndNumbersAreFoundByTheirWholeName) {
  EXPECT_TRUE(has_word("cpuset cpu io memory pids\n", "pids"));
  EXPECT_FALSE(has_word("cpuset cpu io memory pids\n", "set"));
  EXPECT_FALSE(has_word("\n", "pids"));
  const char* const events = "low 0\nhigh 1\nmax 22\noom 3\noom_kill 4\noom_group_kill 5\n";
  EXPECT_EQ(number_behind(events, "oom"), 3u);
  EXPECT_EQ(number_behind(events, "oom_kill"), 4u);
  EXPECT_EQ(number_behind(events, "oo"), 0u);
  EXPECT_EQ(number_behind("oom_kill_disable 0\nunder_oom 0\noom_kill 7", "oom_kill"), 7u);
  EXPECT_EQ(number_behind("oom_kill x\n", "oom_kill"), 0u);
}

}  // namespace
}  // namespace futured
