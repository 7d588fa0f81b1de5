// Arrays in files: dump and load, plain or compressed, ours or NumPy's (.npy). Needs no daemon.
// docs/formats/array_file.md.
//
//   dump("x.fut", array);
//   const MappedBytes rows = load("x.fut", 100, 200);
//   for (const double value : rows.array<double>()) …
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "futured/array.h"
#include "futured/segments.h"

namespace futured::client {

struct DumpOptions {
  // Of zstd: 1 to 22; 0 = none. It is left out where a sample says that it would save less than a tenth, and in
  // NumPy's files.
  int compression = 3;
};

// The file is replaced as a whole, and is on disk when this returns; or it stays as it was and Error is thrown, of kind
// kResourceExhausted where the disk is full. Who has the old one mapped keeps it. A name that ends in .npy makes it
// NumPy's.
void dump(const std::string& path, std::span<const std::byte> bytes, std::string_view dtype,
          const std::vector<std::uint64_t>& shape, const DumpOptions& options = {});
template <typename T>
void dump(const std::string& path, const Array<T>& array, const DumpOptions& options = {}) {
  dump(path, std::as_bytes(array.elements()), dtype_of<T>(), array.shape(), options);
}
// Bytes that are no array are stored as one of uint8.
void dump(const std::string& path, const MappedBytes& bytes, const DumpOptions& options = {});

// An array file that is open: its header was read and checked, its elements are read when they are asked for. Which
// format it is shows in its first bytes, not in its name. A copy is a share in it; safe from any thread. Everything may
// throw Error: kNotFound, kInvalidArgument for what is no array, kUnimplemented for a newer format, kDataLoss where it
// is damaged.
class ArrayFile {
 public:
  enum class Format : std::uint8_t { kPlain, kCompressed, kNumpy };

  explicit ArrayFile(const std::string& path);

  [[nodiscard]] std::string_view dtype() const;
  [[nodiscard]] const std::vector<std::uint64_t>& shape() const;
  [[nodiscard]] std::uint64_t bytes() const;  // of the elements, in memory
  [[nodiscard]] std::uint64_t file_bytes() const;
  [[nodiscard]] Format format() const;

  // Rows [begin, end) along the first dimension, without `end` up to the last. Of a file that is not compressed they
  // are mapped, and nothing else of it; who cuts it short meanwhile ends this process when it reads there (dump never
  // does). Of a compressed one the blocks are read that hold some of them.
  [[nodiscard]] MappedBytes load(std::uint64_t begin = 0, std::optional<std::uint64_t> end = {}) const;

  // Reads all of it and compares checksums, which NumPy's files have not.
  void check() const;

 private:
  friend class Client;
  struct State;
  std::shared_ptr<const State> state_;
};

[[nodiscard]] inline MappedBytes load(const std::string& path, std::uint64_t begin = 0,
                                      std::optional<std::uint64_t> end = {}) {
  return ArrayFile(path).load(begin, end);
}

}  // namespace futured::client
