#include "daemon/store/digest.h"

#include <openssl/evp.h>

#include <algorithm>

#include "base/check.h"

namespace futured {

namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

EVP_MD_CTX* as_context(const auto& owned) { return static_cast<EVP_MD_CTX*>(owned.get()); }

}  // namespace

Digest Digest::of(std::string_view content) {
  DigestOfPieces digest;
  digest.add(content);
  return digest.finish();
}

void DigestOfPieces::Free::operator()(void* context) const { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context)); }

DigestOfPieces::DigestOfPieces() : context_(EVP_MD_CTX_new()) {
  const bool is_ready = context_ && EVP_DigestInit_ex(as_context(context_), EVP_sha256(), /*engine=*/nullptr) == 1;
  FUTURED_CHECK(is_ready, "OpenSSL has SHA-256");
}

void DigestOfPieces::add(std::string_view piece) {
  FUTURED_CHECK(EVP_DigestUpdate(as_context(context_), piece.data(), piece.size()) == 1, "SHA-256 takes any bytes");
}

Digest DigestOfPieces::finish() {
  Digest digest;
  unsigned int size = 0;
  const bool is_done = EVP_DigestFinal_ex(as_context(context_), digest.bytes.data(), &size) == 1;
  FUTURED_CHECK(is_done && size == Digest::kBytes, "SHA-256 has an end");
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
