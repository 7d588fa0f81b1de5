#include "worker/runtime/fresh_mode.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <string>

#include "worker/runtime/descendants.h"
#include "worker/runtime/lifeline.h"
#include "worker/runtime/own_limits.h"
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

const sigset_t g_terminate = [] {
  sigset_t terminate;
  sigemptyset(&terminate);
  sigaddset(&terminate, SIGTERM);
  return terminate;
}();

// While it is not certain who has the task.
void set_terminate_blocked(bool blocked) { sigprocmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &g_terminate, nullptr); }

// Each page that a fork is the first to touch costs it a microsecond, so what can be had before the fork is.
[[noreturn]] void run_here(ProcessWorker& worker, channel::WorkerEnd& end, channel::Run& run) {
  g_task_process = 0;
  set_terminate_blocked(false);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  be_no_fork_of_task();
  if (!watch_for_stacks_again()) _exit(1);
  worker.run_one(run);
  end.settle();
  std::fflush(nullptr);
  _exit(0);
}

// Until the fork is dead, which it still has to be reaped for. Should the lifeline close before, its watch ends both.
void await(pid_t task) {
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(task), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
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
  if (!watch_lifeline(end.lifeline_fd())) return 1;
  if (!watch_for_stacks(options.spool_directory)) return 1;  // what that loads, no fork has to load again
  struct sigaction action {};
  action.sa_handler = on_terminate;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGTERM, &action, nullptr) != 0) return 1;
  watch_forks();
  PoolTerms terms = options.terms;
  terms.leaks = Leaks::kIgnore;  // a fork leaves them to nobody
  ProcessWorker worker(end, tasks, options.spool_directory, terms, &directory);
  const OwnLimits limits;
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
    if (task == 0) run_here(worker, end, run);
    if (task < 0) {
      report_no_fork(end, run, errno);
      set_terminate_blocked(false);
      continue;
    }
    g_task_process = task;
    set_terminate_blocked(false);
    set_busy(true);
    if (has_lifeline_closed()) return 0;  // just before; what is left is ended on the way out
    await(task);
    set_busy(false);
    set_terminate_blocked(true);
    const int status = reap(task);
    limits.keep();
    g_task_process = 0;
    set_terminate_blocked(false);
    if (!end.resume(run) || status != 0) end_likewise(status);
    Usage unused;
    end_descendants(unused);
  }
}

}  // namespace futured::runtime
