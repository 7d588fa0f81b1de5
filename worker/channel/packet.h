// One SEQPACKET message with its descriptors, sent or received whole.
#pragma once

#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace futured::channel {

inline constexpr std::size_t kPacketDescriptorsMax = 253;  // the kernel's SCM_MAX_FD

enum class Sent {
  kYes,
  kFull,  // the socket buffer, or the kernel's count of descriptors in flight: try again later
  kGone,  // the peer has closed, or the socket is no good
};

// Never blocks and never raises SIGPIPE.
[[nodiscard]] Sent send_packet(int socket, std::string_view bytes, std::span<const int> descriptors = {});

struct Packet {
  std::size_t bytes = 0;        // 0: end of file
  std::vector<Fd> descriptors;  // close-on-exec
};

// Receives into `buffer` without blocking; nothing when there is nothing. A packet that is cut, or carries control
// messages that were cut, is a fault: the peer does not speak our protocol. `peek` leaves it in the socket.
[[nodiscard]] Result<std::optional<Packet>> receive_packet(int socket, std::span<char> buffer, bool peek = false);

// The fixed part that a packet begins with. False: it is shorter.
template <typename Message>
[[nodiscard]] bool read_head(std::string_view bytes, Message& message) {
  if (bytes.size() < sizeof message) return false;
  std::memcpy(&message, bytes.data(), sizeof message);
  return true;
}

template <typename Message>
[[nodiscard]] std::string_view bytes_of(const Message& message) {
  return {reinterpret_cast<const char*>(&message), sizeof message};
}

}  // namespace futured::channel
