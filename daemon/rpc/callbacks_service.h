// CallbacksService: service Callbacks of futured.v1.
#pragma once

#include <grpcpp/grpcpp.h>

#include "daemon/rpc/front.h"
#include "futured/v1/callback.grpc.pb.h"

namespace futured::rpc {

class CallbacksService final : public api::Callbacks::CallbackService {
 public:
  explicit CallbacksService(Front& front) : front_(front) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* Register(Context* context, const api::RegisterCallbackRequest* request, api::Callback* response) override;
  Reactor* List(Context* context, const api::ListCallbacksRequest* request,
                api::ListCallbacksResponse* response) override;
  Reactor* Replay(Context* context, const api::ReplayCallbacksRequest* request,
                  api::ReplayCallbacksResponse* response) override;

 private:
  Front& front_;
};

}  // namespace futured::rpc
