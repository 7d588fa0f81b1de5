// ListeningSocket: a unix socket at a path, guarded by a lock file, so that no second daemon can take it over.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace futured::rpc {

// Held by whoever serves `<path>`: the lock on `<path>.lock`, given up with the descriptor. The file itself stays, for
// removing it would let two daemons hold locks on two files of one name.
class SocketLock {
 public:
  // kAlreadyExists: another daemon serves the socket. kInvalidArgument: the path is too long for a socket.
  [[nodiscard]] static Result<SocketLock> take(const std::string& path);

 private:
  explicit SocketLock(Fd file) : file_(std::move(file)) {}
  Fd file_;
};

// Removes its file when it goes.
class ListeningSocket {
 public:
  // Mode 0660. `type`: SOCK_STREAM or SOCK_SEQPACKET. Only with the lock held: what lies at the path is left over from
  // a daemon that was killed, and is replaced. Anything but a socket there is refused.
  [[nodiscard]] static Result<ListeningSocket> open(const SocketLock& lock, std::string path, int type);
  ListeningSocket(ListeningSocket&&) noexcept = default;
  ListeningSocket& operator=(ListeningSocket&&) = delete;
  ~ListeningSocket();

  [[nodiscard]] int fd() const { return socket_.get(); }  // non-blocking
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  ListeningSocket(std::string path, Fd socket) : path_(std::move(path)), socket_(std::move(socket)) {}
  std::string path_;
  Fd socket_;
};

struct AcceptedSocket {
  Fd socket;  // non-blocking, close-on-exec
  std::uint32_t uid = 0;
};

// kUnavailable: nobody waits.
[[nodiscard]] Result<AcceptedSocket> accept_from(int listening);

}  // namespace futured::rpc
