#include "worker/spawner/process_tree.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

namespace futured::spawner {
namespace {

TEST(ProcessTree, StatNamesParentStateAndStart) {
  const auto own = read_stat(::getpid());
  ASSERT_TRUE(own);
  EXPECT_EQ(own->parent, ::getppid());
  EXPECT_EQ(own->state, 'R');
  EXPECT_GT(own->start_time, 0u);
  EXPECT_FALSE(read_stat(0x3fffffff));
}

TEST(ProcessTree, AProcessThatForksWithoutEndIsCaughtWhole) {
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  const pid_t root = ::fork();
  if (root == 0) {
    // Each generation starts the next and leaves: nobody in it lives long enough to be looked at twice.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (;;) {
      const pid_t child = ::fork();
      if (child == 0) {
        ::setsid();
        if (::fork() != 0) ::_exit(0);
        ::usleep(500);
        ::_exit(0);
      }
      while (::waitpid(-1, nullptr, WNOHANG) > 0) {
      }
    }
  }
  ::usleep(20'000);  // let it get going
  const pid_t roots[] = {root};
  EXPECT_GE(kill_trees(roots), 1u);
  // What is left falls to us, as it falls to the spawner.
  for (int round = 0; round < 1000; ++round) {
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    const auto left = children_of(::getpid());
    if (left.empty()) break;
    (void)kill_trees(left);
  }
  EXPECT_EQ(::waitpid(-1, nullptr, 0), -1);
  EXPECT_EQ(errno, ECHILD);
  EXPECT_FALSE(read_stat(root));
}

TEST(ProcessTree, FindsByEnvironmentOnlyTheExactEntry) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const auto start = [&](const char* entry) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::dup2(ready[1], 1);
      const char* argv[] = {"/bin/sh", "-c", "echo; exec sleep 100", nullptr};
      const char* envp[] = {"A=1", entry, nullptr};
      ::execve(argv[0], const_cast<char**>(argv), const_cast<char**>(envp));
      ::_exit(1);
    }
    char byte;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    return pid;
  };
  const pid_t right = start("FUTURED_TEST_MARK=abc");
  const pid_t longer = start("FUTURED_TEST_MARK=abcd");
  const pid_t inner = start("X_FUTURED_TEST_MARK=abc");
  const auto found = find_by_environment("FUTURED_TEST_MARK=abc");
  EXPECT_EQ(found, std::vector<pid_t>{right});
  for (const pid_t pid : {right, longer, inner}) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
}

}  // namespace
}  // namespace futured::spawner
