// Large payloads and results in shared memory: filled once, handed over by descriptor, mapped and never copied.
// Over TCP the bytes are sent and fetched instead.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "futured/array.h"
#include "futured/types.h"

namespace futured::client {

// Shared memory while it is filled. All of it is allocated at once: a machine without room says so here.
class SegmentBuffer {
 public:
  // Zeros. Throws Error of kind kResourceExhausted.
  explicit SegmentBuffer(std::uint64_t bytes);
  SegmentBuffer(SegmentBuffer&&) noexcept;
  SegmentBuffer& operator=(SegmentBuffer&&) noexcept;
  ~SegmentBuffer();

  [[nodiscard]] std::span<std::byte> bytes() const;
  // The same memory as elements; bytes that are no whole element are left out.
  template <typename T>
  [[nodiscard]] std::span<T> as() const {
    return {reinterpret_cast<T*>(bytes().data()), bytes().size() / sizeof(T)};
  }

 private:
  friend class Client;
  struct Memory;
  std::unique_ptr<Memory> memory_;
};

// Bytes that somebody else filled, mapped read-only for as long as a copy of this lives.
class MappedBytes {
 public:
  MappedBytes() = default;
  MappedBytes(std::span<const std::byte> bytes, std::shared_ptr<const void> owner, std::string content_type,
              std::string dtype, std::vector<std::uint64_t> shape)
      : bytes_(bytes),
        owner_(std::move(owner)),
        content_type_(std::move(content_type)),
        dtype_(std::move(dtype)),
        shape_(std::move(shape)) {}

  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
  [[nodiscard]] const std::string& content_type() const { return content_type_; }
  [[nodiscard]] const std::string& dtype() const { return dtype_; }  // "" = no array
  [[nodiscard]] const std::vector<std::uint64_t>& shape() const { return shape_; }
  // As an array, without a copy. Throws std::invalid_argument when it is none, or one of another type.
  template <typename T>
  [[nodiscard]] Array<const T> array() const {
    if (dtype_ != dtype_of<T>()) {
      throw std::invalid_argument("these bytes are " + (dtype_.empty() ? "no array" : "an array of " + dtype_) +
                                  ", not one of " + std::string(dtype_of<T>()));
    }
    return {{reinterpret_cast<const T*>(bytes_.data()), bytes_.size() / sizeof(T)}, shape_, owner_};
  }

 private:
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
  std::string content_type_;
  std::string dtype_;
  std::vector<std::uint64_t> shape_;
};

}  // namespace futured::client
