#include "worker/runtime/thread_mode.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "worker/runtime/process_mode.h"
#include "worker/runtime/stacks.h"

namespace futured::runtime {

namespace {

constexpr std::size_t kSignalStackBytes = 64 * 1024;

// Of the slot that this thread serves.
thread_local channel::WorkerEnd* t_end = nullptr;

pid_t g_worker = 0;  // what a task forks has our handlers too, but is not the worker

void blame_this_thread() {
  if (t_end != nullptr && getpid() == g_worker) t_end->take_blame();
}

// The fault is met again on return, with nobody left to handle it; what was raised must be raised again.
void on_fault(int number, siginfo_t* info, void*) {
  blame_this_thread();
  signal(number, SIG_DFL);
  if (info->si_code <= 0) raise(number);
}

[[nodiscard]] Status watch_faults() {
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS}) {
    if (sigaction(number, &action, nullptr) != 0) return system_error("sigaction");
  }
  if (std::atexit(blame_this_thread) != 0) return Error{ErrorCode::kInternal, "atexit has no room"};
  return {};
}

// A stack overflow is a fault too, and leaves no room to handle it on.
class SignalStack {
 public:
  SignalStack() : memory_(kSignalStackBytes) {
    const stack_t stack{memory_.data(), 0, memory_.size()};
    sigaltstack(&stack, nullptr);
  }
  ~SignalStack() {
    const stack_t none{nullptr, SS_DISABLE, 0};
    sigaltstack(&none, nullptr);
  }
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  std::vector<char> memory_;
};

// How the first thread to come back did. Never gone: the others go on until the process ends.
struct Return {
  Fd event{eventfd(0, EFD_CLOEXEC)};
  std::atomic<int> status{0};
  std::atomic<bool> is_told{false};

  void tell(int returned) {
    if (is_told.exchange(true)) return;
    status = returned;
    (void)eventfd_write(event.get(), 1);
  }
};

// Until one has come back, or the spawner is gone while all of them compute.
int await(const Return& first, int lifeline) {
  std::array<pollfd, 2> sources{{{first.event.get(), POLLIN, 0}, {lifeline, 0, 0}}};
  while (poll(sources.data(), sources.size(), -1) < 0) {
  }
  return sources[0].revents != 0 ? first.status.load() : 0;
}

}  // namespace

int run_thread_worker(std::span<channel::WorkerEnd> ends, std::span<const sdk::RegisteredTask> tasks,
                      const ZygoteOptions& options) {
  Status ready = watch_for_stacks(options.spool_directory);
  if (ready) ready = watch_faults();
  if (!ready) {
    std::fprintf(stderr, "futured worker: %s\n", ready.error().message.c_str());
    return 1;
  }
  watch_forks();
  g_worker = getpid();
  Return& first = *new Return;
  if (!first.event.is_open()) return 1;
  for (channel::WorkerEnd& end : ends) {
    // Never joined: when one has come back, a neighbour may compute for ever, and the process ends all the same.
    std::thread([&end, &first, &options, tasks] {
      pthread_setname_np(pthread_self(), "fut-slot");
      const SignalStack stack;
      t_end = &end;
      ProcessWorker worker(end, tasks, options.spool_directory, options.terms);
      first.tell(worker.work());
    }).detach();
  }
  return await(first, ends.front().lifeline_fd());
}

}  // namespace futured::runtime
