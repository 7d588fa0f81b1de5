// Variable-length integers and length-prefixed strings: what every hand-written encoding of this house is made of.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace futured {

// LEB128, little end first: a value under 128 takes one byte, the largest ten.
void append_varint(std::string& out, std::uint64_t value);

// The size as a varint, then the bytes.
void append_bytes(std::string& out, std::string_view bytes);

// Reads from the front of bytes that nobody has checked. After the first thing that does not fit, failed() stays true
// and every read gives zero or nothing, so callers check once, after the last read.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}

  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] bool failed() const { return failed_; }

  std::uint8_t byte();
  std::uint64_t varint();
  std::string_view bytes();  // a view into what the reader was given

 private:
  void fail();

  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace futured
