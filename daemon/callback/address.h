// Which addresses belong to the machine or its own network, and which to the world.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace futured::callback {

// Loopback, private, link-local, shared, multicast, unspecified and reserved addresses, also when an IPv6 address only
// carries them. An address of another family is private.
[[nodiscard]] bool is_private(const sockaddr* address);
[[nodiscard]] std::string text_of(const sockaddr* address);

// "https://host:443": what a URL leads to. Refuses what is no http or https URL with a host, and one with a user or
// password in it, which every list would show.
[[nodiscard]] Result<std::string> origin_of(const std::string& url);

// The origin names no host but an address, and a private one.
[[nodiscard]] bool is_private_origin(std::string_view origin);
// Why such an address is refused.
[[nodiscard]] std::string private_refusal(const std::string& address);

// The lane of deliveries to this receiver.
[[nodiscard]] std::uint32_t lane_of(std::string_view receiver);

}  // namespace futured::callback
