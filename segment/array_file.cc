#include "segment/array_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/hash.h"
#include "base/limits.h"
#include "base/whole_file.h"
#include "segment/compression.h"

namespace futured {

namespace {

// A slice reads whole blocks, and zstd finds little more in larger ones.
constexpr std::size_t kBlockBytes = 1024 * 1024;
constexpr std::size_t kReadBytes = 8 * 1024 * 1024;  // of one system call
constexpr std::size_t kSampleBytes = 64 * 1024;      // of one piece
constexpr std::size_t kSamples = 16;
constexpr std::uint64_t kElementAlignment = 16;  // complex128 is the largest

static_assert(kBlockBytes >= limits::kArrayBlockBytesMin && kBlockBytes <= limits::kArrayBlockBytesMax);

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

// Little by little, so that who reads a file to check it needs room for one block.
std::uint64_t hash_blocks(std::span<const std::byte> bytes) {
  std::uint64_t hash = 0;
  for (std::size_t begin = 0; begin < bytes.size(); begin += kBlockBytes) {
    hash = stable_hash(text_of(bytes.subspan(begin, std::min(kBlockBytes, bytes.size() - begin))), hash);
  }
  return hash;
}

std::uint64_t index_hash(const std::vector<std::uint64_t>& ends) {
  return stable_hash({reinterpret_cast<const char*>(ends.data()), ends.size() * sizeof(std::uint64_t)});
}

// A plain file is mapped and not copied, which a tenth of its size is not worth.
Result<bool> compression_pays(std::span<const std::byte> bytes, Compressor& compressor) {
  const std::size_t pieces = std::min(kSamples, (bytes.size() + kSampleBytes - 1) / kSampleBytes);
  if (pieces == 0) return false;
  const std::size_t stride = bytes.size() / pieces;
  const std::size_t size = std::min(kSampleBytes, stride);
  std::size_t before = 0;
  std::size_t after = 0;
  for (std::size_t i = 0; i < pieces; ++i) {
    auto frame = compressor.compress(bytes.subspan(i * stride + (stride - size) / 2, size));
    if (!frame) return frame.error();
    before += size;
    after += frame->size();
  }
  return after <= before - before / 10;
}

Status write_npy(WholeFile& file, const ArrayType& type, std::span<const std::byte> bytes) {
  const auto header = encode_npy_header(type);
  if (!header) return header.error();
  if (Status wrote = file.write_at(0, bytes_of(*header)); !wrote) return wrote;
  return file.write_at(header->size(), bytes);
}

Status write_plain(WholeFile& file, ArrayHeader header, std::span<const std::byte> bytes) {
  header.form = ArrayForm::kPlain;
  header.data_begin = kArrayPageBytes;
  header.data_bytes = bytes.size();
  header.data_hash = hash_blocks(bytes);
  // An array of no elements has no data, and its file ends behind its first page all the same.
  std::string page = encode_array_header(header);
  page.resize(kArrayPageBytes);
  if (Status wrote = file.write_at(0, bytes_of(page)); !wrote) return wrote;
  return file.write_at(header.data_begin, bytes);
}

Status write_compressed(WholeFile& file, ArrayHeader header, std::span<const std::byte> bytes, Compressor& compressor) {
  header.form = ArrayForm::kCompressed;
  header.data_begin = kArrayHeaderBytes;
  std::vector<std::uint64_t> index;
  for (std::size_t begin = 0; begin < bytes.size(); begin += kBlockBytes) {
    auto frame = compressor.compress(bytes.subspan(begin, std::min(kBlockBytes, bytes.size() - begin)));
    if (!frame) return frame.error();
    if (Status wrote = file.write_at(header.data_begin + header.data_bytes, *frame); !wrote) return wrote;
    header.data_bytes += frame->size();
    index.push_back(header.data_bytes);
  }
  index.push_back(index_hash(index));
  if (Status wrote = file.write_at(header.data_begin + header.data_bytes, std::as_bytes(std::span(index))); !wrote) {
    return wrote;
  }
  return file.write_at(0, bytes_of(encode_array_header(header)));
}

Status write_ours(WholeFile& file, const ArrayType& type, std::span<const std::byte> bytes, int level) {
  ArrayHeader header;
  header.type = type;
  header.array_bytes = bytes.size();
  header.block_bytes = kBlockBytes;
  if (level == 0) return write_plain(file, std::move(header), bytes);
  auto compressor = Compressor::make(level);
  if (!compressor) return compressor.error();
  const auto pays = compression_pays(bytes, *compressor);
  if (!pays) return pays.error();
  return *pays ? write_compressed(file, std::move(header), bytes, *compressor)
               : write_plain(file, std::move(header), bytes);
}

}  // namespace

Result<ArrayFile> ArrayFile::open(const std::string& path) {
  ArrayFile opened;
  opened.path_ = path;
  // Else a pipe of that name would keep us waiting for who writes to it.
  opened.file_ = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat found {};
  if (!opened.file_.is_open() || ::fstat(opened.file_.get(), &found) != 0) return system_error(path);
  if (!S_ISREG(found.st_mode)) return Error{ErrorCode::kInvalidArgument, path + ": it is no regular file"};
  opened.file_bytes_ = static_cast<std::uint64_t>(found.st_size);
  if (const Status read = opened.read_header(); !read) return read.error();
  if (const Status fits = opened.compare_size(); !fits) return fits.error();
  if (const Status read = opened.read_index(); !read) return read.error();
  return opened;
}

Error ArrayFile::damaged(const std::string& what) const {
  return {ErrorCode::kDataLoss, path_ + ": " + what + ": restore it, or write it again"};
}

Status ArrayFile::read_file(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(file_.get(), out.data(), std::min(out.size(), kReadBytes), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("cannot read " + path_);
    if (got == 0) return damaged("it was cut short while it was read");
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

Status ArrayFile::read_header() {
  std::vector<std::byte> beginning(std::min<std::uint64_t>(file_bytes_, kNpyHeaderBytesMax));
  if (Status read = read_file(0, beginning); !read) return read;
  const std::string_view text = text_of(beginning);
  if (!is_array_file(text) && !is_npy_file(text)) {
    return Error{ErrorCode::kInvalidArgument,
                 path_ + ": it is no array: neither of futured, as fut dump writes it, nor of NumPy (.npy)"};
  }
  auto header = is_array_file(text) ? decode_array_header(text) : decode_npy_header(text);
  if (!header) return header.error().in(path_);
  header_ = *std::move(header);
  return {};
}

// One after the other, so that no sum of what a header claims can overflow.
Status ArrayFile::compare_size() const {
  const std::uint64_t index =
      header_.form == ArrayForm::kCompressed ? (header_.blocks() + 1) * sizeof(std::uint64_t) : 0;
  std::uint64_t left = file_bytes_;
  for (const std::uint64_t bytes : {header_.data_begin, header_.data_bytes, index}) {
    if (bytes > left) return damaged("it is cut short: it has " + std::to_string(file_bytes_) + " bytes");
    left -= bytes;
  }
  // NumPy itself reads no further, and some append to such files.
  if (left == 0 || header_.form == ArrayForm::kNumpy) return {};
  return damaged("it has " + std::to_string(left) + " bytes more than its header says");
}

Status ArrayFile::read_index() {
  if (header_.form != ArrayForm::kCompressed) return {};
  frame_ends_.resize(header_.blocks() + 1);
  if (Status read = read_file(header_.data_begin + header_.data_bytes, std::as_writable_bytes(std::span(frame_ends_)));
      !read) {
    return read;
  }
  const std::uint64_t hash = frame_ends_.back();
  frame_ends_.pop_back();
  if (hash != index_hash(frame_ends_)) return damaged("its index is damaged: its checksum is wrong");
  std::uint64_t before = 0;
  for (const std::uint64_t end : frame_ends_) {
    if (end <= before || end > header_.data_bytes || end - before > frame_bytes_max(header_.block_bytes)) {
      return damaged("its index is wrong");
    }
    before = end;
  }
  if (before != header_.data_bytes) return damaged("its index is wrong");
  return {};
}

std::size_t ArrayFile::block_size(std::uint64_t block) const {
  return std::min(header_.block_bytes, header_.array_bytes - block * header_.block_bytes);
}

Status ArrayFile::read_frames(std::uint64_t begin, std::span<std::byte> out) const {
  auto decompressor = Decompressor::make();
  if (!decompressor) return decompressor.error().in(path_);
  std::vector<std::byte> frame;
  std::vector<std::byte> whole;  // of a block that `out` gets only a part of
  while (!out.empty()) {
    const std::uint64_t block = begin / header_.block_bytes;
    const std::size_t skipped = begin % header_.block_bytes;
    const std::size_t size = block_size(block);
    const std::size_t wanted = std::min(size - skipped, out.size());
    const std::uint64_t frame_begin = block == 0 ? 0 : frame_ends_[block - 1];
    frame.resize(frame_ends_[block] - frame_begin);
    if (Status read = read_file(header_.data_begin + frame_begin, frame); !read) return read;
    if (wanted != size) whole.resize(size);
    const std::span<std::byte> target = wanted == size ? out.first(size) : std::span(whole);
    if (const Status done = decompressor->decompress(frame, target); !done) {
      return damaged("its block " + std::to_string(block) + " is damaged: " + done.error().message);
    }
    if (wanted != size) std::memcpy(out.data(), whole.data() + skipped, wanted);
    out = out.subspan(wanted);
    begin += wanted;
  }
  return {};
}

Status ArrayFile::read(std::uint64_t begin, std::span<std::byte> out) const {
  FUTURED_CHECK(begin <= bytes() && out.size() <= bytes() - begin, "bytes of an array file that it does not have");
  return header_.form == ArrayForm::kCompressed ? read_frames(begin, out) : read_file(header_.data_begin + begin, out);
}

bool ArrayFile::is_mappable() const {
  return header_.form != ArrayForm::kCompressed && header_.data_begin % kElementAlignment == 0;
}

Result<ArrayFile::Stretch> ArrayFile::map(std::uint64_t begin, std::uint64_t end) const {
  FUTURED_CHECK(is_mappable() && begin <= end && end <= bytes(), "bytes of an array file that cannot be mapped");
  if (begin == end) return Stretch{};
  const std::uint64_t at = header_.data_begin + begin;
  const std::uint64_t page = at - at % static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t size = at - page + (end - begin);
  void* const memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file_.get(), static_cast<off_t>(page));
  if (memory == MAP_FAILED) return system_error("cannot map " + path_);
  Stretch stretch{Mapping(memory, size), {}};
  stretch.bytes = stretch.pages.bytes().subspan(at - page);
  return stretch;
}

Status ArrayFile::check() const {
  const bool plain = header_.form == ArrayForm::kPlain;  // else each frame has a checksum, which read() compares
  std::vector<std::byte> block;
  std::uint64_t hash = 0;
  for (std::uint64_t i = 0; i < header_.blocks(); ++i) {
    block.resize(block_size(i));
    if (Status fine = read(i * header_.block_bytes, block); !fine) return fine;
    if (plain) hash = stable_hash(text_of(block), hash);
  }
  if (plain && hash != header_.data_hash) return damaged("its elements are damaged: their checksum is wrong");
  return {};
}

Status write_array_file(const std::string& path, const ArrayType& type, std::span<const std::byte> bytes, int level) {
  if (level < 0 || level > kCompressionLevelMax) {
    return Error{ErrorCode::kInvalidArgument, "compression level " + std::to_string(level) + " is not between 0 and " +
                                                  std::to_string(kCompressionLevelMax)};
  }
  const auto wanted = array_bytes(type);
  if (!wanted) return wanted.error();
  if (*wanted != bytes.size()) {
    return Error{ErrorCode::kInvalidArgument, "this array takes " + std::to_string(*wanted) + " bytes, but there are " +
                                                  std::to_string(bytes.size())};
  }
  auto file = WholeFile::create(path);
  if (!file) return file.error();
  const bool numpy = path.ends_with(".npy");
  if (Status wrote = numpy ? write_npy(*file, type, bytes) : write_ours(*file, type, bytes, level); !wrote)
    return wrote;
  return file->finish();
}

}  // namespace futured
