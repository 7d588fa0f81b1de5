// zstd: one block of bytes to one frame and back. The only place that knows the library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"

namespace futured {

inline constexpr int kCompressionLevelMax = 22;  // zstd's own; from 20 on it takes hundreds of MiB

// What a frame of so many bytes takes at most.
[[nodiscard]] std::size_t frame_bytes_max(std::size_t block_bytes);

// What a frame says that it gives; nobody has checked it. kDataLoss: this is no frame, or it does not say.
[[nodiscard]] Result<std::uint64_t> frame_content_bytes(std::span<const std::byte> frame);

// How long the frame is that these bytes begin with. kDataLoss: they begin with none, or end within it.
[[nodiscard]] Result<std::size_t> frame_bytes(std::span<const std::byte> bytes);

// For one thread, block after block: the library's memory is allocated once.
class Compressor {
 public:
  // 1 to kCompressionLevelMax.
  [[nodiscard]] static Result<Compressor> make(int level);

  // A frame with a checksum of its content; valid until the next call.
  [[nodiscard]] Result<std::span<const std::byte>> compress(std::span<const std::byte> block);

 private:
  struct Free {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Free> context_;
  std::vector<std::byte> frame_;
};

class Decompressor {
 public:
  [[nodiscard]] static Result<Decompressor> make();

  // A frame, which nobody has checked, must give exactly out.size() bytes; else kDataLoss.
  [[nodiscard]] Status decompress(std::span<const std::byte> frame, std::span<std::byte> out);

 private:
  struct Free {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Free> context_;
};

}  // namespace futured
