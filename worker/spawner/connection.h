// One daemon's connection to the spawner: packets out are queued when the socket is full, never waited for.
#pragma once

#include <cstddef>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "worker/channel/packet.h"

namespace futured::spawner {

class Connection {
 public:
  explicit Connection(Fd socket) : socket_(std::move(socket)) {}

  [[nodiscard]] int socket() const { return socket_.get(); }
  // Sends or queues; descriptors are duplicated when queued. False: the peer is gone, or reads too slowly to keep.
  [[nodiscard]] bool send(std::string_view bytes, std::span<const int> descriptors = {});
  // Sends what is queued. False as above.
  [[nodiscard]] bool flush();
  [[nodiscard]] bool is_waiting() const { return !queue_.empty(); }

  static constexpr std::size_t kQueuedMax = 16 * 1024;  // packets

 private:
  struct Queued {
    std::string bytes;
    std::vector<Fd> descriptors;
  };
  Fd socket_;
  std::deque<Queued> queue_;
};

}  // namespace futured::spawner
