// BytesSource: the bytes of one part of a result, wherever they lie.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/payload.h"
#include "base/result.h"
#include "daemon/pool/segment_table.h"
#include "daemon/rpc/captured_output.h"

namespace futured::rpc {

class BytesSource {
 public:
  // `part` is a view into bytes that outlive the source. kNotFound: its segment is gone; kDataLoss: its file is, or the
  // store has it no more.
  [[nodiscard]] static Result<BytesSource> of(const Part& part, SegmentTable& segments,
                                              const std::string& spool_directory);

  [[nodiscard]] std::uint64_t size() const { return size_; }
  // Replaces `into` by `count` bytes from `offset` on, which must lie within.
  [[nodiscard]] Status read(std::uint64_t offset, std::size_t count, std::string& into) const;

 private:
  std::string_view bytes_;
  Fd file_;  // open: they lie in it, from `begin_` on
  std::uint64_t begin_ = 0;
  std::uint64_t size_ = 0;
};

}  // namespace futured::rpc
