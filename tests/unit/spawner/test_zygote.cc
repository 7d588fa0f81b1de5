// A small zygote for tests: the protocol of docs/formats/zygote.md, and workers that do what a run's payload says.
//
//   test_zygote [fail | mute | threads | crash | wrong]
// Payloads: echo TEXT; big N; exit N; signal N; sleep; ignore (SIGTERM); tree (leaves stubborn descendants, answers
// with their pids); leave (the same, then exits); garbage (writes nonsense over its header); emit TEXT; eat N (keeps N
// MiB in memory); eat_child N (in a child, and answers with the wait status once that is killed); breed N (starts up to
// N children, which stay, and answers with how many); call N (asks for N jobs, and answers with their numbers).
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <poll.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include "base/child.h"
#include "worker/channel/packet.h"
#include "worker/channel/worker_end.h"
#include "worker/channel/zygote.h"

namespace {

using namespace futured;          // NOLINT: a test program of one file
using namespace futured::zygote;  // NOLINT

template <typename Message>
Message make(MessageType type) {
  Message message{};
  message.header = {kVersion, static_cast<std::uint32_t>(type)};
  return message;
}

template <typename Message>
void send(const Message& message, std::span<const int> descriptors = {}) {
  if (channel::send_packet(kControlFd, channel::bytes_of(message), descriptors) != channel::Sent::kYes) std::_Exit(1);
}

// A process that nothing but SIGKILL ends, in a session of its own, forked twice; says its pid on `out`.
void leave_daemon(int out) {
  if (::fork() != 0) return;
  ::setsid();
  if (::fork() != 0) std::_Exit(0);
  ::signal(SIGTERM, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  const pid_t pid = ::getpid();
  (void)!::write(out, &pid, sizeof pid);
  for (;;) ::pause();
}

std::string make_tree() {
  int pipes[2];
  if (::pipe2(pipes, O_CLOEXEC) != 0) std::_Exit(1);
  constexpr int kDaemons = 3;
  for (int i = 0; i < kDaemons; ++i) leave_daemon(pipes[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) ::pause();
  }
  std::string pids = std::to_string(child);
  for (int i = 0; i < kDaemons; ++i) {
    pid_t pid = 0;
    if (::read(pipes[0], &pid, sizeof pid) != ssize_t{sizeof pid}) std::_Exit(1);
    pids += " " + std::to_string(pid);
  }
  return pids;
}

// Page by page, so that it is in memory, and never more than asked for.
void eat(const std::string& mib) {
  const std::size_t bytes = std::strtoul(mib.c_str(), nullptr, 10) << 20;
  volatile char* const memory = new char[bytes];
  for (std::size_t at = 0; at < bytes; at += 4096) memory[at] = 1;
}

std::string eat_in_child(const std::string& mib) {
  const pid_t child = ::fork();
  if (child == 0) {
    eat(mib);
    for (;;) ::pause();
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return std::to_string(status);
}

std::string breed(const std::string& most) {
  int bred = 0;
  for (int left = std::atoi(most.c_str()); left > 0; --left) {
    const pid_t child = ::fork();
    if (child < 0) break;
    if (child == 0) {
      for (;;) ::pause();
    }
    ++bred;
  }
  return std::to_string(bred);
}

struct Raw {
  int memory;
  int to_host;
};

void work(channel::WorkerEnd& end, channel::Run& run, const Raw& raw) {
  const std::string text(run.payload);
  const std::string word = text.substr(0, text.find(' '));
  const std::string rest = text.size() > word.size() ? text.substr(word.size() + 1) : "";
  std::string result = rest;
  if (word == "big") result.assign(std::strtoul(rest.c_str(), nullptr, 10), 'b');
  if (word == "exit") std::_Exit(std::atoi(rest.c_str()));
  if (word == "signal") ::raise(std::atoi(rest.c_str()));
  if (word == "sleep") {
    for (;;) ::pause();
  }
  if (word == "ignore") {
    ::signal(SIGTERM, SIG_IGN);
    for (;;) ::pause();
  }
  if (word == "tree") result = make_tree();
  if (word == "eat") eat(rest);
  if (word == "eat_child") result = eat_in_child(rest);
  if (word == "breed") result = breed(rest);
  if (word == "emit") (void)end.try_emit(run.fence, 1, 0, rest);
  if (word == "leave") {
    (void)end.try_emit(run.fence, 1, 0, make_tree());
    std::_Exit(0);
  }
  if (word == "garbage") {
    const std::string junk(4096, '\xa5');
    (void)!::pwrite(raw.memory, junk.data(), junk.size(), offsetof(channel::Header, response_published));
    (void)::eventfd_write(raw.to_host, 1);
    for (;;) ::pause();
  }
  if (word == "untake") {  // when it is asked to stop, so that the daemon has seen the run taken
    while (!end.stop_requested(run.fence)) ::usleep(1'000);
    const auto offered = static_cast<std::uint32_t>(channel::RunState::kOffered);
    (void)!::pwrite(raw.memory, &offered, sizeof offered, channel::kHeaderBytes + offsetof(channel::RunPlace, state));
    (void)end.try_emit(run.fence, 1, 0, "untaken");
    for (;;) ::pause();
  }
  if (word == "call") {  // as many times as it says; the numbers of the jobs that it was told
    const int calls = std::atoi(rest.c_str());
    result.clear();
    for (int number = 1; number <= calls; ++number) {
      const channel::CallId id{run.fence, static_cast<std::uint64_t>(number)};
      if (!end.call(id, encode_child({.task = "child"}), std::chrono::seconds(20))) std::_Exit(3);
      std::optional<channel::Reply> reply;
      while (!(reply = end.reply(run, id.number))) ::usleep(1'000);
      result += std::to_string(reply->job.value) + " ";
    }
  }
  channel::Outcome outcome;
  outcome.result = result;
  end.done(run, outcome);
}

[[noreturn]] void be_worker(std::vector<Fd> descriptors) {
  ::close(kControlFd);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  char go = 0;
  if (::read(descriptors[4].get(), &go, 1) != 1) std::_Exit(0);
  const Raw raw{descriptors[0].get(), descriptors[2].get()};
  auto end = channel::WorkerEnd::attach(
      {std::move(descriptors[0]), std::move(descriptors[1]), std::move(descriptors[2]), std::move(descriptors[3])},
      std::move(descriptors[4]));
  if (!end) std::_Exit(2);
  for (channel::Run run; end->next(run) == channel::Intake::kRun;) {
    if (end->take(run) == channel::Take::kTaken) work(*end, run, raw);
  }
  std::_Exit(0);
}

struct Child {
  std::uint32_t slot;
  std::uint32_t generation;
};

void fork_worker(const Fork& message, std::vector<Fd> descriptors, std::map<pid_t, Child>& children) {
  const pid_t pid = ::fork();
  if (pid == 0) be_worker(std::move(descriptors));
  if (pid < 0) {
    auto failed = make<ForkFailed>(MessageType::kForkFailed);
    failed.slot = message.slot;
    failed.generation = message.generation;
    failed.error_number = errno;
    return send(failed);
  }
  children[pid] = {message.slot, message.generation};
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  auto forked = make<Forked>(MessageType::kForked);
  forked.slot = message.slot;
  forked.generation = message.generation;
  forked.pid = pid;
  forked.threads = 1;
  const std::array<int, 1> sent{pidfd.get()};
  send(forked, sent);
}

void reap(std::map<pid_t, Child>& children) {
  int status = 0;
  rusage usage{};
  for (pid_t pid; (pid = ::wait4(-1, &status, WNOHANG, &usage)) > 0;) {
    const auto child = children.find(pid);
    if (child == children.end()) continue;
    auto exited = make<Exited>(MessageType::kExited);
    exited.slot = child->second.slot;
    exited.generation = child->second.generation;
    exited.pid = pid;
    exited.wait_status = status;
    exited.peak_rss_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
    send(exited);
    children.erase(child);
  }
}

void be_ready(const std::string& how) {
  for (std::uint32_t i = 0; i < 2; ++i) {
    auto task = make<Task>(MessageType::kTask);
    task.index = i;
    std::strcpy(task.name, i == 0 ? "test.first" : "test.second");
    std::strcpy(task.version, "1");
    send(task);
  }
  auto ready = make<Ready>(MessageType::kReady);
  ready.mode = static_cast<std::uint32_t>(Mode::kProcess);
  ready.task_count = how == "wrong" ? 7 : 2;
  ready.threads = how == "threads" ? 2 : 1;
  send(ready);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string how = argc > 1 ? argv[1] : "";
  if (how == "fail") {
    auto failed = make<Failed>(MessageType::kFailed);
    std::strcpy(failed.message, "no such plugin");
    send(failed);
    return 1;
  }
  if (how == "crash") std::abort();
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  const Fd deaths(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  be_ready(how);
  std::map<pid_t, Child> children;
  for (;;) {
    std::array<pollfd, 2> waits{pollfd{kControlFd, POLLIN, 0}, pollfd{deaths.get(), POLLIN, 0}};
    if (::poll(waits.data(), waits.size(), -1) < 0) continue;
    if (waits[1].revents != 0) {
      signalfd_siginfo info;
      while (::read(deaths.get(), &info, sizeof info) > 0) {
      }
      reap(children);
    }
    if (waits[0].revents == 0) continue;
    std::array<char, 256> buffer;
    auto packet = channel::receive_packet(kControlFd, buffer);
    if (packet && !packet->has_value()) continue;
    if (!packet || (*packet)->bytes != sizeof(Fork)) return 0;
    Fork message;
    std::memcpy(&message, buffer.data(), sizeof message);
    fork_worker(message, std::move((*packet)->descriptors), children);
  }
}
