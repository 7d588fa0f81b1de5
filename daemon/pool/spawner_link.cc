#include "daemon/pool/spawner_link.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "worker/channel/packet.h"

namespace futured::pool {

namespace {

constexpr int kAnswerWithinMs = 10'000;
// A spawner that is just dying may still hold its socket or its lock.
constexpr int kOpenTries = 20;
constexpr auto kOpenAgain = std::chrono::milliseconds(100);

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() > limits::kSocketPathBytesMax) {
    return Error{ErrorCode::kInvalidArgument, "socket path " + path + " is longer than " +
                                                  std::to_string(limits::kSocketPathBytesMax) +
                                                  " bytes: choose a shorter state directory"};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// The socket on which a starting spawner says that it is ready.
Result<Fd> ready_socket(const std::string& path) {
  const auto address = address_of(path);
  if (!address.ok()) return address.error();
  ::unlink(path.c_str());
  Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open() || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return system_error("binding " + path);
  }
  return socket;
}

class SpawnAttributes {
 public:
  explicit SpawnAttributes(const std::string& log) {
    posix_spawnattr_init(&attributes_);
    posix_spawn_file_actions_init(&actions_);
    // In a session of its own: a Ctrl-C meant for the daemon does not reach it, nor the workers. No signal is blocked.
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions_, 1, 2);
  }
  ~SpawnAttributes() {
    posix_spawnattr_destroy(&attributes_);
    posix_spawn_file_actions_destroy(&actions_);
  }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;

  posix_spawnattr_t attributes_;
  posix_spawn_file_actions_t actions_;
};

Status start(const SpawnerProgram& program) {
  const std::string ready_path = program.state_directory + "/spawner.ready";
  const std::string log = program.state_directory + "/spawner.log";
  const auto ready = ready_socket(ready_path);
  if (!ready.ok()) return ready.error();

  std::vector<std::string> words{program.path, "--state", program.state_directory, "--idle-exit",
                                 std::to_string(program.idle_exit_s)};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::string notify = "NOTIFY_SOCKET=" + ready_path;
  std::vector<char*> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (std::strncmp(*entry, "NOTIFY_SOCKET=", 14) != 0) environment.push_back(*entry);
  }
  environment.push_back(notify.data());
  environment.push_back(nullptr);

  pid_t pid = 0;
  const SpawnAttributes how(log);
  const int failed =
      posix_spawn(&pid, program.path.c_str(), &how.actions_, &how.attributes_, argv.data(), environment.data());
  if (failed != 0) return system_error("starting the spawner " + program.path, failed);
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  pollfd events[2] = {{ready->get(), POLLIN, 0}, {pidfd.get(), POLLIN, 0}};
  const int got = ::poll(events, pidfd.is_open() ? 2 : 1, kAnswerWithinMs);
  ::unlink(ready_path.c_str());
  if (got > 0 && (events[0].revents & POLLIN) != 0) return {};
  if (got == 0) return Error{ErrorCode::kDeadlineExceeded, "the spawner did not become ready in time: see " + log};
  ::waitpid(pid, nullptr, WNOHANG);
  return Error{ErrorCode::kUnavailable, "the spawner ended while starting: see " + log};
}

std::size_t least_bytes(spawner::MessageType type) {
  switch (type) {
    case spawner::MessageType::kWelcome:
      return sizeof(spawner::Welcome);
    case spawner::MessageType::kRefused:
      return sizeof(spawner::Refused);
    case spawner::MessageType::kPool:
      return sizeof(spawner::Pool);
    case spawner::MessageType::kPoolTask:
      return sizeof(spawner::PoolTask);
    case spawner::MessageType::kPoolReady:
      return sizeof(spawner::PoolReady);
    case spawner::MessageType::kPoolFailed:
      return sizeof(spawner::PoolFailed);
    case spawner::MessageType::kPoolStopped:
      return sizeof(spawner::PoolStopped);
    case spawner::MessageType::kWorkerStarted:
      return sizeof(spawner::WorkerStarted);
    case spawner::MessageType::kWorkerEnded:
      return sizeof(spawner::WorkerEnded);
    case spawner::MessageType::kReplayed:
      return sizeof(spawner::Replayed);
    case spawner::MessageType::kHello:
    case spawner::MessageType::kStartPool:
    case spawner::MessageType::kStartWorker:
    case spawner::MessageType::kKill:
    case spawner::MessageType::kStopPool:
    case spawner::MessageType::kShutdown:
      break;
  }
  return SIZE_MAX;
}

}  // namespace

Result<std::optional<Fd>> connect_to_spawner(const std::string& state_directory) {
  const std::string path = state_directory + "/spawner.sock";
  const auto address = address_of(path);
  if (!address.ok()) return address.error();
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return system_error("socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) == 0) {
    return std::optional(std::move(socket));
  }
  if (errno == ENOENT || errno == ECONNREFUSED) return std::optional<Fd>();
  return system_error("connecting to the spawner at " + path);
}

Result<SpawnerLink> SpawnerLink::open(const SpawnerProgram& program, Epoch epoch) {
  for (int tries = 1;; ++tries) {
    auto link = try_open(program, epoch);
    // One that the service runs comes when it comes: the loop asks again, and does not stand still for it.
    if (link.ok() || link.error().code != ErrorCode::kUnavailable || program.path.empty() || tries == kOpenTries) {
      return link;
    }
    std::this_thread::sleep_for(kOpenAgain);
  }
}

Result<SpawnerLink> SpawnerLink::try_open(const SpawnerProgram& program, Epoch epoch) {
  const std::string path = program.state_directory + "/spawner.sock";
  auto socket = connect_to_spawner(program.state_directory);
  if (!socket.ok()) return socket.error();
  if (!socket->has_value()) {
    if (program.path.empty()) {
      return Error{ErrorCode::kUnavailable, "no spawner listens at " + path + ": start futured-spawner"};
    }
    if (const Status started = start(program); !started.ok()) return started.error();
    socket = connect_to_spawner(program.state_directory);
    if (!socket.ok()) return socket.error();
    if (!socket->has_value()) return Error{ErrorCode::kUnavailable, "the spawner does not listen at " + path};
  }
  SpawnerLink link;
  link.socket_ = std::move(**socket);
  spawner::Hello hello{};
  hello.epoch = epoch.value;
  hello.pid = ::getpid();
  if (const Status sent = link.send(hello, spawner::MessageType::kHello); !sent.ok()) return sent.error();
  auto answer = link.wait(kAnswerWithinMs);
  if (!answer.ok()) return answer.error();
  if (!answer->has_value()) return Error{ErrorCode::kUnavailable, "the spawner does not answer"};
  const Notice& notice = **answer;
  if (notice.type == spawner::MessageType::kRefused) {
    return Error{ErrorCode::kFailedPrecondition,
                 "the spawner refuses this daemon: " + std::string(notice.as<spawner::Refused>().message)};
  }
  if (notice.type != spawner::MessageType::kWelcome) {
    return Error{ErrorCode::kInternal, "the spawner's first message is no WELCOME"};
  }
  link.welcome_ = notice.as<spawner::Welcome>();
  return link;
}

Result<std::optional<Notice>> SpawnerLink::receive() {
  if (buffer_.empty()) buffer_.resize(spawner::kPacketBytesMax);
  auto packet = channel::receive_packet(socket_.get(), buffer_);
  if (!packet.ok()) return packet.error().in("spawner socket");
  if (!packet->has_value()) return std::optional<Notice>();
  const std::size_t bytes = (*packet)->bytes;
  if (bytes == 0) return Error{ErrorCode::kUnavailable, "the spawner has closed its connection"};
  spawner::MessageHeader header{};
  if (bytes >= sizeof header) std::memcpy(&header, buffer_.data(), sizeof header);
  if (header.version != spawner::kVersion || bytes < least_bytes(static_cast<spawner::MessageType>(header.type))) {
    return Error{ErrorCode::kInternal, "the spawner sent a message of version " + std::to_string(header.version) +
                                           ", type " + std::to_string(header.type) + ", " + std::to_string(bytes) +
                                           " bytes, which this daemon does not know"};
  }
  return std::optional(Notice{static_cast<spawner::MessageType>(header.type), std::string(buffer_.data(), bytes),
                              std::move((*packet)->descriptors)});
}

Result<std::optional<Notice>> SpawnerLink::wait(int timeout_ms) {
  pollfd event{socket_.get(), POLLIN, 0};
  if (::poll(&event, 1, timeout_ms) <= 0) return std::optional<Notice>();
  return receive();
}

Status send_to_spawner(int socket, std::string_view bytes, std::span<const int> descriptors) {
  for (;;) {
    switch (channel::send_packet(socket, bytes, descriptors)) {
      case channel::Sent::kYes:
        return {};
      case channel::Sent::kGone:
        return Error{ErrorCode::kUnavailable, "the spawner is gone"};
      case channel::Sent::kFull: {
        pollfd event{socket, POLLOUT, 0};
        if (::poll(&event, 1, kAnswerWithinMs) <= 0) {
          return Error{ErrorCode::kUnavailable, "the spawner takes no messages"};
        }
      }
    }
  }
}

}  // namespace futured::pool
