// Callers: which user is behind a connection, told from the number of its descriptor.
//
// gRPC names a connection that was handed to it by descriptor "fd:N", and nothing else about it reaches a call. Numbers
// are used again once a connection has closed, and a call of the old one may still be waiting to be looked at. So a
// number belongs to one user for the daemon's whole life: every user gets a row of numbers when he first connects.
#pragma once

#include <cstdint>
#include <mutex>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "daemon/core/types.h"

namespace futured::rpc {

// Who nobody knows: nobody, who owns nothing.
inline constexpr std::uint32_t kUnknownUid = 65534;

// Any thread.
class Callers {
 public:
  struct Layout {
    int first = 0;     // the first number of the first row
    int per_user = 0;  // numbers in a row: connections that one user may have
    int users = 0;

    // For so many descriptors; the lower ones are left to everybody else.
    [[nodiscard]] static Layout of(int descriptors_max);
  };

  Callers(Layout layout, std::uint32_t tcp_uid) : layout_(layout), tcp_uid_(tcp_uid) {}

  // Moves a connection of this user to one of his numbers. kResourceExhausted: he has all of them in use, or there are
  // more users than rows.
  [[nodiscard]] Result<Fd> seat(Fd connection, std::uint32_t uid);

  // `peer` as gRPC names it: "fd:17", "ipv4:127.0.0.1:4711".
  [[nodiscard]] Principal who(std::string_view peer) const;

 private:
  const Layout layout_;
  const std::uint32_t tcp_uid_;
  mutable std::mutex mutex_;
  std::vector<std::uint32_t> users_;  // by row; guarded by mutex_
};

// Raises the bound on descriptors as far as the system lets this process go, and says how far that is.
[[nodiscard]] int raise_descriptor_limit();

}  // namespace futured::rpc
