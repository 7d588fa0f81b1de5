#include "worker/runtime/worker_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "worker/runtime/async_mode.h"
#include "worker/runtime/command_mode.h"
#include "worker/runtime/descendants.h"
#include "worker/runtime/fresh_mode.h"
#include "worker/runtime/lifeline.h"
#include "worker/runtime/process_mode.h"
#include "worker/runtime/stacks.h"
#include "worker/runtime/thread_mode.h"
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

int complain(const Error& error) {
  std::fprintf(stderr, "futured worker: %s\n", error.message.c_str());
  return kExitBroken;
}

int run_process_worker(const ZygoteOptions& options, WorkDirectory& directory, channel::WorkerEnd& end) {
  if (const Status watched = watch_lifeline(end.lifeline_fd()); !watched) return complain(watched.error());
  if (const Status watched = watch_for_stacks(options.spool_directory); !watched) return complain(watched.error());
  ProcessWorker worker(end, sdk::registered_tasks(), options.spool_directory, options.terms, &directory);
  return worker.work();
}

int work(const ZygoteOptions& options, WorkDirectory& directory, std::span<channel::WorkerEnd> ends) {
  channel::WorkerEnd& end = ends.front();
  switch (options.terms.mode) {
    case PoolMode::kCommand:
      return run_command_worker(end, {.spool_directory = options.spool_directory,
                                      .capture = {},
                                      .memory_kills = find_memory_kill_sources(),
                                      .memory_bytes_max = options.terms.memory_bytes_max,
                                      .limits = options.terms.limits,
                                      .directory = &directory});
    case PoolMode::kFresh:
      return run_fresh_worker(end, sdk::registered_tasks(), options, directory);
    case PoolMode::kProcess:
      return run_process_worker(options, directory, end);
    case PoolMode::kThread:
      return run_thread_worker(ends, sdk::registered_tasks(), options);
    case PoolMode::kAsync:
      return run_async_worker(end, sdk::registered_tasks(), options);
  }
  return kExitBroken;
}

// Each end has a lifeline of its own to look at: copies of one.
Result<std::vector<channel::WorkerEnd>> attach(WorkerFds fds) {
  std::vector<channel::WorkerEnd> ends;
  for (channel::ChannelFds& channel : fds.channels) {
    Fd lifeline(fcntl(fds.lifeline.get(), F_DUPFD_CLOEXEC, 3));
    if (!lifeline.is_open()) return system_error("copy the lifeline");
    auto end = channel::WorkerEnd::attach(std::move(channel), std::move(lifeline));
    if (!end) return end.error();
    ends.push_back(std::move(*end));
  }
  return ends;
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
  auto ends = attach(std::move(fds));
  if (ends) {
    ZygoteOptions own = options;
    auto directory = settle(own, slot);
    if (directory) {
      status = work(own, *directory, *ends);
    } else {
      std::fprintf(stderr, "futured worker: slot %u: %s\n", slot, directory.error().message.c_str());
      status = kExitUnconfined;
    }
  } else {
    std::fprintf(stderr, "futured worker: slot %u: %s\n", slot, ends.error().message.c_str());
  }
  Usage unused;
  end_descendants(unused);
  // Nothing of the zygote's is undone here: no exit handlers, no static destructors.
  std::fflush(nullptr);
  _exit(status);
}

}  // namespace futured::runtime
