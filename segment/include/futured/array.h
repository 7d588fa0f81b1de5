// Array<T>: elements in shared memory with a shape, in C order. Public; standard library only.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace futured {

// The element type as DLPack and NumPy name it: "float64", "int32", "uint8", "complex128", "bool".
template <typename T>
constexpr std::string_view dtype_of() {
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_same_v<U, double>) {
    return "float64";
  } else if constexpr (std::is_same_v<U, float>) {
    return "float32";
  } else if constexpr (std::is_same_v<U, bool>) {
    return "bool";
  } else if constexpr (std::is_same_v<U, std::complex<float>>) {
    return "complex64";
  } else if constexpr (std::is_same_v<U, std::complex<double>>) {
    return "complex128";
  } else {
    static_assert(std::is_integral_v<U> && sizeof(U) <= 8, "this element type has no dtype");
    constexpr std::string_view kSigned[] = {"int8", "int16", "int32", "int64"};
    constexpr std::string_view kUnsigned[] = {"uint8", "uint16", "uint32", "uint64"};
    constexpr int kWidth = sizeof(U) == 1 ? 0 : sizeof(U) == 2 ? 1 : sizeof(U) == 4 ? 2 : 3;
    return std::is_signed_v<U> ? kSigned[kWidth] : kUnsigned[kWidth];
  }
}

// A view of elements and a share in what keeps them alive; copying one copies no element. Array<const T> is what a task
// is given: the memory is mapped read-only. size() counts elements, shape() the elements along each dimension; their
// product is size(). An array of no dimensions has one element.
template <typename T>
class Array {
 public:
  Array() = default;

  // Throws std::invalid_argument when the shape does not hold exactly elements.size() elements.
  Array(std::span<T> elements, std::vector<std::uint64_t> shape, std::shared_ptr<const void> owner)
      : elements_(elements), shape_(std::move(shape)), owner_(std::move(owner)) {
    std::uint64_t count = 1;
    for (const std::uint64_t along : shape_) {
      if (along != 0 && count > UINT64_MAX / along) throw std::invalid_argument("array shape overflows");
      count *= along;
    }
    if (count != elements_.size()) throw std::invalid_argument("array shape does not match its elements");
  }

  // A new array of zeros in this process's own memory.
  static Array zeros(std::vector<std::uint64_t> shape) requires(!std::is_const_v<T>) {
    std::uint64_t count = 1;
    for (const std::uint64_t along : shape) count *= along;
    std::shared_ptr<T[]> memory(new T[count]());
    const std::span<T> elements(memory.get(), count);
    return Array(elements, std::move(shape), std::shared_ptr<const void>(memory, memory.get()));
  }

  operator Array<const T>() const requires(!std::is_const_v<T>) { return Array<const T>(elements_, shape_, owner_); }

  [[nodiscard]] T* data() const { return elements_.data(); }
  [[nodiscard]] std::size_t size() const { return elements_.size(); }
  [[nodiscard]] bool empty() const { return elements_.empty(); }
  [[nodiscard]] std::span<T> elements() const { return elements_; }
  [[nodiscard]] const std::vector<std::uint64_t>& shape() const { return shape_; }
  [[nodiscard]] T& operator[](std::size_t index) const { return elements_[index]; }
  [[nodiscard]] auto begin() const { return elements_.begin(); }
  [[nodiscard]] auto end() const { return elements_.end(); }

  // The part [begin, end) along the first dimension, sharing the memory. Throws std::out_of_range.
  [[nodiscard]] Array rows(std::uint64_t begin, std::uint64_t end) const {
    if (shape_.empty() || begin > end || end > shape_[0]) throw std::out_of_range("array rows out of range");
    const std::size_t row = shape_[0] == 0 ? 0 : size() / shape_[0];
    std::vector<std::uint64_t> shape = shape_;
    shape[0] = end - begin;
    return Array(elements_.subspan(begin * row, (end - begin) * row), std::move(shape), owner_);
  }

 private:
  std::span<T> elements_;
  std::vector<std::uint64_t> shape_ = {0};
  std::shared_ptr<const void> owner_;
};

}  // namespace futured
