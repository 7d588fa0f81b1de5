#include "tests/bench/peers/connection.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>

namespace futured::bench {

namespace {
constexpr std::size_t kReadBytes = 64 * 1024;
}

void give_up(const std::string& why) {
  std::fprintf(stderr, "bench: %s\n", why.c_str());
  std::exit(1);
}

Connection::Connection(int port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int no_delay = 1;
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay);
  if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    give_up("cannot connect to port " + std::to_string(port));
  }
}

void Connection::flush() {
  for (std::size_t done = 0; done < outgoing_.size();) {
    const ssize_t written = ::write(socket_.get(), outgoing_.data() + done, outgoing_.size() - done);
    if (written <= 0) give_up("the peer closed the connection");
    done += static_cast<std::size_t>(written);
  }
  outgoing_.clear();
}

void Connection::fill(std::size_t count) {
  if (incoming_.size() - read_until_ >= count) return;
  incoming_.erase(0, read_until_);
  read_until_ = 0;
  while (incoming_.size() < count) {
    const std::size_t before = incoming_.size();
    incoming_.resize(before + kReadBytes);
    const ssize_t got = ::read(socket_.get(), incoming_.data() + before, kReadBytes);
    if (got <= 0) give_up("the peer closed the connection");
    incoming_.resize(before + static_cast<std::size_t>(got));
  }
}

std::string_view Connection::line() {
  for (;;) {
    const std::size_t end = incoming_.find("\r\n", read_until_);
    if (end != std::string::npos) {
      const std::string_view found(incoming_.data() + read_until_, end - read_until_);
      read_until_ = end + 2;
      return found;
    }
    fill(incoming_.size() - read_until_ + 1);
  }
}

std::string_view Connection::bytes(std::size_t count) {
  fill(count);
  const std::string_view found(incoming_.data() + read_until_, count);
  read_until_ += count;
  return found;
}

}  // namespace futured::bench
