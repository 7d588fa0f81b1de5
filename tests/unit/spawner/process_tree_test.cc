#include "worker/spawner/process_tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

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
  int generations[2];  // one byte each, as far as there is room
  ASSERT_EQ(::pipe2(generations, O_NONBLOCK | O_CLOEXEC), 0);
  const pid_t root = ::fork();
  if (root == 0) {
    // Each generation starts the next and leaves: nobody in it lives long enough to be looked at twice.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (;;) {
      const pid_t child = ::fork();
      if (child == 0) {
        ::setsid();
        if (::fork() != 0) ::_exit(0);
        (void)!::write(generations[1], "g", 1);
        ::usleep(500);
        ::_exit(0);
      }
      while (::waitpid(-1, nullptr, WNOHANG) > 0) {
      }
    }
  }
  pollfd under_way{generations[0], POLLIN, 0};
  ASSERT_EQ(::poll(&under_way, 1, 30'000), 1) << "it never forked";
  ::close(generations[0]);
  ::close(generations[1]);
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

// A child whose first thread has ended while another one goes on, and ignores all that it can.
pid_t start_headless() {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::signal(SIGTERM, SIG_IGN);
  std::thread([] {
    for (;;) ::pause();
  }).detach();
  for (;;) ::syscall(SYS_exit, 0);
}

void wait_until_headless(pid_t pid) {
  for (auto stat = read_stat(pid); stat && stat->state != 'Z'; stat = read_stat(pid)) ::sched_yield();
}

TEST(ProcessTree, WhoHasLostItsFirstThreadLivesAndIsKilled) {
  for (const bool is_of_a_group : {false, true}) {
    const pid_t pid = start_headless();
    ASSERT_GT(pid, 0);
    wait_until_headless(pid);
    const auto stat = read_stat(pid);
    ASSERT_TRUE(stat);
    EXPECT_EQ(stat->threads, 2u);
    EXPECT_FALSE(is_dead(*stat));
    const pid_t roots[] = {pid};
    if (is_of_a_group) {
      kill_headless(roots);
    } else {
      EXPECT_EQ(kill_trees(roots), 1u);
    }
    siginfo_t ended{};
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT), 0);
    EXPECT_TRUE(is_dead(read_stat(pid).value()));
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(WTERMSIG(status), SIGKILL);
  }
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
