// The content type of an array, and the bytes that a slice of it takes. docs/formats/payload.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace futured {

inline constexpr std::string_view kArrayType = "application/x-futured-array";

// Elements in C order, native byte order. No dimensions: one element.
struct ArrayType {
  std::string dtype;
  std::vector<std::uint64_t> shape;

  bool operator==(const ArrayType&) const = default;
};

// Bytes of one element; 0 for a dtype that is not known.
[[nodiscard]] std::uint64_t element_bytes(std::string_view dtype);

// Bytes of the whole array. Refuses unknown dtypes, more than limits::kArrayDimensionsMax dimensions, and sizes over
// limits::kSegmentBytesMax, so the product never overflows.
[[nodiscard]] Result<std::uint64_t> array_bytes(const ArrayType& type);

// "application/x-futured-array; dtype=float64; shape=1024x768"
[[nodiscard]] std::string format_array_type(const ArrayType& type);

// Whether this content type claims to be an array; parse_array_type then says whether it is a sound one.
[[nodiscard]] bool is_array_type(std::string_view content_type);
[[nodiscard]] Result<ArrayType> parse_array_type(std::string_view content_type);

// The rows [begin, end) of an array: their own type, and where their bytes lie in the whole.
struct ArraySlice {
  ArrayType type;
  std::uint64_t begin = 0;  // bytes, half-open
  std::uint64_t end = 0;
};

// A slice along the first dimension is contiguous; that is the only kind there is.
[[nodiscard]] Result<ArraySlice> slice_rows(const ArrayType& whole, std::uint64_t begin, std::uint64_t end);

}  // namespace futured
