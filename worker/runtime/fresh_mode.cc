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
#include <string>

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

// While it is not certain who has the task.
void set_terminate_blocked(bool blocked) {
  sigset_t terminate;
  sigemptyset(&terminate);
  sigaddset(&terminate, SIGTERM);
  sigprocmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &terminate, nullptr);
}

[[noreturn]] void run_here(channel::WorkerEnd& end, std::span<const sdk::RegisteredTask> tasks,
                           const ZygoteOptions& options, WorkDirectory& directory, channel::Run& run) {
  g_task_process = 0;
  set_terminate_blocked(false);
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

// Until the fork is dead, which it still has to be reaped for. False: the lifeline closed before.
bool await(pid_t task, int lifeline) {
  constexpr int kLookMs = 10;  // without a pidfd, when descriptors are used up
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, task, 0)));
  std::array<pollfd, 2> sources{{{lifeline, 0, 0}, {pidfd.get(), POLLIN, 0}}};
  for (;;) {
    const int ready = poll(sources.data(), sources.size(), pidfd.is_open() ? -1 : kLookMs);
    if (ready < 0) continue;
    if (sources[1].revents != 0) return true;
    if (sources[0].revents != 0) return false;
    siginfo_t info{};
    if (ready == 0 && waitid(P_PID, static_cast<id_t>(task), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid != 0)
      return true;
  }
}

int reap(pid_t task) {
  int status = 0;
  while (waitpid(task, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
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

void report_no_fork(channel::WorkerEnd& end, channel::Run& run, int error_number) {
  if (end.take(run) == channel::Take::kRevoked) return;
  const std::string why = system_error("no room for the task's process: fork", error_number).message;
  channel::Outcome outcome;
  outcome.status = channel::DoneStatus::kWorkerError;
  outcome.error_class = "NoProcess";
  outcome.error_message = why;
  end.done(run, outcome);
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
      case channel::Intake::kStop:  // not asked for
      case channel::Intake::kNothing:
        continue;
    }
    // libc's fork, so that the handlers that libraries registered with pthread_atfork run.
    set_terminate_blocked(true);
    const pid_t task = fork();
    if (task == 0) run_here(end, tasks, options, directory, run);
    if (task < 0) {
      report_no_fork(end, run, errno);
      set_terminate_blocked(false);
      continue;
    }
    g_task_process = task;
    set_terminate_blocked(false);
    const bool is_over = await(task, end.lifeline_fd());
    set_terminate_blocked(true);
    if (!is_over) kill(task, SIGKILL);
    const int status = reap(task);
    g_task_process = 0;
    set_terminate_blocked(false);
    if (!is_over) return 0;
    if (!end.resume(run) || status != 0) end_likewise(status);
    Usage unused;
    end_descendants(unused);
  }
}

}  // namespace futured::runtime
