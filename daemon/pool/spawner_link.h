// SpawnerLink: the daemon's end of the control socket. docs/formats/spawner.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/id.h"
#include "base/result.h"
#include "worker/spawner/wire.h"

namespace futured::pool {

struct SpawnerProgram {
  std::string path;  // empty: never start one
  std::string state_directory;
  std::int64_t idle_exit_s = 0;  // 0: it stays
};

// One message of the spawner with its descriptors.
struct Notice {
  spawner::MessageType type = spawner::MessageType::kReplayed;
  std::string bytes;  // the whole message, at least as long as its type wants
  std::vector<Fd> descriptors;

  template <typename Message>
  [[nodiscard]] const Message& as() const {
    return *reinterpret_cast<const Message*>(bytes.data());
  }
};

// An open socket to the spawner of the state directory, or nothing when none listens there.
[[nodiscard]] Result<std::optional<Fd>> connect_to_spawner(const std::string& state_directory);
// Waits while the socket is full: the spawner never waits for us.
[[nodiscard]] Status send_to_spawner(int socket, std::string_view bytes, std::span<const int> descriptors = {});

class SpawnerLink {
 public:
  // Connects to the spawner of the state directory; starts one, detached, when there is none. Says HELLO and waits for
  // the answer. A spawner that is dying is waited for, at most 2 s. Errors: it serves a higher epoch, speaks another
  // version, cannot be started (its log is named).
  [[nodiscard]] static Result<SpawnerLink> open(const SpawnerProgram& program, Epoch epoch);

  [[nodiscard]] const spawner::Welcome& welcome() const { return welcome_; }
  [[nodiscard]] int fd() const { return socket_.get(); }

  // The next message, or nothing when there is none now. An error: the spawner is gone, or talks nonsense.
  [[nodiscard]] Result<std::optional<Notice>> receive();
  // The same, waiting up to `timeout_ms` for it.
  [[nodiscard]] Result<std::optional<Notice>> wait(int timeout_ms);

  // Sends a fixed message, followed by `tail`, as send_to_spawner() does.
  template <typename Message>
  [[nodiscard]] Status send(Message message, spawner::MessageType type, std::string_view tail = {}) {
    message.header = {spawner::kVersion, static_cast<std::uint32_t>(type)};
    std::string bytes(reinterpret_cast<const char*>(&message), sizeof message);
    bytes.append(tail);
    return send_to_spawner(socket_.get(), bytes);
  }

 private:
  [[nodiscard]] static Result<SpawnerLink> try_open(const SpawnerProgram& program, Epoch epoch);

  Fd socket_;
  std::vector<char> buffer_;  // for one packet; every turn asks for one, and most find none
  spawner::Welcome welcome_{};
};

}  // namespace futured::pool
