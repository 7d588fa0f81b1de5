// AdminService and SegmentsService: services Admin and Segments of futured.v1.
#pragma once

#include <grpcpp/grpcpp.h>

#include "daemon/rpc/front.h"
#include "futured/v1/futured.grpc.pb.h"

namespace futured::rpc {

class AdminService final : public api::Admin::CallbackService {
 public:
  explicit AdminService(Front& front) : front_(front) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* Info(Context* context, const api::InfoRequest* request, api::InfoResponse* response) override;
  Reactor* Stats(Context* context, const api::StatsRequest* request, api::StatsResponse* response) override;
  Reactor* Debug(Context* context, const api::DebugRequest* request, api::DebugResponse* response) override;
  Reactor* Shutdown(Context* context, const api::ShutdownRequest* request, api::ShutdownResponse* response) override;

 private:
  Front& front_;
};

// What lies in the table of segments. They are handed over, taken and dropped through the segment socket.
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
