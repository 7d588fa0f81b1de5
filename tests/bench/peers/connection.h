// Connection: a TCP connection to a peer on this machine, with buffered writes and reads. A peer that breaks ends the
// program.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace futured::bench {

// Writes `why` to standard error and exits with code 1: a broken measurement has no figure.
[[noreturn]] void give_up(const std::string& why);

class Connection {
 public:
  // Connects to 127.0.0.1:`port`, without Nagle's delay.
  explicit Connection(int port);

  // Collected until flush(), so that a batch is one write.
  void add(std::string_view bytes) { outgoing_.append(bytes); }
  void flush();

  // Up to the next "\r\n", without it. Views are good until the next read.
  [[nodiscard]] std::string_view line();
  [[nodiscard]] std::string_view bytes(std::size_t count);

 private:
  // Makes at least `count` unread bytes available.
  void fill(std::size_t count);

  Fd socket_;
  std::string outgoing_;
  std::string incoming_;
  std::size_t read_until_ = 0;
};

}  // namespace futured::bench
