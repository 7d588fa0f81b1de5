#include "worker/spawner/connection.h"

#include <fcntl.h>

namespace futured::spawner {

bool Connection::send(std::string_view bytes, std::span<const int> descriptors) {
  if (queue_.empty()) {
    switch (channel::send_packet(socket_.get(), bytes, descriptors)) {
      case channel::Sent::kYes:
        return true;
      case channel::Sent::kGone:
        return false;
      case channel::Sent::kFull:
        break;
    }
  }
  if (queue_.size() >= kQueuedMax) return false;
  Queued queued{std::string(bytes), {}};
  for (const int descriptor : descriptors) {
    queued.descriptors.emplace_back(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
    if (!queued.descriptors.back().is_open()) return false;
  }
  queue_.push_back(std::move(queued));
  return true;
}

bool Connection::flush() {
  while (!queue_.empty()) {
    std::vector<int> descriptors;
    for (const Fd& descriptor : queue_.front().descriptors) descriptors.push_back(descriptor.get());
    const channel::Sent sent = channel::send_packet(socket_.get(), queue_.front().bytes, descriptors);
    if (sent == channel::Sent::kFull) return true;
    if (sent == channel::Sent::kGone) return false;
    queue_.pop_front();
  }
  return true;
}

}  // namespace futured::spawner
