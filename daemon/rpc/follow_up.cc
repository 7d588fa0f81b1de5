#include "daemon/rpc/follow_up.h"

#include "base/command.h"
#include "base/limits.h"
#include "base/payload.h"
#include "daemon/rpc/bytes_source.h"
#include "daemon/rpc/captured_output.h"

namespace futured::rpc {

Result<std::string> follow_up_payload(const std::string& result, SegmentTable& segments,
                                      const std::string& spool_directory) {
  const auto parts = decode_parts(result);
  if (!parts.ok()) return parts.error();
  std::string payload;
  std::uint64_t inline_bytes = 0;
  const auto add_size = [&inline_bytes](std::uint64_t bytes) -> Status {
    inline_bytes += bytes;
    if (inline_bytes <= limits::kPayloadBytesMax) return {};
    return Error{ErrorCode::kFailedPrecondition,
                 "the result has over " + std::to_string(limits::kPayloadBytesMax) + " bytes, too many for a payload"};
  };
  for (Part part : *parts) {
    if (is_beside_result(part)) continue;
    if (part.kind == PartKind::kLost) {
      return Error{ErrorCode::kDataLoss, "RESULT_LOST: " + std::string(part.bytes)};
    }
    std::string from_file;
    if (const auto output = captured_output(part)) {
      if (output->dropped > 0) {
        return Error{ErrorCode::kFailedPrecondition,
                     "of an output of " + std::to_string(output->total) + " bytes only some were kept"};
      }
      if (const Status fits = add_size(output->kept()); !fits.ok()) return fits.error();
      auto source = BytesSource::of(part, segments, spool_directory);
      if (!source.ok()) return source.error();
      const Status read = source->read(0, output->kept(), from_file);
      if (!read.ok()) return read.error();
      part.content_type = output->stream == OutputStream::kStdout ? kStdoutType : kStderrType;
      part.bytes = from_file;
    } else if (part.kind == PartKind::kInline) {
      if (const Status fits = add_size(part.bytes.size()); !fits.ok()) return fits.error();
    }
    append_part(payload, part);
  }
  return payload;
}

}  // namespace futured::rpc
