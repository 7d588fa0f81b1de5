#include "worker/runtime/worker_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "worker/runtime/command_mode.h"
#include "worker/runtime/descendants.h"
#include "worker/runtime/fresh_mode.h"
#include "worker/runtime/lifeline.h"
#include "worker/runtime/process_mode.h"
#include "worker/runtime/stacks.h"
#include "worker/runtime/workplace.h"

namespace futured::runtime {

namespace {

constexpr int kExitBroken = 70;  // EX_SOFTWARE

// True: the spawner has confined us. False: it is gone, or changed its mind.
bool wait_for_word(int lifeline) {
  for (;;) {
    char word = 0;
    const ssize_t size = read(lifeline, &word, 1);
    if (size < 0 && errno == EINTR) continue;
    return size == 1 && word == zygote::kGo;
  }
}

int work(const ZygoteOptions& options, WorkDirectory& directory, channel::WorkerEnd& end) {
  switch (options.terms.mode) {
    case PoolMode::kCommand:
      return run_command_worker(end, {.spool_directory = options.spool_directory,
                                      .capture = {},
                                      .limits = options.terms.limits,
                                      .directory = &directory});
    case PoolMode::kFresh:
      return run_fresh_worker(end, sdk::registered_tasks(), options, directory);
    case PoolMode::kProcess: {
      if (const Status watched = watch_lifeline(end.lifeline_fd()); !watched) {
        std::fprintf(stderr, "futured worker: %s\n", watched.error().message.c_str());
        return kExitBroken;
      }
      if (const Status watched = watch_for_stacks(end, options.spool_directory); !watched) {
        std::fprintf(stderr, "futured worker: %s\n", watched.error().message.c_str());
        return kExitBroken;
      }
      ProcessWorker worker(end, sdk::registered_tasks(), options.spool_directory, options.terms, &directory);
      return worker.work();
    }
    case PoolMode::kThread:
      break;
  }
  return kExitBroken;  // run_zygote refused these modes
}

}  // namespace

void run_worker(const ZygoteOptions& options, std::uint32_t slot, WorkerFds fds) {
  // A session of its own: what a terminal sends to its foreground never reaches a job.
  setsid();
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_NAME, ("fut-worker/" + std::to_string(slot)).c_str());
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (!wait_for_word(fds.lifeline.get())) _exit(0);

  int status = kExitBroken;
  auto end = channel::WorkerEnd::attach(std::move(fds.channel), std::move(fds.lifeline));
  if (end) {
    ZygoteOptions own = options;
    auto directory = settle(own, slot);
    if (directory) {
      status = work(own, *directory, *end);
    } else {
      std::fprintf(stderr, "futured worker: slot %u: %s\n", slot, directory.error().message.c_str());
      status = kExitUnconfined;
    }
  } else {
    std::fprintf(stderr, "futured worker: slot %u: %s\n", slot, end.error().message.c_str());
  }
  Usage unused;
  end_descendants(unused);
  // Nothing of the zygote's is undone here: no exit handlers, no static destructors.
  std::fflush(nullptr);
  _exit(status);
}

}  // namespace futured::runtime
