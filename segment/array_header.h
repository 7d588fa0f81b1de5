// The header of an array file, ours or NumPy's: what the array is, and where in the file it lies. No I/O.
// docs/formats/array_file.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "segment/array_type.h"

namespace futured {

enum class ArrayForm : std::uint8_t {
  kPlain,       // its elements as they are in memory, from a page on
  kCompressed,  // zstd frames, one a block
  kNumpy,       // .npy: its elements as they are in memory
};

struct ArrayHeader {
  ArrayType type;
  ArrayForm form = ArrayForm::kPlain;
  std::uint64_t data_begin = 0;   // in the file
  std::uint64_t array_bytes = 0;  // in memory
  std::uint64_t data_bytes = 0;   // in the file, without the index of frames
  std::uint64_t data_hash = 0;    // of a plain file: hash_blocks
  std::uint64_t block_bytes = 0;  // of the array; the last one may have fewer

  // 0 in NumPy's files.
  [[nodiscard]] std::uint64_t blocks() const {
    return block_bytes == 0 ? 0 : (array_bytes + block_bytes - 1) / block_bytes;
  }
};

inline constexpr std::size_t kArrayHeaderBytes = 512;
inline constexpr std::uint64_t kArrayPageBytes = 4096;  // a plain file's elements begin there

[[nodiscard]] std::string encode_array_header(const ArrayHeader& header);
// From the first bytes of a file, at least kArrayHeaderBytes of them if it has so many. Nothing is believed: sizes fit
// each other, and the caller holds them against the file's. Errors have no name of the file in them yet.
[[nodiscard]] Result<ArrayHeader> decode_array_header(std::string_view bytes);

// NumPy's, of version 1. bfloat16 is refused: NumPy has no such type.
[[nodiscard]] Result<std::string> encode_npy_header(const ArrayType& type);
// Of version 1 or 2, from the first kNpyHeaderBytesMax bytes of a file, or all of a shorter one. Elements in C order,
// little end first; of a kind that has a name in ArrayType.
[[nodiscard]] Result<ArrayHeader> decode_npy_header(std::string_view bytes);
inline constexpr std::size_t kNpyHeaderBytesMax = 64 * 1024;

// Whether a file begins as one of the two.
[[nodiscard]] bool is_array_file(std::string_view beginning);
[[nodiscard]] bool is_npy_file(std::string_view beginning);

}  // namespace futured
