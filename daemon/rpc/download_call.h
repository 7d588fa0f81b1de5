// DownloadCall: the bytes of a slice of a segment, piece after piece.
#pragma once

#include <memory>

#include "daemon/rpc/streamed_answer.h"
#include "futured/v1/futured.pb.h"

namespace futured::rpc {

// The segment stays open until the call ends, also when it is let go meanwhile.
class DownloadCall final : public StreamedAnswer<api::DownloadResponse>,
                           public std::enable_shared_from_this<DownloadCall> {
 public:
  static grpc::ServerWriteReactor<api::DownloadResponse>* open(Front& front, grpc::CallbackServerContext* context,
                                                               const api::DownloadRequest& request);
  DownloadCall(Front& front, grpc::CallbackServerContext* context, Fd segment, std::uint64_t begin, std::uint64_t end)
      : StreamedAnswer(front, context), segment_(std::move(segment)), next_(begin), end_(end) {}

 private:
  void fetch(SegmentId id);
  void go_on();
  void send_next();
  void OnWriteDone(bool ok) override;

  Fd segment_;
  std::uint64_t next_;
  const std::uint64_t end_;
  api::DownloadResponse out_;
};

}  // namespace futured::rpc
