#include "daemon/store/digest.h"

#include <openssl/evp.h>

#include <algorithm>

#include "base/check.h"

namespace futured {

namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

}  // namespace

Digest Digest::of(std::string_view content) {
  Digest digest;
  unsigned int size = 0;
  const int done =
      EVP_Digest(content.data(), content.size(), digest.bytes.data(), &size, EVP_sha256(), /*engine=*/nullptr);
  FUTURED_CHECK(done == 1 && size == kBytes, "OpenSSL has SHA-256");
  return digest;
}

std::string Digest::hex() const {
  std::string text;
  text.reserve(kHexBytes);
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::optional<Digest> Digest::from_raw(std::string_view raw) {
  if (raw.size() != kBytes) return std::nullopt;
  Digest digest;
  std::ranges::transform(raw, digest.bytes.begin(), [](char c) { return static_cast<std::uint8_t>(c); });
  return digest;
}

std::optional<Digest> Digest::from_hex(std::string_view hex) {
  if (hex.size() != kHexBytes || hex.find_first_not_of(kDigits) != std::string_view::npos) return std::nullopt;
  Digest digest;
  for (std::size_t i = 0; i < kBytes; ++i) {
    digest.bytes[i] = static_cast<std::uint8_t>(kDigits.find(hex[2 * i]) << 4 | kDigits.find(hex[2 * i + 1]));
  }
  return digest;
}

}  // namespace futured
