// A bare daemon's side of the spawner's protocol, and a spawner process to speak it with.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "base/time.h"
#include "worker/channel/host_end.h"
#include "worker/channel/packet.h"
#include "worker/spawner/wire.h"

extern char** environ;

namespace futured::spawner {

class TempFolder {
 public:
  TempFolder() {
    char name[] = "/tmp/futured-test-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Alive and not just a zombie.
inline bool is_alive(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(file, text)) return false;
  return text.substr(text.rfind(')') + 2, 1) != "Z";
}

inline std::vector<pid_t> pids_in(std::string_view text) {
  std::vector<pid_t> pids;
  std::istringstream words{std::string(text)};
  for (pid_t pid; words >> pid;) pids.push_back(pid);
  return pids;
}

// A spawner that is no child's business of anyone else; killed at the end if it still runs.
class SpawnerProcess {
 public:
  explicit SpawnerProcess(const std::string& state, std::vector<std::string> more = {}) {
    std::vector<std::string> words{FUTURED_SPAWNER, "--state", state};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    if (::posix_spawn(&pid_, FUTURED_SPAWNER, nullptr, nullptr, argv.data(), environ) != 0) std::abort();
  }
  SpawnerProcess(const SpawnerProcess&) = delete;
  SpawnerProcess& operator=(const SpawnerProcess&) = delete;
  ~SpawnerProcess() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGTERM);
    (void)wait();
  }
  // Its wait status.
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return status;
  }
  void crash() {
    ::kill(pid_, SIGKILL);
    (void)wait();
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

struct Heard {
  std::string bytes;
  std::vector<Fd> descriptors;
  [[nodiscard]] MessageType type() const {
    MessageHeader header;
    std::memcpy(&header, bytes.data(), sizeof header);
    return static_cast<MessageType>(header.type);
  }
  template <typename Message>
  [[nodiscard]] Message as() const {
    Message message{};
    EXPECT_EQ(bytes.size(), sizeof message);
    std::memcpy(static_cast<void*>(&message), bytes.data(), std::min(bytes.size(), sizeof message));
    return message;
  }
};

class Client {
 public:
  static constexpr int kPatienceMs = 20'000;

  Client(const std::string& state, std::uint32_t epoch) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, (state + "/spawner.sock").c_str());
    const Instant until = monotonic_now() + std::chrono::milliseconds(kPatienceMs);
    do {
      socket_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
      if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) break;
      ::usleep(2'000);  // a spawner that starts has no other sign than its socket
    } while (monotonic_now() < until);
    Hello hello{};
    hello.epoch = epoch;
    send(hello, MessageType::kHello);
  }

  template <typename Message>
  void send(Message message, MessageType type, std::string_view after = {}) {
    message.header = {kVersion, static_cast<std::uint32_t>(type)};
    std::string bytes(channel::bytes_of(message));
    bytes += after;
    EXPECT_EQ(channel::send_packet(socket_.get(), bytes), channel::Sent::kYes);
  }

  // The next packet; nothing at end of file or when patience ends.
  std::optional<Heard> hear() {
    if (!kept_.empty()) {
      Heard heard = std::move(kept_.front());
      kept_.pop_front();
      return heard;
    }
    return receive();
  }

  // The next packet of this type; others are kept for hear().
  std::optional<Heard> expect(MessageType type) {
    for (auto at = kept_.begin(); at != kept_.end(); ++at) {
      if (at->type() != type) continue;
      Heard heard = std::move(*at);
      kept_.erase(at);
      return heard;
    }
    while (auto heard = receive()) {
      if (heard->type() == type) return heard;
      kept_.push_back(std::move(*heard));
    }
    ADD_FAILURE() << "message type " << static_cast<int>(type) << " did not come";
    return {};
  }

  // Hears everything up to the end of the connection.
  [[nodiscard]] bool closes() {
    while (hear()) {
    }
    pollfd wait{socket_.get(), POLLIN, 0};
    return ::poll(&wait, 1, 0) == 1;
  }

  void start_pool(std::uint32_t pool, std::vector<std::string> argv, std::uint64_t memory_bytes_max = 0,
                  std::uint32_t processes_max = 0) {
    StartPool message{};
    message.pool = pool;
    message.memory_bytes_max = memory_bytes_max;
    message.processes_max = processes_max;
    message.argv_count = static_cast<std::uint32_t>(argv.size());
    std::strcpy(message.name, "test");
    std::string strings;
    for (const std::string& word : argv) strings += word + '\0';
    message.strings_bytes = static_cast<std::uint32_t>(strings.size());
    send(message, MessageType::kStartPool, strings);
  }
  void start_worker(std::uint32_t pool, std::uint32_t slot, std::uint64_t memory_bytes_max = 0) {
    StartWorker message{};
    message.runs_at_once = 1;
    message.memory_bytes_max = memory_bytes_max;
    message.pool = pool;
    message.slot = message.first = slot;
    message.count = 1;
    send(message, MessageType::kStartWorker);
  }
  void kill(std::uint32_t slot, std::uint32_t generation, std::uint32_t grace_ms = 0) {
    Kill message{};
    message.slot = slot;
    message.generation = generation;
    message.grace_ms = grace_ms;
    send(message, MessageType::kKill);
  }
  [[nodiscard]] int socket() const { return socket_.get(); }

 private:
  std::optional<Heard> receive() {
    pollfd wait{socket_.get(), POLLIN, 0};
    if (::poll(&wait, 1, kPatienceMs) != 1) return {};
    std::vector<char> buffer(kPacketBytesMax);
    auto packet = channel::receive_packet(socket_.get(), buffer);
    if (!packet || !packet->has_value() || (*packet)->bytes == 0) return {};
    return Heard{std::string(buffer.data(), (*packet)->bytes), std::move((*packet)->descriptors)};
  }

  Fd socket_;
  std::deque<Heard> kept_;
};

inline channel::HostEnd attach(Heard& started) {
  auto end = channel::HostEnd::attach({std::move(started.descriptors[0]), std::move(started.descriptors[1]),
                                       std::move(started.descriptors[2]), std::move(started.descriptors[3])});
  if (!end) ADD_FAILURE() << end.error().message;
  return std::move(*end);
}

inline Fence fence(std::uint64_t job) { return {JobId{job}, Epoch{1}, 1}; }

inline void run(channel::HostEnd& host, std::uint64_t job, std::string_view payload) {
  channel::RunRequest request;
  request.fence = fence(job);
  request.payload = payload;
  EXPECT_TRUE(host.offer(request));
  host.publish();
}

// The next response, waited for by the channel's own wake-up.
inline channel::Response next_response(channel::HostEnd& host) {
  channel::Response response;
  while (host.read(response) != channel::Read::kResponse) {
    if (host.is_broken()) {
      ADD_FAILURE() << host.broken();
      break;
    }
    if (!host.arm()) continue;
    pollfd wait{host.wake_fd(), POLLIN, 0};
    if (::poll(&wait, 1, Client::kPatienceMs) != 1) {
      ADD_FAILURE() << "no response came";
      break;
    }
    std::uint64_t count;
    (void)!::read(host.wake_fd(), &count, sizeof count);
  }
  return response;
}

inline std::string result_of(channel::HostEnd& host) {
  const channel::Response response = next_response(host);
  const auto* done = std::get_if<channel::Done>(&response);
  return done != nullptr ? std::string(done->result) : "not a DONE";
}

}  // namespace futured::spawner
