#include "segment/pass.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/limits.h"

namespace futured {

namespace {

constexpr std::size_t kControlBytes = CMSG_SPACE(limits::kDescriptorsPerMessageMax * sizeof(int));

void collect_descriptors(msghdr& header, std::vector<Fd>& descriptors) {
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr; control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int descriptor;
      std::memcpy(&descriptor, CMSG_DATA(control) + i * sizeof(int), sizeof descriptor);
      descriptors.emplace_back(descriptor);
    }
  }
}

}  // namespace

Status send_message(int socket, std::string_view bytes, std::span<const int> descriptors) {
  if (bytes.empty() || descriptors.size() > limits::kDescriptorsPerMessageMax) {
    return Error{ErrorCode::kInvalidArgument, "message is empty or has too many descriptors"};
  }
  iovec content{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[kControlBytes];
  msghdr header{};
  header.msg_iov = &content;
  header.msg_iovlen = 1;
  if (!descriptors.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    std::memset(control, 0, header.msg_controllen);
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket, &header, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    return Error{ErrorCode::kUnavailable, "socket has no room"};
  }
  if (sent < 0) return system_error("sendmsg");
  if (static_cast<std::size_t>(sent) != bytes.size()) return Error{ErrorCode::kInternal, "message was sent in part"};
  return {};
}

Result<Message> receive_message(int socket, std::size_t bytes_max) {
  Message message;
  message.bytes.resize(bytes_max);
  iovec content{message.bytes.data(), bytes_max};
  alignas(cmsghdr) char control[kControlBytes];
  msghdr header{};
  header.msg_iov = &content;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t received;
  do {
    received = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    return Error{ErrorCode::kUnavailable, "nothing to receive"};
  }
  if (received < 0) return system_error("recvmsg");
  // Even of a message that is refused the descriptors have arrived, and are closed with `message`.
  collect_descriptors(header, message.descriptors);
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return Error{ErrorCode::kInvalidArgument, "message is longer, or has more descriptors, than is allowed"};
  }
  if (received == 0) return Error{ErrorCode::kUnavailable, "peer closed the socket"};
  message.bytes.resize(static_cast<std::size_t>(received));
  return message;
}

}  // namespace futured
