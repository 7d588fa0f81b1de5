// Arrays in files: plain ones, which are mapped where they lie, compressed ones, and NumPy's.
// docs/formats/array_file.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "segment/array_header.h"
#include "segment/memory.h"

namespace futured {

// A file that is open for reading. Its bytes are not trusted: what does not fit is an Error that names the file and the
// way out. Never written to: who replaces it writes another (WholeFile). Any thread may read, several at once.
class ArrayFile {
 public:
  // Reads header and index. Which format it is shows its first bytes, not its name.
  [[nodiscard]] static Result<ArrayFile> open(const std::string& path);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const ArrayType& type() const { return header_.type; }
  [[nodiscard]] ArrayForm form() const { return header_.form; }
  [[nodiscard]] std::uint64_t bytes() const { return header_.array_bytes; }  // of the array, in memory
  [[nodiscard]] std::uint64_t file_bytes() const { return file_bytes_; }

  // Fills `out` with the array's bytes from `begin` on, which must be inside. Of a compressed file only the blocks are
  // read that hold some of them. Checksums of frames are compared; the one of a plain file is not.
  [[nodiscard]] Status read(std::uint64_t begin, std::span<std::byte> out) const;

  // The array's bytes [begin, end), mapped read-only, and no other page. Whoever cuts the file short meanwhile ends
  // who reads there, by SIGBUS.
  struct Stretch {
    Mapping pages;
    std::span<const std::byte> bytes;
  };
  // Not compressed, and the elements lie as those of an array must.
  [[nodiscard]] bool is_mappable() const;
  [[nodiscard]] Result<Stretch> map(std::uint64_t begin, std::uint64_t end) const;

  // Reads all of it and compares checksums. NumPy's files have none.
  [[nodiscard]] Status check() const;

 private:
  ArrayFile() = default;
  [[nodiscard]] Error damaged(const std::string& what) const;
  [[nodiscard]] Status read_file(std::uint64_t offset, std::span<std::byte> out) const;
  [[nodiscard]] Status read_frames(std::uint64_t begin, std::span<std::byte> out) const;
  [[nodiscard]] Status read_header();
  [[nodiscard]] Status read_index();
  [[nodiscard]] Status compare_size() const;
  [[nodiscard]] std::size_t block_size(std::uint64_t block) const;

  std::string path_;
  Fd file_;
  std::uint64_t file_bytes_ = 0;
  ArrayHeader header_;
  std::vector<std::uint64_t> frame_ends_;  // in the data; of a compressed file
};

// Replaces the file as a whole, or, with an Error, not at all. A name that ends in .npy makes it NumPy's. Else level 1
// to kCompressionLevelMax compresses it, unless a sample says that this saves less than a tenth: then, as with level 0,
// it is plain.
[[nodiscard]] Status write_array_file(const std::string& path, const ArrayType& type, std::span<const std::byte> bytes,
                                      int level);

}  // namespace futured
