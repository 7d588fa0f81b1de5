// The signature of a webhook: by it a receiver knows who sent the request, and that it is not an old one sent again.
#pragma once

#include <string>
#include <string_view>

namespace futured::callback {

// HMAC-SHA256 with `secret` over "<timestamp>.<body>", as 64 hexadecimal digits.
[[nodiscard]] std::string signature(std::string_view secret, std::string_view timestamp, std::string_view body);

}  // namespace futured::callback
