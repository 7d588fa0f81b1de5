#include "futured/array_file.h"

#include <new>
#include <utility>

#include "client/cpp/checked.h"
#include "futured/client.h"
#include "segment/array_file.h"
#include "segment/array_type.h"

namespace futured::client {

struct ArrayFile::State {
  futured::ArrayFile file;

  // Its rows; an array of no dimensions has none and is only there as a whole.
  [[nodiscard]] ArraySlice slice(std::uint64_t begin, std::optional<std::uint64_t> end) const {
    const ArrayType& type = file.type();
    if (begin == 0 && !end) return {type, 0, file.bytes()};
    auto rows = slice_rows(type, begin, end ? *end : type.shape.empty() ? 0 : type.shape.front());
    if (!rows) fail(rows.error().in(file.path()));
    return *std::move(rows);
  }
};

void dump(const std::string& path, std::span<const std::byte> bytes, std::string_view dtype,
          const std::vector<std::uint64_t>& shape, const DumpOptions& options) {
  checked(write_array_file(path, {std::string(dtype), shape}, bytes, options.compression));
}

void dump(const std::string& path, const MappedBytes& bytes, const DumpOptions& options) {
  if (!bytes.dtype().empty()) return dump(path, bytes.bytes(), bytes.dtype(), bytes.shape(), options);
  dump(path, bytes.bytes(), dtype_of<std::uint8_t>(), {bytes.bytes().size()}, options);
}

ArrayFile::ArrayFile(const std::string& path)
    : state_(std::make_shared<State>(State{checked(futured::ArrayFile::open(path))})) {}

std::string_view ArrayFile::dtype() const { return state_->file.type().dtype; }
const std::vector<std::uint64_t>& ArrayFile::shape() const { return state_->file.type().shape; }
std::uint64_t ArrayFile::bytes() const { return state_->file.bytes(); }
std::uint64_t ArrayFile::file_bytes() const { return state_->file.file_bytes(); }

ArrayFile::Format ArrayFile::format() const {
  switch (state_->file.form()) {
    case ArrayForm::kPlain:
      return Format::kPlain;
    case ArrayForm::kCompressed:
      return Format::kCompressed;
    case ArrayForm::kNumpy:
      return Format::kNumpy;
  }
  return Format::kPlain;
}

MappedBytes ArrayFile::load(std::uint64_t begin, std::optional<std::uint64_t> end) const {
  const ArraySlice slice = state_->slice(begin, end);
  const auto loaded = [&](std::span<const std::byte> bytes, std::shared_ptr<const void> owner) {
    return MappedBytes(bytes, std::move(owner), format_array_type(slice.type), slice.type.dtype, slice.type.shape);
  };
  if (state_->file.is_mappable()) {
    const auto mapped =
        std::make_shared<futured::ArrayFile::Stretch>(checked(state_->file.map(slice.begin, slice.end)));
    return loaded(mapped->bytes, mapped);
  }
  const std::size_t size = slice.end - slice.begin;
  const std::shared_ptr<std::byte[]> memory(new (std::nothrow) std::byte[size]);
  if (memory == nullptr) {
    throw Error(ErrorKind::kResourceExhausted, "no memory for " + std::to_string(size) + " bytes: load fewer rows");
  }
  checked(state_->file.read(slice.begin, {memory.get(), size}));
  return loaded({memory.get(), size}, memory);
}

void ArrayFile::check() const { checked(state_->file.check()); }

StoredSegment Client::store(const ArrayFile& file) const {
  const ArraySlice slice = file.state_->slice(0, std::nullopt);
  const SegmentBuffer buffer(slice.end - slice.begin);
  checked(file.state_->file.read(slice.begin, buffer.bytes()));
  return store(buffer.bytes(), slice.type.dtype, {slice.type.shape.begin(), slice.type.shape.end()});
}

Segment Client::put(const ArrayFile& file, std::uint64_t begin, std::optional<std::uint64_t> end) const {
  const ArraySlice slice = file.state_->slice(begin, end);
  SegmentBuffer buffer(slice.end - slice.begin);
  checked(file.state_->file.read(slice.begin, buffer.bytes()));
  return put(std::move(buffer), slice.type.dtype, {slice.type.shape.begin(), slice.type.shape.end()});
}

}  // namespace futured::client
