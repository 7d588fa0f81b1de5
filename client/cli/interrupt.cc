#include "client/cli/interrupt.h"

#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <exception>
#include <utility>

#include "client/cli/cli.h"

namespace futured::cli {

namespace {

sigset_t watched_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGUSR2);  // from the destructor: stop watching
  return signals;
}

}  // namespace

Interrupt::Interrupt() {
  const sigset_t signals = watched_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  thread_ = std::thread([this] { run(); });
}

Interrupt::~Interrupt() {
  on_first(nullptr);
  stopping_ = true;
  ::pthread_kill(thread_.native_handle(), SIGUSR2);
  thread_.join();
  on_first(nullptr);  // a signal may have come in between
}

void Interrupt::hold() {
  const std::lock_guard guard(mutex_);
  holding_ = true;
}

void Interrupt::on_first(std::function<void()> action) {
  const std::lock_guard guard(mutex_);
  if (action_thread_.joinable()) action_thread_.join();
  holding_ = false;
  action_ = std::move(action);
  if (std::exchange(held_back_, false) && action_) start(std::exchange(action_, nullptr));
}

void Interrupt::run() {
  const sigset_t signals = watched_signals();
  while (true) {
    int signal = 0;
    ::sigwait(&signals, &signal);
    if (stopping_) return;
    if (signal == SIGUSR2) continue;
    if (interrupted_.exchange(true)) ::_exit(kInterrupted);
    const std::lock_guard guard(mutex_);
    if (holding_) {
      held_back_ = true;
      continue;
    }
    if (!action_) ::_exit(kInterrupted);
    // Not here: a second signal must be heard while the action waits for the daemon.
    start(std::exchange(action_, nullptr));
  }
}

void Interrupt::start(std::function<void()> action) {
  action_thread_ = std::thread([action = std::move(action)] {
    try {
      action();
    } catch (const std::exception& error) {
      complain(error.what());
      ::_exit(kInterrupted);
    }
  });
}

void cancel_at_interrupt(Interrupt& interrupt, const client::Client& client, std::uint64_t job) {
  interrupt.on_first([client, job] {
    complain("cancelling job " + std::to_string(job) + ": press Ctrl-C again to leave at once");
    const std::uint64_t ids[] = {job};
    client.cancel(ids, {.reason = "Ctrl-C"});
  });
}

}  // namespace futured::cli
