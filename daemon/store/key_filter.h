// KeyFilter: a Bloom filter over the hashes of one bucket of idempotency keys. It never denies a key that it holds.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace futured {

class KeyFilter {
 public:
  // 128 KiB. Of a bucket of 64 Ki keys, it takes one in 500 strange keys for its own.
  static constexpr std::size_t kBits = std::size_t{1} << 20;

  void add(std::uint64_t hash) {
    ++keys_;
    for (int probe = 0; probe < kProbes; ++probe) words_[word(hash, probe)] |= bit(hash, probe);
  }
  [[nodiscard]] bool may_hold(std::uint64_t hash) const {
    for (int probe = 0; probe < kProbes; ++probe) {
      if ((words_[word(hash, probe)] & bit(hash, probe)) == 0) return false;
    }
    return true;
  }
  // Keys added since it was made; of one read back, none.
  [[nodiscard]] std::size_t keys() const { return keys_; }

  // Its bits, as they are stored; little-endian words.
  [[nodiscard]] std::string_view bytes() const {
    return {reinterpret_cast<const char*>(words_.data()), words_.size() * sizeof(std::uint64_t)};
  }
  [[nodiscard]] static std::optional<KeyFilter> of(std::string_view bytes) {
    KeyFilter filter;
    if (bytes.size() != filter.bytes().size()) return std::nullopt;
    std::memcpy(filter.words_.data(), bytes.data(), bytes.size());
    return filter;
  }

 private:
  static constexpr int kProbes = 4;

  // Each probe takes 20 other bits of the hash.
  [[nodiscard]] static std::size_t position(std::uint64_t hash, int probe) {
    return static_cast<std::size_t>((hash >> (probe * 14)) & (kBits - 1));
  }
  [[nodiscard]] static std::size_t word(std::uint64_t hash, int probe) { return position(hash, probe) / 64; }
  [[nodiscard]] static std::uint64_t bit(std::uint64_t hash, int probe) {
    return std::uint64_t{1} << (position(hash, probe) % 64);
  }

  std::vector<std::uint64_t> words_ = std::vector<std::uint64_t>(kBits / 64);
  std::size_t keys_ = 0;
};

}  // namespace futured
