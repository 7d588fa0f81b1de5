// UploadedArray: the bytes of one upload, message after message, checked, into the memory of a segment.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "daemon/store/digest.h"
#include "futured/v1/futured.pb.h"
#include "segment/compression.h"
#include "segment/memory.h"

namespace futured::rpc {

namespace api = futured::v1;

// What the first message of an upload says.
struct UploadTerms {
  std::uint64_t bytes = 0;
  std::string content_type;      // of its array; empty: it is none
  std::optional<Digest> digest;  // that the bytes must have
  bool is_compressed = false;
  bool is_durable = false;

  [[nodiscard]] static Result<UploadTerms> of(const api::UploadRequest& first);
};

// A later message carries data and nothing else.
[[nodiscard]] Status check_later(const api::UploadRequest& message);

// One thread at a time. After an error there is nothing to do but to drop it.
class UploadedArray {
 public:
  [[nodiscard]] static Result<UploadedArray> create(UploadTerms terms);
  // Memory for all that comes, some at a time, as gigabytes take a while. True: it is there, and add() may follow.
  [[nodiscard]] Result<bool> allocate() { return writer_.allocate(); }

  // One message. Compressed or not it gives at most limits::kPieceBytesMax.
  [[nodiscard]] Status add(std::string_view data);
  // Nothing more comes.
  [[nodiscard]] Result<Segment> finish() &&;

  [[nodiscard]] const UploadTerms& terms() const { return terms_; }

 private:
  UploadedArray(UploadTerms terms, SegmentWriter writer) : terms_(std::move(terms)), writer_(std::move(writer)) {}
  [[nodiscard]] Result<std::span<std::byte>> next(std::uint64_t bytes);

  UploadTerms terms_;
  SegmentWriter writer_;
  std::optional<Decompressor> decompressor_;
  std::optional<DigestOfPieces> digest_;  // of what came so far, if terms_ name one
  std::uint64_t filled_ = 0;
};

}  // namespace futured::rpc
