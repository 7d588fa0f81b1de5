#include "worker/spawner/tree_usage.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "worker/spawner/process_tree.h"

namespace futured::spawner {
namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;

TEST(ProcStatus, MemoryIsWhatIsResidentAndWhatIsInSwap) {
  const ProcessUsage usage =
      parse_status("Name:\tVmRSS: 9 kB\nVmHWM:\t  99 kB\nVmRSS:\t    12 kB\nVmSwap:\t 3 kB\nThreads:\t4\n");
  EXPECT_EQ(usage.memory_bytes, 15u * 1024);
  EXPECT_EQ(usage.threads, 4u);
}

TEST(ProcStatus, AZombieHasNoMemoryAndSomeoneWhoIsGoneHasNothing) {
  EXPECT_EQ(parse_status("State:\tZ (zombie)\nThreads:\t1\n").threads, 1u);
  EXPECT_EQ(parse_status("State:\tZ (zombie)\nThreads:\t1\n").memory_bytes, 0u);
  EXPECT_EQ(parse_status("").threads, 0u);
  EXPECT_EQ(parse_status("VmRSS:\nThreads: x\n").threads, 0u);
}

TEST(ProcRollup, AShareIsThatOfMemoryAndOfSwap) {
  const char* const rollup =
      "55c136eb0000-7fffd841d000 ---p 00000000 00:00 0    [rollup]\n"
      "Rss:                1696 kB\nPss_Dirty:           112 kB\nPss:                 195 kB\n"
      "Swap:                 20 kB\nSwapPss:               5 kB\n";
  EXPECT_EQ(parse_rollup(rollup), 200u * 1024);
  EXPECT_EQ(parse_rollup("Rss: 3 kB\n"), std::nullopt);
  EXPECT_EQ(parse_rollup(""), std::nullopt);
}

// A child that has 64 MiB in memory, shares them with `sharers` children of its own, and waits to be killed.
class Tree {
 public:
  explicit Tree(int sharers) {
    int ready[2];
    if (::pipe(ready) != 0) std::abort();
    root_ = ::fork();
    if (root_ == 0) {
      void* const memory =
          ::mmap(nullptr, 64 * kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
      for (int i = 0; i < sharers && memory != MAP_FAILED; ++i) {
        if (::fork() == 0) break;
      }
      (void)!::write(ready[1], "r", 1);
      for (;;) ::pause();
    }
    ::close(ready[1]);
    char byte;
    for (int i = 0; i <= sharers; ++i) EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    ::close(ready[0]);
  }
  ~Tree() {
    const pid_t roots[] = {root_};
    (void)kill_trees(roots);
    ::waitpid(root_, nullptr, 0);
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;
  [[nodiscard]] pid_t root() const { return root_; }

 private:
  pid_t root_;
};

TEST(TreeUsage, SharedMemoryCountsOnce) {
  const Tree tree(3);
  const TreeUsage used = usage_of_tree(tree.root(), {.memory_bytes_max = 100 * kMiB});
  EXPECT_GE(used.memory_bytes, 64 * kMiB);
  EXPECT_LT(used.memory_bytes, 100 * kMiB) << "in full, the four have 256 MiB";
  EXPECT_EQ(used.threads, 4u);
}

TEST(TreeUsage, MoreThanTheLimitIsSeen) {
  const Tree tree(3);
  EXPECT_GT(usage_of_tree(tree.root(), {.memory_bytes_max = 32 * kMiB}).memory_bytes, 32 * kMiB);
  EXPECT_EQ(usage_of_tree(tree.root(), {.processes_max = 2}).threads, 3u) << "no need to look further";
  EXPECT_EQ(usage_of_tree(tree.root(), {.processes_max = 4}).threads, 4u);
}

TEST(TreeUsage, OfWhoHasLostItsFirstThreadIsSeen) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::mmap(nullptr, 64 * kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    std::thread([] {
      for (;;) ::pause();
    }).detach();
    ::syscall(SYS_exit, 0);  // this thread alone
  }
  for (auto stat = read_stat(child); stat && stat->state != 'Z'; stat = read_stat(child)) ::sched_yield();
  EXPECT_GE(usage_of_tree(child, {.memory_bytes_max = 100 * kMiB}).memory_bytes, 64 * kMiB);
  EXPECT_GE(usage_of_tree(child, {.memory_bytes_max = 32 * kMiB}).memory_bytes, 32 * kMiB);
  const pid_t roots[] = {child};
  (void)kill_trees(roots);
  ::waitpid(child, nullptr, 0);
}

TEST(TreeUsage, OfWhoIsGoneIsNothing) {
  const TreeUsage used = usage_of_tree(0x3fffffff, {.memory_bytes_max = 1, .processes_max = 1});
  EXPECT_EQ(used.memory_bytes, 0u);
  EXPECT_EQ(used.threads, 0u);
}

}  // namespace
}  // namespace futured::spawner
