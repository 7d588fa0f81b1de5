// A real zygote with workers in real channels; the test plays spawner and daemon.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "base/command.h"
#include "base/payload.h"
#include "tests/unit/channel/pair.h"
#include "worker/channel/packet.h"
#include "worker/channel/zygote.h"

namespace futured::runtime {

using channel::DoneStatus;
using channel::HostEnd;
using channel::RunRequest;
using channel::TestSlot;

constexpr int kDeadlineMs = 20'000;

// A DONE with everything that led up to it, owned.
struct Ended {
  DoneStatus status = DoneStatus::kWorkerError;
  std::string error_class;
  std::string message;
  bool no_retry = false;
  int exit_code = 0;
  int signal = 0;
  std::uint64_t cpu_ns = 0;
  std::uint64_t peak_rss_bytes = 0;
  Duration took{0};
  std::string result;
  std::vector<Fd> descriptors;
  std::map<std::uint32_t, std::string> emitted;  // by stream
  std::map<std::uint32_t, std::uint64_t> emitted_until;
  bool has_gap = false;
  std::uint64_t progress = 0;

  [[nodiscard]] std::vector<Part> parts() const {
    auto decoded = decode_parts(result);
    if (!decoded) ADD_FAILURE() << decoded.error().message;
    return decoded ? *decoded : std::vector<Part>();
  }
  [[nodiscard]] std::string part(std::size_t index) const {
    const auto all = parts();
    return index < all.size() ? std::string(all[index].bytes) : "(no such part)";
  }
};

// The daemon's side of one slot.
class Daemon {
 public:
  explicit Daemon(const TestSlot& slot) : host_(slot.host()), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    EXPECT_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, host_.wake_fd(), &event), 0);
  }

  void offer(const RunRequest& request) {
    ASSERT_TRUE(host_.offer(request));
    host_.publish();
  }
  void stop(const Fence& fence) {
    ASSERT_TRUE(host_.stop(fence, channel::StopReason::kCancel));
    host_.publish();
  }

  // The next response; false after the deadline.
  bool read(channel::Response& response) {
    for (;;) {
      switch (host_.read(response)) {
        case channel::Read::kResponse:
          return true;
        case channel::Read::kBroken:
          ADD_FAILURE() << host_.broken();
          return false;
        case channel::Read::kNothing:
          break;
      }
      host_.release(host_.cursor());
      if (!host_.arm()) continue;
      epoll_event event{};
      if (::epoll_wait(epoll_.get(), &event, 1, kDeadlineMs) <= 0) return false;
    }
  }

  Ended wait() {
    Ended ended;
    channel::Response response;
    while (read(response)) {
      if (const auto* emit = std::get_if<channel::Emit>(&response)) {
        std::uint64_t& next = ended.emitted_until[emit->stream];
        EXPECT_GE(emit->offset, next);
        ended.has_gap = ended.has_gap || emit->offset != next;
        next = emit->offset + emit->data.size();
        ended.emitted[emit->stream] += emit->data;
      } else if (const auto* progress = std::get_if<channel::Progress>(&response)) {
        ended.progress = progress->done;
      } else if (auto* done = std::get_if<channel::Done>(&response)) {
        ended.status = done->status;
        ended.error_class = done->error_class;
        ended.message = done->error_message;
        ended.no_retry = done->no_retry;
        ended.exit_code = done->exit_code;
        ended.signal = done->signal;
        ended.cpu_ns = done->cpu_ns;
        ended.peak_rss_bytes = done->peak_rss_bytes;
        ended.took = done->finished_at - done->started_at;
        ended.result = done->result;
        for (Fd& descriptor : done->descriptors) ended.descriptors.push_back(std::move(descriptor));
        host_.release(host_.cursor());
        return ended;
      }
    }
    ADD_FAILURE() << "no outcome within the deadline";
    return ended;
  }

  Ended run(const RunRequest& request) {
    offer(request);
    return wait();
  }

  HostEnd& host() { return host_; }

 private:
  HostEnd host_;
  Fd epoll_;
};

// futured-zygote in a process of its own.
class ZygoteProcess {
 public:
  explicit ZygoteProcess(std::vector<std::string> arguments) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    socket_ = Fd(ends[0]);
    const Fd theirs(ends[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    // Through a number that dup2 changes, since a dup2 onto itself would leave close-on-exec set.
    posix_spawn_file_actions_adddup2(&actions, theirs.get(), 100);
    posix_spawn_file_actions_adddup2(&actions, 100, zygote::kControlFd);
    posix_spawn_file_actions_addclose(&actions, 100);
    arguments.insert(arguments.begin(), FUTURED_ZYGOTE);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    EXPECT_EQ(::posix_spawn(&pid_, FUTURED_ZYGOTE, &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~ZygoteProcess() {
    socket_.reset();
    (void)wait_for_exit();
  }

  // One packet, whose header says what it is; empty when the zygote has hung up or the deadline is over.
  std::string receive(std::vector<Fd>* descriptors = nullptr) {
    pollfd readable{socket_.get(), POLLIN, 0};
    if (::poll(&readable, 1, kDeadlineMs) <= 0) return {};
    std::string buffer(4096, '\0');
    auto packet = channel::receive_packet(socket_.get(), buffer);
    if (!packet || !packet->has_value()) return {};
    buffer.resize((*packet)->bytes);
    if (descriptors != nullptr) *descriptors = std::move((*packet)->descriptors);
    return buffer;
  }
  template <typename Message>
  Message receive_as(std::vector<Fd>* descriptors = nullptr) {
    Message message{};
    const std::string bytes = receive(descriptors);
    EXPECT_EQ(bytes.size(), sizeof message);
    std::memcpy(&message, bytes.data(), std::min(bytes.size(), sizeof message));
    return message;
  }

  // Reads TASKs until READY; false when it failed, with failure() then saying why.
  bool become_ready() {
    for (;;) {
      const std::string bytes = receive();
      zygote::MessageHeader header{};
      if (bytes.size() < sizeof header) return false;
      std::memcpy(&header, bytes.data(), sizeof header);
      switch (static_cast<zygote::MessageType>(header.type)) {
        case zygote::MessageType::kTask: {
          zygote::Task task;
          std::memcpy(&task, bytes.data(), sizeof task);
          EXPECT_EQ(task.index, tasks.size());
          tasks[task.name] = task.index;
          versions[task.name] = task.version;
          break;
        }
        case zygote::MessageType::kReady:
          std::memcpy(&ready, bytes.data(), sizeof ready);
          return true;
        case zygote::MessageType::kFailed:
          failure = reinterpret_cast<const zygote::Failed*>(bytes.data())->message;
          return false;
        case zygote::MessageType::kForked:
        case zygote::MessageType::kForkFailed:
        case zygote::MessageType::kExited:
        case zygote::MessageType::kFork:
        case zygote::MessageType::kReload:
          return false;
      }
    }
  }

  // Forks a worker into the slot and lets it begin.
  pid_t fork_worker(TestSlot& slot, bool go = true) {
    const zygote::Fork request{{zygote::kVersion, static_cast<std::uint32_t>(zygote::MessageType::kFork)}, 1, 1, 1, 0};
    const int descriptors[] = {slot.memory.get(), slot.to_worker.get(), slot.to_host.get(), slot.worker_socket.get(),
                               slot.lifeline_read.get()};
    EXPECT_EQ(channel::send_packet(socket_.get(), channel::bytes_of(request), descriptors), channel::Sent::kYes);
    std::vector<Fd> received;
    const auto forked = receive_as<zygote::Forked>(&received);
    EXPECT_EQ(forked.header.type, static_cast<std::uint32_t>(zygote::MessageType::kForked));
    EXPECT_EQ(received.size(), 1u);
    EXPECT_EQ(forked.threads, 1u);
    // As the spawner does: ours must go, or nobody sees the other end close.
    slot.worker_socket.reset();
    slot.lifeline_read.reset();
    if (go) {
      EXPECT_EQ(::write(slot.lifeline_write.get(), &zygote::kGo, 1), 1);
    }
    return forked.pid;
  }

  int wait_for_exit() {
    if (pid_ < 0) return status_;
    while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status_;
  }
  void send(std::string_view packet) { EXPECT_EQ(channel::send_packet(socket_.get(), packet), channel::Sent::kYes); }
  void hang_up() { socket_.reset(); }

  std::map<std::string, std::uint32_t> tasks;
  std::map<std::string, std::string> versions;
  std::string failure;
  zygote::Ready ready{};

 private:
  Fd socket_;
  pid_t pid_ = -1;
  int status_ = 0;
};

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = "/tmp/futured-test-XXXXXX";
    path = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
  std::string path;
};

inline std::string json(std::string_view value) {
  std::string encoded;
  append_part(encoded, {.content_type = "application/json", .bytes = value});
  return encoded;
}
inline std::string text(std::string_view value) {
  std::string encoded;
  append_part(encoded, {.content_type = "text/plain", .bytes = value});
  return encoded;
}
inline std::string bytes(std::string_view value) {
  std::string encoded;
  append_part(encoded, {.bytes = value});
  return encoded;
}

}  // namespace futured::runtime
