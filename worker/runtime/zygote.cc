#include "worker/runtime/zygote.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <unordered_map>

#include "base/result.h"
#include "worker/channel/packet.h"
#include "worker/runtime/confinement.h"
#include "worker/runtime/descendants.h"
#include "worker/runtime/proc_reader.h"
#include "worker/runtime/worker_process.h"
#include "worker/runtime/workplace.h"
#include "worker/sdk/registry.h"

namespace futured::runtime {

namespace {

using channel::Sent;

zygote::MessageHeader header_of(zygote::MessageType type) {
  return {zygote::kVersion, static_cast<std::uint32_t>(type)};
}

template <std::size_t N>
void copy_text(char (&field)[N], std::string_view text) {
  const std::size_t size = std::min(text.size(), N - 1);
  std::memcpy(field, text.data(), size);
  field[size] = '\0';
}

// Waits for room: the spawner may be busy while all tasks are told. False: it is gone.
template <typename Message>
bool tell(const Message& message, std::span<const int> descriptors = {}) {
  for (;;) {
    switch (channel::send_packet(zygote::kControlFd, channel::bytes_of(message), descriptors)) {
      case Sent::kYes:
        return true;
      case Sent::kGone:
        return false;
      case Sent::kFull: {
        pollfd room{zygote::kControlFd, POLLOUT, 0};
        (void)poll(&room, 1, 1000);
      }
    }
  }
}

zygote::Mode wire_mode(PoolMode mode) {
  switch (mode) {
    case PoolMode::kProcess:
      return zygote::Mode::kProcess;
    case PoolMode::kFresh:
      return zygote::Mode::kFresh;
    case PoolMode::kThread:
      return zygote::Mode::kThread;
    case PoolMode::kAsync:
      return zygote::Mode::kAsync;
    case PoolMode::kCommand:
      break;
  }
  return zygote::Mode::kCommand;
}

class Zygote {
 public:
  explicit Zygote(const ZygoteOptions& options) : options_(options) {}

  // Loads the tasks and tells of them. False: the spawner has been told why not, or is gone.
  bool open();
  int serve();

 private:
  struct Child {
    std::uint32_t slot;
    std::uint32_t generation;
  };

  [[nodiscard]] Status load();
  [[nodiscard]] Status watch_children();
  [[nodiscard]] bool fork_worker(const zygote::Fork& request, std::vector<Fd> descriptors);
  [[nodiscard]] bool is_sound(const zygote::Fork& request, const channel::Packet& packet) const;
  [[nodiscard]] bool reap();

  const ZygoteOptions& options_;
  Fd child_signals_;
  std::unordered_map<pid_t, Child> children_;
};

Status Zygote::load() {
  const PoolTerms& terms = options_.terms;
  if (const Status sound = check(terms); !sound) return sound;
  drop_environment(terms.env_allow);
  if (const Status possible = rehearse(options_); !possible) return possible;
  if (terms.mode == PoolMode::kCommand) return {};
  if (const Status built_in = sdk::registration_status(); !built_in) return built_in;
  for (const std::string& plugin : terms.plugins) {
    if (const Status loaded = sdk::load_plugin(plugin); !loaded) return loaded;
  }
  return {};
}

// Default everywhere, so that what an unusual parent ignored does not reach tasks and commands. SIGCHLD is read.
Status Zygote::watch_children() {
  // By system call, since libc's sigaction leaves out the two signals that it keeps for itself. All zeros is the
  // default.
  const std::array<std::uint64_t, 4> standard{};
  for (int number = 1; number < NSIG; ++number) (void)syscall(SYS_rt_sigaction, number, standard.data(), nullptr, 8);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  if (sigprocmask(SIG_SETMASK, &child, nullptr) != 0) return system_error("sigprocmask");
  child_signals_ = Fd(signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!child_signals_.is_open()) return system_error("signalfd");
  return {};
}

bool Zygote::open() {
  Status ready = watch_children();
  if (ready) ready = load();
  if (!ready) {
    zygote::Failed failed{header_of(zygote::MessageType::kFailed), {}};
    copy_text(failed.message, ready.error().message);
    (void)tell(failed);
    return false;
  }
  const auto tasks =
      options_.terms.mode == PoolMode::kCommand ? std::span<sdk::RegisteredTask>() : sdk::registered_tasks();
  for (std::uint32_t index = 0; index < tasks.size(); ++index) {
    zygote::Task task{header_of(zygote::MessageType::kTask), index, 0, {}, {}};
    copy_text(task.name, tasks[index].name);
    copy_text(task.version, tasks[index].version);
    if (!tell(task)) return false;
  }
  return tell(zygote::Ready{header_of(zygote::MessageType::kReady),
                            static_cast<std::uint32_t>(wire_mode(options_.terms.mode)),
                            static_cast<std::uint32_t>(tasks.size()), count_threads(), 0});
}

int Zygote::serve() {
  for (;;) {
    std::array<pollfd, 2> sources{{{zygote::kControlFd, POLLIN, 0}, {child_signals_.get(), POLLIN, 0}}};
    if (poll(sources.data(), sources.size(), -1) < 0) continue;
    if (sources[1].revents != 0 && !reap()) return 0;
    if (sources[0].revents == 0) continue;
    zygote::Fork request{};
    auto packet = channel::receive_packet(zygote::kControlFd, {reinterpret_cast<char*>(&request), sizeof request});
    if (!packet) return 1;
    if (!packet->has_value()) continue;
    if ((*packet)->bytes == 0) return 0;  // the spawner is gone
    if (!is_sound(request, **packet)) return 1;
    if (!fork_worker(request, std::move((*packet)->descriptors))) return 0;
  }
}

bool Zygote::is_sound(const zygote::Fork& request, const channel::Packet& packet) const {
  if (packet.bytes != sizeof request || request.header.version != zygote::kVersion) return false;
  if (request.header.type != static_cast<std::uint32_t>(zygote::MessageType::kFork)) return false;
  if (request.count < 1 || request.count > options_.terms.slots_per_worker()) return false;
  return packet.descriptors.size() == zygote::fork_descriptors(request.count);
}

bool Zygote::fork_worker(const zygote::Fork& request, std::vector<Fd> descriptors) {
  const std::uint32_t threads = count_threads();
  // libc's fork, so that the handlers that libraries registered with pthread_atfork run.
  const pid_t pid = fork();
  if (pid == 0) {
    close(zygote::kControlFd);
    child_signals_.reset();
    WorkerFds fds;
    for (std::size_t i = 0; i + zygote::kSlotDescriptors < descriptors.size(); i += zygote::kSlotDescriptors) {
      fds.channels.push_back({std::move(descriptors[i]), std::move(descriptors[i + 1]), std::move(descriptors[i + 2]),
                              std::move(descriptors[i + 3])});
    }
    fds.lifeline = std::move(descriptors.back());
    run_worker(options_, request.slot, std::move(fds));
  }
  if (pid < 0) {
    return tell(
        zygote::ForkFailed{header_of(zygote::MessageType::kForkFailed), request.slot, request.generation, errno, 0});
  }
  children_[pid] = {request.slot, request.generation};
  // Not reaped yet, so the pid is still this child's.
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.is_open()) {
    const int why = errno;
    kill(pid, SIGKILL);
    children_.erase(pid);
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return tell(
        zygote::ForkFailed{header_of(zygote::MessageType::kForkFailed), request.slot, request.generation, why, 0});
  }
  const int passed = pidfd.get();
  return tell(zygote::Forked{header_of(zygote::MessageType::kForked), request.slot, request.generation, pid, threads},
              {&passed, 1});
}

// False: the spawner is gone.
bool Zygote::reap() {
  signalfd_siginfo signals[16];
  while (read(child_signals_.get(), signals, sizeof signals) > 0) {
  }
  for (;;) {
    int status = 0;
    rusage usage{};
    const pid_t pid = wait4(-1, &status, WNOHANG, &usage);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return true;
    const auto child = children_.find(pid);
    if (child == children_.end()) continue;  // a plugin's own
    Usage used;
    used.add(usage);
    const zygote::Exited exited{header_of(zygote::MessageType::kExited),
                                child->second.slot,
                                child->second.generation,
                                pid,
                                status,
                                used.peak_rss_bytes,
                                used.cpu_ns};
    children_.erase(child);
    if (!tell(exited)) return false;
  }
}

}  // namespace

int run_zygote(const ZygoteOptions& options) {
  Zygote zygote(options);
  if (!zygote.open()) return 1;
  return zygote.serve();
}

}  // namespace futured::runtime
