#include "client/cli/interrupt.h"

#include <pthread.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <ctime>
#include <exception>
#include <utility>

#include "client/cli/cli.h"

namespace futured::cli {

namespace {

constexpr Duration kSameSignal = std::chrono::milliseconds(300);

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
    const Instant now = monotonic_now();
    // Who signals a process and its group is not asking twice.
    if (interrupted_.exchange(true)) {
      if (now - interrupted_at_ < kSameSignal) continue;
      ::_exit(kInterrupted);
    }
    interrupted_at_ = now;
    if (handle_first()) continue;
    const timespec grace = {0, std::chrono::nanoseconds(kAcceptanceGrace).count()};
    const int second = ::sigtimedwait(&signals, nullptr, &grace);
    if (stopping_) return;
    if (second == SIGINT || second == SIGTERM) ::_exit(kInterrupted);
    const std::lock_guard guard(mutex_);
    if (held_back_) leave_unaccepted();
  }
}

// False: it is held back.
bool Interrupt::handle_first() {
  const std::lock_guard guard(mutex_);
  held_back_ = holding_;
  if (held_back_) return false;
  if (!action_) ::_exit(kInterrupted);
  // Not here: a second signal must be heard while the action waits for the daemon.
  start(std::exchange(action_, nullptr));
  return true;
}

void Interrupt::start(std::function<void()> action) {
  action_thread_ = std::thread([action = std::move(action)] {
    try {
      action();
    } catch (const client::Unavailable& error) {
      complain(error.what());
      ::_exit(kUnreachable);
    } catch (const std::exception& error) {
      complain(error.what());
      ::_exit(kInterrupted);
    }
  });
}

void leave_unaccepted() {
  complain("the job may still be accepted: fut ls --mine shows it, fut cancel ID ends it");
  ::_exit(kInterrupted);
}

void cancel_at_interrupt(Interrupt& interrupt, const client::Client& client, std::uint64_t job) {
  interrupt.on_first([client, job] {
    complain("cancelling job " + std::to_string(job) + ": press Ctrl-C again to leave at once");
    cancel_job(client, job, {.reason = "Ctrl-C"});
  });
}

}  // namespace futured::cli
