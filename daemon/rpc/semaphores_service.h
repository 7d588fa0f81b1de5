// SemaphoresService: service Semaphores of futured.v1.
#pragma once

#include <grpcpp/grpcpp.h>

#include "daemon/rpc/front.h"
#include "futured/v1/futured.grpc.pb.h"

namespace futured::rpc {

class SemaphoresService final : public api::Semaphores::CallbackService {
 public:
  explicit SemaphoresService(Front& front) : front_(front) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* Set(Context* context, const api::SetSemaphoreRequest* request, api::Semaphore* response) override;
  Reactor* List(Context* context, const api::ListSemaphoresRequest* request,
                api::ListSemaphoresResponse* response) override;
  Reactor* Delete(Context* context, const api::DeleteSemaphoreRequest* request,
                  api::DeleteSemaphoreResponse* response) override;

 private:
  Front& front_;
};

}  // namespace futured::rpc
