#include "segment/array_header.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/hash.h"
#include "base/limits.h"

namespace futured {

namespace {

static_assert(std::endian::native == std::endian::little, "files and memory have the same byte order");

// As PNG's: it is no text, and what has gone through a conversion of line ends does not begin so.
constexpr std::string_view kMagic(
    "\x89"
    "FUT\r\n\x1a\n",
    8);
constexpr std::uint16_t kVersion = 1;
constexpr std::uint16_t kZstd = 1;  // the one flag there is
constexpr std::size_t kDtypeBytes = 16;

// Byte for byte as it lies in the file.
struct Layout {
  char magic[8];
  std::uint16_t version;
  std::uint16_t flags;
  std::uint32_t dimensions;
  std::uint64_t data_begin;
  std::uint64_t array_bytes;
  std::uint64_t data_bytes;
  std::uint64_t data_hash;
  std::uint64_t block_bytes;
  char dtype[kDtypeBytes];
  std::uint64_t shape[limits::kArrayDimensionsMax];
  std::uint64_t reserved[22];
  std::uint64_t header_hash;  // of all that stands before
};
static_assert(sizeof(Layout) == kArrayHeaderBytes);
static_assert(offsetof(Layout, dtype) == 56 && offsetof(Layout, shape) == 72 && offsetof(Layout, header_hash) == 504);

std::uint64_t hash_of(const Layout& layout) {
  return stable_hash({reinterpret_cast<const char*>(&layout), offsetof(Layout, header_hash)});
}

Error damaged(const std::string& what) { return {ErrorCode::kDataLoss, what + ": restore it, or write it again"}; }

Status check_sizes(const ArrayHeader& header) {
  const auto bytes = array_bytes(header.type);
  if (!bytes) return damaged("its header is wrong: " + bytes.error().message);
  const bool plain = header.form == ArrayForm::kPlain;
  const bool sound = *bytes == header.array_bytes && header.data_begin >= kArrayHeaderBytes &&
                     header.block_bytes >= limits::kArrayBlockBytesMin &&
                     header.block_bytes <= limits::kArrayBlockBytesMax &&
                     (!plain || (header.data_bytes == header.array_bytes && header.data_begin % kArrayPageBytes == 0));
  if (!sound) return damaged("its header contradicts itself");
  return {};
}

}  // namespace

bool is_array_file(std::string_view beginning) { return beginning.starts_with(kMagic); }

std::string encode_array_header(const ArrayHeader& header) {
  Layout layout{};
  std::memcpy(layout.magic, kMagic.data(), sizeof layout.magic);
  layout.version = kVersion;
  layout.flags = header.form == ArrayForm::kCompressed ? kZstd : 0;
  layout.dimensions = static_cast<std::uint32_t>(header.type.shape.size());
  layout.data_begin = header.data_begin;
  layout.array_bytes = header.array_bytes;
  layout.data_bytes = header.data_bytes;
  layout.data_hash = header.data_hash;
  layout.block_bytes = header.block_bytes;
  header.type.dtype.copy(layout.dtype, kDtypeBytes);
  std::copy(header.type.shape.begin(), header.type.shape.end(), layout.shape);
  layout.header_hash = hash_of(layout);
  return {reinterpret_cast<const char*>(&layout), sizeof layout};
}

Result<ArrayHeader> decode_array_header(std::string_view bytes) {
  if (bytes.size() < kArrayHeaderBytes) return damaged("it ends within its header");
  Layout layout;
  std::memcpy(&layout, bytes.data(), sizeof layout);
  // A newer version may have its checksum elsewhere, so this comes first.
  if (layout.version > kVersion) {
    return Error{ErrorCode::kUnimplemented, "it is of version " + std::to_string(layout.version) +
                                                ", and this futured knows version " + std::to_string(kVersion) +
                                                ": take a newer futured"};
  }
  if (layout.header_hash != hash_of(layout)) return damaged("its header is damaged: its checksum is wrong");
  if (layout.version == 0 || (layout.flags & ~kZstd) != 0 || layout.dimensions > limits::kArrayDimensionsMax) {
    return damaged("its header is wrong");
  }
  ArrayHeader header;
  header.form = layout.flags == kZstd ? ArrayForm::kCompressed : ArrayForm::kPlain;
  header.type.dtype.assign(layout.dtype, strnlen(layout.dtype, kDtypeBytes));
  header.type.shape.assign(layout.shape, layout.shape + layout.dimensions);
  header.data_begin = layout.data_begin;
  header.array_bytes = layout.array_bytes;
  header.data_bytes = layout.data_bytes;
  header.data_hash = layout.data_hash;
  header.block_bytes = layout.block_bytes;
  if (const Status sound = check_sizes(header); !sound) return sound.error();
  return header;
}

}  // namespace futured
