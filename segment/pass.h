// Messages with descriptors beside them over a unix socket (SCM_RIGHTS).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace futured {

// Sends one message. `bytes` must not be empty: descriptors travel beside at least one byte. At most
// limits::kDescriptorsPerMessageMax descriptors; they stay open here. Never raises SIGPIPE. On a socket that is
// non-blocking and full the error is kUnavailable and nothing was sent.
[[nodiscard]] Status send_message(int socket, std::string_view bytes, std::span<const int> descriptors = {});

struct Message {
  std::string bytes;
  std::vector<Fd> descriptors;  // close-on-exec
};

// Receives one message of at most `bytes_max` bytes; a longer one, or one with more descriptors than fit, is refused as
// kInvalidArgument and is gone. kUnavailable: the peer closed its end (message "peer closed the socket"), or nothing is
// there on a non-blocking socket, or SO_RCVTIMEO ran out (message "nothing to receive"). Of a SOCK_STREAM, "one
// message" is what one read gives.
[[nodiscard]] Result<Message> receive_message(int socket, std::size_t bytes_max);

}  // namespace futured
