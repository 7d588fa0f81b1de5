// SegmentClient: hands segments to the daemon, and takes segments and results from it, by descriptor.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/id.h"
#include "base/result.h"
#include "segment/memory.h"
#include "segment/socket_protocol.h"

namespace futured {

// A stretch of a segment that the daemon handed out. Map it with map_segment(); [begin, end) is what was asked for.
struct SegmentStretch {
  Segment segment;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::string content_type;
};

// One thread at a time. Every call waits for the daemon's reply, at most limits::kSegmentReplyMs. What a call refuses
// (quota, unknown id, no permission) leaves the connection usable; kUnavailable, kDeadlineExceeded and kDataLoss mean
// that it is not: connect again. Closing it gives up its shares in what was put; jobs that name a segment keep it.
class SegmentClient {
 public:
  // `grpc_socket_path` is the daemon's own socket; the segment socket lies beside it.
  [[nodiscard]] static Result<SegmentClient> connect(std::string_view grpc_socket_path);
  // Over a socket that is connected already.
  [[nodiscard]] static Result<SegmentClient> over(Fd socket);

  // Shares the segment with the daemon; the memory is not copied. kResourceExhausted: over the quota.
  [[nodiscard]] Result<SegmentId> put(const Segment& segment, std::string_view content_type);

  // Segments by id, in the order asked; all or none.
  [[nodiscard]] Result<std::vector<SegmentStretch>> get(std::span<const SegmentId> segments);

  // One part of a finished job's result.
  [[nodiscard]] Result<SegmentStretch> get_result(JobId job, std::uint32_t part);

  [[nodiscard]] Status drop(SegmentId segment);

 private:
  explicit SegmentClient(Fd socket) : socket_(std::move(socket)) {}

  struct Answer {
    segment_socket::Reply reply;
    std::vector<Fd> descriptors;
  };
  [[nodiscard]] Result<Answer> ask(segment_socket::Request request, std::span<const int> descriptors = {});
  [[nodiscard]] Result<std::vector<SegmentStretch>> ask_for_bytes(segment_socket::Request request, std::size_t count);

  Fd socket_;
  std::uint64_t next_tag_ = 1;
};

}  // namespace futured
