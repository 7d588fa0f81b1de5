// SegmentsService: service Segments of futured.v1.
#pragma once

#include <grpcpp/grpcpp.h>

#include "daemon/rpc/front.h"
#include "futured/v1/futured.grpc.pb.h"

namespace futured::rpc {

void to_api(const SegmentFacts& facts, api::Segment& out);
void to_api(const SentContent& content, api::Segment& out);

// Lets go of a durable upload. Its file goes when no job needs it.
Status release_sent(Front& front, std::uint32_t who, SegmentId id);
// Of all that nobody has asked for in SentContents::kUnused.
void forget_unused_sent(Front& front);

// What lies in the table of segments. On the daemon's machine the segment socket hands it over without a copy.
class SegmentsService final : public api::Segments::CallbackService {
 public:
  explicit SegmentsService(Front& front) : front_(front) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* Get(Context* context, const api::GetSegmentRequest* request, api::Segment* response) override;
  Reactor* List(Context* context, const api::ListSegmentsRequest* request,
                api::ListSegmentsResponse* response) override;
  Reactor* Release(Context* context, const api::ReleaseSegmentRequest* request,
                   api::ReleaseSegmentResponse* response) override;
  grpc::ServerReadReactor<api::UploadRequest>* Upload(Context* context, api::Segment* response) override;
  grpc::ServerWriteReactor<api::DownloadResponse>* Download(Context* context,
                                                            const api::DownloadRequest* request) override;

 private:
  Front& front_;
};

}  // namespace futured::rpc
