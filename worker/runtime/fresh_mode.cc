#include "worker/runtime/fresh_mode.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>

#include "base/fd.h"
#include "worker/runtime/descendants.h"
#include "worker/runtime/process_mode.h"
#include "worker/runtime/stacks.h"

namespace futured::runtime {

namespace {

// Who has the task. It tells its stacks, so it is who must hear of a SIGTERM.
std::atomic<pid_t> g_task_process{0};

void on_terminate(int) {
  const int saved = errno;
  if (const pid_t task = g_task_process.load(); task > 0) {
    kill(task, SIGTERM);
  } else {
    signal(SIGTERM, SIG_DFL);
    raise(SIGTERM);
  }
  errno = saved;
}

[[noreturn]] void run_here(channel::WorkerEnd& end, std::span<const sdk::RegisteredTask> tasks,
                           const ZygoteOptions& options, WorkDirectory& directory, channel::Run& run) {
  g_task_process = 0;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  watch_forks();
  if (!watch_for_stacks(options.spool_directory)) _exit(1);
  PoolTerms terms = options.terms;
  terms.leaks = Leaks::kIgnore;  // it leaves them to nobody
  ProcessWorker worker(end, tasks, options.spool_directory, terms, &directory);
  worker.run_one(run);
  end.settle();
  std::fflush(nullptr);
  _exit(0);
}

// Until the fork is dead; its wait status. Negative: the lifeline closed before, and it was killed.
int await(pid_t task, int lifeline) {
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, task, 0)));
  std::array<pollfd, 2> sources{{{pidfd.get(), POLLIN, 0}, {lifeline, 0, 0}}};
  bool is_cut_off = false;
  while (pidfd.is_open() && !is_cut_off) {
    if (poll(sources.data(), sources.size(), -1) < 0) continue;
    if (sources[0].revents != 0) break;
    is_cut_off = sources[1].revents != 0;
  }
  if (is_cut_off) kill(task, SIGKILL);
  int status = 0;
  while (waitpid(task, &status, 0) < 0 && errno == EINTR) {
  }
  return is_cut_off ? -1 : status;
}

// The worker's own end says how that of its task was.
[[noreturn]] void end_likewise(int status) {
  Usage unused;
  end_descendants(unused);
  if (WIFSIGNALED(status)) {
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);  // the task has left one, if any
    signal(WTERMSIG(status), SIG_DFL);
    raise(WTERMSIG(status));
  }
  _exit(WEXITSTATUS(status));
}

}  // namespace

int run_fresh_worker(channel::WorkerEnd& end, std::span<const sdk::RegisteredTask> tasks, const ZygoteOptions& options,
                     WorkDirectory& directory) {
  if (!watch_for_stacks(options.spool_directory)) return 1;  // what that loads, no fork has to load again
  struct sigaction action {};
  action.sa_handler = on_terminate;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGTERM, &action, nullptr) != 0) return 1;
  for (;;) {
    channel::Run run;
    switch (end.next(run)) {
      case channel::Intake::kRun:
        break;
      case channel::Intake::kEnded:
        return 0;
      case channel::Intake::kBroken:
        return 1;
      case channel::Intake::kNothing:
        continue;
    }
    // libc's fork, so that the handlers that libraries registered with pthread_atfork run.
    const pid_t task = fork();
    if (task == 0) run_here(end, tasks, options, directory, run);
    if (task < 0) return 1;  // no room for a process: the next worker, which the spawner forks, may find some
    g_task_process = task;
    const int status = await(task, end.lifeline_fd());
    g_task_process = 0;
    if (status < 0) return 0;
    if (!end.resume(run) || status != 0) end_likewise(status);
    Usage unused;
    end_descendants(unused);
  }
}

}  // namespace futured::runtime
