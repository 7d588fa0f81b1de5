#include "segment/compression.h"

#include <zstd.h>

#include <string>

namespace futured {

namespace {

Error no_memory() { return {ErrorCode::kResourceExhausted, "zstd has no memory to work with"}; }

}  // namespace

std::size_t frame_bytes_max(std::size_t block_bytes) { return ZSTD_compressBound(block_bytes); }

Result<std::uint64_t> frame_content_bytes(std::span<const std::byte> frame) {
  const unsigned long long bytes = ZSTD_getFrameContentSize(frame.data(), frame.size());
  if (bytes == ZSTD_CONTENTSIZE_ERROR) return Error{ErrorCode::kDataLoss, "zstd: this is no frame"};
  if (bytes == ZSTD_CONTENTSIZE_UNKNOWN) return Error{ErrorCode::kDataLoss, "zstd: a frame does not say its size"};
  return std::uint64_t{bytes};
}

Result<std::size_t> frame_bytes(std::span<const std::byte> bytes) {
  const std::size_t size = ZSTD_findFrameCompressedSize(bytes.data(), bytes.size());
  if (ZSTD_isError(size) != 0) return Error{ErrorCode::kDataLoss, std::string("zstd: ") + ZSTD_getErrorName(size)};
  return size;
}

void Compressor::Free::operator()(void* context) const { ZSTD_freeCCtx(static_cast<ZSTD_CCtx*>(context)); }

Result<Compressor> Compressor::make(int level) {
  if (level < 1 || level > kCompressionLevelMax) {
    return Error{ErrorCode::kInvalidArgument, "compression level " + std::to_string(level) + " is not between 1 and " +
                                                  std::to_string(kCompressionLevelMax)};
  }
  Compressor made;
  ZSTD_CCtx* const context = ZSTD_createCCtx();
  made.context_.reset(context);
  if (context == nullptr) return no_memory();
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  return made;
}

Result<std::span<const std::byte>> Compressor::compress(std::span<const std::byte> block) {
  if (frame_.size() < frame_bytes_max(block.size())) frame_.resize(frame_bytes_max(block.size()));
  const std::size_t bytes =
      ZSTD_compress2(static_cast<ZSTD_CCtx*>(context_.get()), frame_.data(), frame_.size(), block.data(), block.size());
  if (ZSTD_isError(bytes) != 0) return Error{ErrorCode::kInternal, std::string("zstd: ") + ZSTD_getErrorName(bytes)};
  return std::span<const std::byte>(frame_).first(bytes);
}

void Decompressor::Free::operator()(void* context) const { ZSTD_freeDCtx(static_cast<ZSTD_DCtx*>(context)); }

Result<Decompressor> Decompressor::make() {
  Decompressor made;
  made.context_.reset(ZSTD_createDCtx());
  if (made.context_ == nullptr) return no_memory();
  return made;
}

Status Decompressor::decompress(std::span<const std::byte> frame, std::span<std::byte> out) {
  const std::size_t bytes =
      ZSTD_decompressDCtx(static_cast<ZSTD_DCtx*>(context_.get()), out.data(), out.size(), frame.data(), frame.size());
  if (ZSTD_isError(bytes) != 0) return Error{ErrorCode::kDataLoss, std::string("zstd: ") + ZSTD_getErrorName(bytes)};
  if (bytes == out.size()) return {};
  return Error{ErrorCode::kDataLoss,
               "a frame gives " + std::to_string(bytes) + " bytes instead of " + std::to_string(out.size())};
}

}  // namespace futured
