#include "daemon/rpc/callers.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>

#include "base/limits.h"

namespace futured::rpc {

namespace {

constexpr int kFirstMax = 16 * 1024;
constexpr int kUsersMin = 8;
constexpr int kPerUserMin = 4;
constexpr rlim_t kDescriptorsWanted = 1 << 20;

}  // namespace

Callers::Layout Callers::Layout::of(int descriptors_max) {
  Layout layout;
  layout.first = std::min(descriptors_max / 2, kFirstMax);
  const int room = descriptors_max - layout.first;
  layout.per_user = std::clamp(room / kUsersMin, kPerUserMin, static_cast<int>(limits::kConnectionsPerUserMax));
  layout.users = room / layout.per_user;
  return layout;
}

Result<Fd> Callers::seat(Fd connection, std::uint32_t uid) {
  std::size_t row = 0;
  {
    const std::lock_guard lock(mutex_);
    row = static_cast<std::size_t>(std::ranges::find(users_, uid) - users_.begin());
    if (row == users_.size()) {
      if (row == static_cast<std::size_t>(layout_.users)) {
        return Error{ErrorCode::kResourceExhausted,
                     "user " + std::to_string(uid) + " is one more than the " + std::to_string(layout_.users) +
                         " that can be told apart; raise the daemon's limit of open files"};
      }
      users_.push_back(uid);
    }
  }
  const int first = layout_.first + static_cast<int>(row) * layout_.per_user;
  Fd seated(fcntl(connection.get(), F_DUPFD_CLOEXEC, first));
  if (!seated.is_open() || seated.get() >= first + layout_.per_user) {
    return Error{ErrorCode::kResourceExhausted, "user " + std::to_string(uid) + " has " +
                                                    std::to_string(layout_.per_user) + " connections open already"};
  }
  return seated;
}

Principal Callers::who(std::string_view peer) const {
  constexpr std::string_view kDescriptor = "fd:";
  if (!peer.starts_with(kDescriptor)) {
    return {peer.starts_with("ipv4:") || peer.starts_with("ipv6:") ? tcp_uid_ : kUnknownUid};
  }
  int number = 0;
  const auto [end, error] = std::from_chars(peer.data() + kDescriptor.size(), peer.data() + peer.size(), number);
  if (error != std::errc() || end != peer.data() + peer.size() || number < layout_.first) return {kUnknownUid};
  const auto row = static_cast<std::size_t>((number - layout_.first) / layout_.per_user);
  const std::lock_guard lock(mutex_);
  return {row < users_.size() ? users_[row] : kUnknownUid};
}

int raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  const rlim_t wanted = std::min(limit.rlim_max, kDescriptorsWanted);
  if (limit.rlim_cur < wanted) {
    rlimit raised{wanted, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit.rlim_cur = wanted;
  }
  return static_cast<int>(std::min(limit.rlim_cur, kDescriptorsWanted));
}

}  // namespace futured::rpc
