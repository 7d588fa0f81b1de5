#include "segment/array_type.h"

#include <charconv>

#include "base/limits.h"

namespace futured {

namespace {

struct Dtype {
  std::string_view name;
  std::uint64_t bytes;
};

constexpr Dtype kDtypes[] = {
    {"float64", 8}, {"float32", 4}, {"float16", 2}, {"bfloat16", 2},  {"int8", 1},
    {"int16", 2},   {"int32", 4},   {"int64", 8},   {"uint8", 1},     {"uint16", 2},
    {"uint32", 4},  {"uint64", 8},  {"bool", 1},    {"complex64", 8}, {"complex128", 16},
};

Error refuse(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// Takes what stands before the first `mark` off the front of `text`.
std::string_view take_until(std::string_view& text, char mark) {
  const std::size_t at = text.find(mark);
  const std::string_view taken = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view{} : text.substr(at + 1);
  return taken;
}

Status parse_shape(std::string_view text, std::vector<std::uint64_t>& shape) {
  while (!text.empty()) {
    if (shape.size() == limits::kArrayDimensionsMax) {
      return refuse("array has more than " + std::to_string(limits::kArrayDimensionsMax) + " dimensions");
    }
    const bool more = text.find('x') != std::string_view::npos;
    const std::string_view digits = take_until(text, 'x');
    std::uint64_t along = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), along);
    if (error != std::errc{} || end != digits.data() + digits.size() || (more && text.empty())) {
      return refuse("array shape is not NxN…");
    }
    shape.push_back(along);
  }
  return {};
}

}  // namespace

std::uint64_t element_bytes(std::string_view dtype) {
  for (const Dtype& known : kDtypes) {
    if (known.name == dtype) return known.bytes;
  }
  return 0;
}

Result<std::uint64_t> array_bytes(const ArrayType& type) {
  std::uint64_t bytes = element_bytes(type.dtype);
  if (bytes == 0) return refuse("array has unknown dtype '" + type.dtype.substr(0, limits::kNameBytesMax) + "'");
  if (type.shape.size() > limits::kArrayDimensionsMax) {
    return refuse("array has more than " + std::to_string(limits::kArrayDimensionsMax) + " dimensions");
  }
  // Checked without the zeros first, so that a shape of 2^63 x 0 is refused as NumPy refuses it.
  bool empty = false;
  for (const std::uint64_t along : type.shape) {
    if (along == 0) {
      empty = true;
    } else if (bytes > limits::kSegmentBytesMax / along) {
      return refuse("array is larger than " + std::to_string(limits::kSegmentBytesMax) + " bytes");
    } else {
      bytes *= along;
    }
  }
  return empty ? 0 : bytes;
}

std::string format_array_type(const ArrayType& type) {
  std::string text(kArrayType);
  text += "; dtype=" + type.dtype + "; shape=";
  for (std::size_t i = 0; i < type.shape.size(); ++i) {
    if (i != 0) text += 'x';
    text += std::to_string(type.shape[i]);
  }
  return text;
}

bool is_array_type(std::string_view content_type) {
  return content_type.starts_with(kArrayType) &&
         (content_type.size() == kArrayType.size() || content_type[kArrayType.size()] == ';');
}

Result<ArrayType> parse_array_type(std::string_view content_type) {
  if (!is_array_type(content_type)) return refuse("content type is not that of an array");
  std::string_view rest = content_type;
  take_until(rest, ';');
  ArrayType type;
  bool has_shape = false;
  while (!rest.empty()) {
    std::string_view value = trimmed(take_until(rest, ';'));
    const std::string_view name = take_until(value, '=');
    if (name == "dtype") {
      type.dtype = value;
    } else if (name == "shape") {
      type.shape.clear();
      if (Status parsed = parse_shape(value, type.shape); !parsed) return parsed.error();
      has_shape = true;
    } else {
      return refuse("array has unknown parameter '" + std::string(name.substr(0, limits::kNameBytesMax)) + "'");
    }
  }
  if (!has_shape) return refuse("array has no shape");
  if (auto bytes = array_bytes(type); !bytes) return bytes.error();
  return type;
}

Result<ArraySlice> slice_rows(const ArrayType& whole, std::uint64_t begin, std::uint64_t end) {
  auto bytes = array_bytes(whole);
  if (!bytes) return bytes.error();
  if (whole.shape.empty()) return refuse("an array of no dimensions has no rows");
  if (begin > end || end > whole.shape[0]) {
    return refuse("rows " + std::to_string(begin) + ".." + std::to_string(end) + " lie outside the array's " +
                  std::to_string(whole.shape[0]));
  }
  const std::uint64_t row = whole.shape[0] == 0 ? 0 : *bytes / whole.shape[0];
  ArraySlice slice{whole, begin * row, end * row};
  slice.type.shape[0] = end - begin;
  return slice;
}

}  // namespace futured
