#include "daemon/callback/address.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <memory>

#include "base/hash.h"
#include "base/limits.h"

namespace futured::callback {

namespace {

struct Net {
  std::uint32_t address;
  unsigned bits;
};

// RFC 6890 and its registry: what is not reachable globally.
constexpr Net kPrivateNets[] = {
    {0x00000000, 8},   // this network
    {0x0a000000, 8},   // private
    {0x64400000, 10},  // shared (carrier-grade NAT)
    {0x7f000000, 8},   // loopback
    {0xa9fe0000, 16},  // link-local
    {0xac100000, 12},  // private
    {0xc0000000, 24},  // protocol assignments
    {0xc0000200, 24},  // documentation
    {0xc0586300, 24},  // 6to4 relays
    {0xc0a80000, 16},  // private
    {0xc6120000, 15},  // benchmarks
    {0xc6336400, 24},  // documentation
    {0xcb007100, 24},  // documentation
    {0xe0000000, 3},   // multicast, reserved, broadcast
};

bool is_private(std::uint32_t address) {
  return std::ranges::any_of(kPrivateNets,
                             [&](const Net& net) { return (address ^ net.address) >> (32 - net.bits) == 0; });
}

std::uint32_t four(const std::uint8_t* bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
}

bool is_private(const std::uint8_t (&address)[16]) {
  const auto begins = [&](std::initializer_list<std::uint8_t> prefix) {
    return std::equal(prefix.begin(), prefix.end(), address);
  };
  const bool global = (address[0] & 0xe0) == 0x20;  // 2000::/3, all that is given out
  if (begins({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})) return is_private(four(address + 12));
  if (begins({0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0})) return is_private(four(address + 12));  // NAT64
  if (begins({0x20, 0x02})) return is_private(four(address + 2));                                    // 6to4
  if (begins({0x20, 0x01, 0x0d, 0xb8}) || begins({0x20, 0x01, 0, 0})) return true;  // documentation, Teredo
  return !global;
}

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

// "": it has none.
std::string part_of(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK || text == nullptr) return {};
  std::string copy(text);
  curl_free(text);
  return copy;
}

}  // namespace

bool is_private(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    return is_private(ntohl(in.sin_addr.s_addr));
  }
  if (address->sa_family != AF_INET6) return true;
  sockaddr_in6 in{};
  std::memcpy(&in, address, sizeof in);
  return is_private(in.sin6_addr.s6_addr);
}

std::string text_of(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = "an address of another kind";
  if (address->sa_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
  } else if (address->sa_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, address, sizeof in);
    inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof text);
  }
  return text;
}

Result<std::string> origin_of(const std::string& url) {
  const auto wrong = [](const std::string& why) { return Error{ErrorCode::kInvalidArgument, why}; };
  if (url.size() > limits::kCallbackUrlBytesMax) {
    return wrong(std::to_string(url.size()) + " bytes are over " + std::to_string(limits::kCallbackUrlBytesMax));
  }
  const auto is_bad = [](unsigned char c) { return c <= ' ' || c == 0x7f; };
  if (std::ranges::any_of(url, is_bad)) return wrong("a URL has no spaces and no control characters");
  if (url.find(":///") != std::string::npos) return wrong("names no host");  // libcurl would take the path for it
  const std::unique_ptr<CURLU, UrlDeleter> parsed(curl_url());
  const CURLUcode code = curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), CURLU_NON_SUPPORT_SCHEME);
  if (code != CURLUE_OK) return wrong(std::string("is no URL: ") + curl_url_strerror(code));
  const std::string scheme = part_of(parsed.get(), CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") return wrong("must begin with http:// or https://");
  std::string host = part_of(parsed.get(), CURLUPART_HOST);
  if (host.empty()) return wrong("names no host");
  if (!part_of(parsed.get(), CURLUPART_USER).empty() || !part_of(parsed.get(), CURLUPART_PASSWORD).empty()) {
    return wrong("a user or password in it would be shown in lists; use a header");
  }
  std::ranges::transform(host, host.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return scheme + "://" + host + ":" + part_of(parsed.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

bool is_private_origin(std::string_view origin) {
  const std::size_t begin = origin.find("://");
  if (begin == std::string_view::npos) return false;
  std::string host(origin.substr(begin + 3, origin.rfind(':') - begin - 3));
  in_addr four_bytes{};
  if (inet_pton(AF_INET, host.c_str(), &four_bytes) == 1) return is_private(ntohl(four_bytes.s_addr));
  if (host.size() < 2 || host.front() != '[') return false;
  host = host.substr(1, host.find_first_of("%]") - 1);
  in6_addr bytes{};
  return inet_pton(AF_INET6, host.c_str(), &bytes) == 1 && is_private(bytes.s6_addr);
}

std::string private_refusal(const std::string& address) {
  return address + " is a private address, and the configuration refuses these ([callbacks] allow_private)";
}

std::uint32_t lane_of(std::string_view receiver) {
  return static_cast<std::uint32_t>(stable_hash(receiver) % limits::kCallbackLanes);
}

}  // namespace futured::callback
