#include "daemon/rpc/uploaded_array.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "daemon/rpc/convert.h"
#include "segment/array_type.h"

namespace futured::rpc {

namespace {

constexpr std::string_view kDigestPrefix = "sha256:";

Result<std::string> content_type_of(const api::ArrayShape& array, std::uint64_t bytes) {
  ArrayType type{array.dtype(), {}};
  for (const std::int64_t extent : array.shape()) {
    if (extent < 0) return invalid("array.shape", std::to_string(extent) + " is negative");
    type.shape.push_back(static_cast<std::uint64_t>(extent));
  }
  const auto wanted = array_bytes(type);
  if (!wanted.ok()) return invalid("array", wanted.error().message);
  if (*wanted == bytes) return format_array_type(type);
  return invalid("array.shape",
                 "this array takes " + std::to_string(*wanted) + " bytes, but bytes says " + std::to_string(bytes));
}

std::optional<Digest> digest_of(std::string_view text) {
  if (text.starts_with(kDigestPrefix)) text.remove_prefix(kDigestPrefix.size());
  return Digest::from_hex(text);
}

}  // namespace

Result<UploadTerms> UploadTerms::of(const api::UploadRequest& first) {
  UploadTerms terms{.bytes = first.bytes()};
  terms.is_durable = first.durable();
  if (terms.bytes > limits::kSegmentBytesMax) {
    return too_much("bytes", "a segment has at most " + std::to_string(limits::kSegmentBytesMax));
  }
  if (first.compression() != 0 && first.compression() != 1) {
    return invalid("compression", std::to_string(first.compression()) + " is not known; 0 is none, 1 is zstd");
  }
  terms.is_compressed = first.compression() == 1;
  if (first.has_array()) {
    auto type = content_type_of(first.array(), terms.bytes);
    if (!type.ok()) return type.error();
    terms.content_type = std::move(*type);
  }
  if (!first.digest().empty()) {
    terms.digest = digest_of(first.digest());
    if (!terms.digest) return invalid("digest", "it is not \"sha256:\" and 64 hexadecimal digits");
  }
  return terms;
}

Status check_later(const api::UploadRequest& message) {
  const bool has_terms = message.bytes() != 0 || message.has_array() || message.durable() ||
                         !message.digest().empty() || message.compression() != 0;
  if (!has_terms) return {};
  return invalid("data", "only the first message says what comes; later ones carry data alone");
}

Result<UploadedArray> UploadedArray::create(UploadTerms terms) {
  auto writer = SegmentWriter::reserve("futured-upload", terms.bytes);
  if (!writer.ok()) return writer.error();
  UploadedArray array(std::move(terms), std::move(*writer));
  if (array.terms_.digest) array.digest_.emplace();
  if (array.terms_.is_compressed) {
    auto decompressor = Decompressor::make();
    if (!decompressor.ok()) return decompressor.error();
    array.decompressor_.emplace(std::move(*decompressor));
  }
  return array;
}

Result<std::span<std::byte>> UploadedArray::next(std::uint64_t bytes) {
  if (bytes > limits::kPieceBytesMax) {
    return too_much("data", "a message carries at most " + std::to_string(limits::kPieceBytesMax) + " bytes");
  }
  if (bytes > terms_.bytes - filled_) {
    return invalid("data", "more than the " + std::to_string(terms_.bytes) + " bytes that the first message named");
  }
  const auto place = writer_.bytes().subspan(filled_, bytes);
  filled_ += bytes;
  return place;
}

Status UploadedArray::add(std::string_view data) {
  if (data.empty()) return {};
  const auto bytes = std::as_bytes(std::span(data));
  const auto size = decompressor_ ? frame_content_bytes(bytes) : Result<std::uint64_t>(bytes.size());
  if (!size.ok()) return invalid("data", size.error().message);
  const auto place = next(*size);
  if (!place.ok()) return place.error();
  if (!decompressor_) {
    std::ranges::copy(bytes, place->begin());
  } else if (const Status done = decompressor_->decompress(bytes, *place); !done.ok()) {
    return invalid("data", done.error().message);
  }
  if (digest_) digest_->add({reinterpret_cast<const char*>(place->data()), place->size()});
  return {};
}

Result<Segment> UploadedArray::finish() && {
  if (filled_ != terms_.bytes) {
    return invalid(
        "data", "the stream ended after " + std::to_string(filled_) + " of " + std::to_string(terms_.bytes) + " bytes");
  }
  if (digest_) {
    const Digest found = digest_->finish();
    if (found != *terms_.digest) return invalid("digest", "the bytes that came have sha256:" + found.hex());
  }
  return std::move(writer_).seal();
}

}  // namespace futured::rpc
