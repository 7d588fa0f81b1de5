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

void Interrupt::on_first(std::function<void()> action) {
  const std::lock_guard guard(mutex_);
  if (action_thread_.joinable()) action_thread_.join();
  action_ = std::move(action);
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

}  // namespace futured::cli
