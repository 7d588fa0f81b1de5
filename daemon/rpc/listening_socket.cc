#include "daemon/rpc/listening_socket.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "base/limits.h"

namespace futured::rpc {

namespace {

constexpr mode_t kMode = 0660;

Status check_length(const std::string& path) {
  if (path.empty() || path.size() > limits::kSocketPathBytesMax) {
    return Error{ErrorCode::kInvalidArgument, "socket path has " + std::to_string(path.size()) +
                                                  " bytes, and a unix socket takes 1 to " +
                                                  std::to_string(limits::kSocketPathBytesMax) + ": " + path};
  }
  return {};
}

Status remove_leftover(const std::string& path) {
  struct stat there {};
  if (lstat(path.c_str(), &there) != 0) return errno == ENOENT ? Status() : system_error(path);
  if (!S_ISSOCK(there.st_mode)) {
    return Error{ErrorCode::kFailedPrecondition, path + " exists and is no socket; remove it or choose another path"};
  }
  return unlink(path.c_str()) == 0 ? Status() : system_error("cannot remove " + path);
}

}  // namespace

Result<SocketLock> SocketLock::take(const std::string& path) {
  if (const Status short_enough = check_length(path); !short_enough.ok()) return short_enough.error();
  const std::string name = path + ".lock";
  Fd file(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.is_open()) return system_error("cannot open " + name);
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return system_error("cannot lock " + name);
    return Error{ErrorCode::kAlreadyExists, "another daemon serves " + path};
  }
  return SocketLock(std::move(file));
}

Result<ListeningSocket> ListeningSocket::open(const SocketLock&, std::string path, int type) {
  if (const Status short_enough = check_length(path); !short_enough.ok()) return short_enough.error();
  if (const Status removed = remove_leftover(path); !removed.ok()) return removed.error();
  Fd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open()) return system_error("socket");
  // The file takes the socket's own mode, less the umask: at no moment may it be opened by more than it should.
  if (fchmod(socket.get(), kMode) != 0) return system_error("fchmod of a socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return system_error("cannot make the socket " + path);
  }
  ListeningSocket listening(std::move(path), std::move(socket));
  if (chmod(listening.path().c_str(), kMode) != 0) return system_error("chmod " + listening.path());
  if (listen(listening.fd(), SOMAXCONN) != 0) return system_error("listen at " + listening.path());
  return listening;
}

ListeningSocket::~ListeningSocket() {
  if (socket_.is_open()) unlink(path_.c_str());
}

Result<AcceptedSocket> accept_from(int listening) {
  AcceptedSocket accepted{Fd(accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)), 0};
  if (!accepted.socket.is_open()) {
    if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR) return Error{ErrorCode::kUnavailable, "nobody"};
    return system_error("accept");
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(accepted.socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return system_error("SO_PEERCRED");
  }
  accepted.uid = peer.uid;
  return accepted;
}

}  // namespace futured::rpc
