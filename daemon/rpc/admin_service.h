// AdminService: service Admin of futured.v1.
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

}  // namespace futured::rpc
