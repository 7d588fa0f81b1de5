// A hash whose values may be stored: the same bytes give the same number in every build, for ever. Not for secrets.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace futured {

// Spreads every bit of `value` over all of the result; one to one.
[[nodiscard]] constexpr std::uint64_t mix_bits(std::uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

// Of `bytes` after everything that `before` is the hash of; the length counts, so "ab","c" is not "a","bc".
[[nodiscard]] inline std::uint64_t stable_hash(std::string_view bytes, std::uint64_t before = 0) {
  std::uint64_t hash = mix_bits(before + 0x9e3779b97f4a7c15ULL + bytes.size());
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const std::size_t size = bytes.size() < sizeof word ? bytes.size() : sizeof word;
    std::memcpy(&word, bytes.data(), size);
    hash = mix_bits(hash ^ word);
    bytes.remove_prefix(size);
  }
  return hash;
}

}  // namespace futured
