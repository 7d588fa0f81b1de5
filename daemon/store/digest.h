// Digest: the SHA-256 of some bytes, by which they are known.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace futured {

struct Digest {
  static constexpr std::size_t kBytes = 32;
  static constexpr std::size_t kHexBytes = 2 * kBytes;

  std::array<std::uint8_t, kBytes> bytes{};

  auto operator<=>(const Digest&) const = default;

  [[nodiscard]] std::string_view raw() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
  [[nodiscard]] std::string hex() const;  // lower case

  [[nodiscard]] static Digest of(std::string_view content);
  // Nothing: it has not the length, or a character that no digest has.
  [[nodiscard]] static std::optional<Digest> from_raw(std::string_view raw);
  [[nodiscard]] static std::optional<Digest> from_hex(std::string_view hex);
};

// The digest of bytes that come piece by piece.
class DigestOfPieces {
 public:
  DigestOfPieces();
  void add(std::string_view piece);
  // Of all that was added. Nothing is added afterwards.
  [[nodiscard]] Digest finish();

 private:
  struct Free {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Free> context_;
};

}  // namespace futured
