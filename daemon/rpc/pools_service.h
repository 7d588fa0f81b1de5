// PoolsService and WorkersService: services Pools and Workers of futured.v1.
#pragma once

#include <grpcpp/grpcpp.h>

#include "daemon/rpc/front.h"
#include "futured/v1/futured.grpc.pb.h"

namespace futured::rpc {

// Every pool of this daemon, as the configuration and the loop have it. Within Loop::look.
[[nodiscard]] std::vector<api::Pool> pools_of(const Front& front, const Loop& loop);

class PoolsService final : public api::Pools::CallbackService {
 public:
  explicit PoolsService(Front& front) : front_(front) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* List(Context* context, const api::ListPoolsRequest* request, api::ListPoolsResponse* response) override;
  Reactor* Get(Context* context, const api::GetPoolRequest* request, api::Pool* response) override;
  Reactor* Reload(Context* context, const api::ReloadPoolRequest* request, api::Pool* response) override;

  Reactor* Create(Context* context, const api::CreatePoolRequest*, api::Pool*) override {
    return refuse_call(context, "futured.v1.Pools/Create");
  }
  Reactor* Update(Context* context, const api::UpdatePoolRequest*, api::Pool*) override {
    return refuse_call(context, "futured.v1.Pools/Update");
  }
  Reactor* Delete(Context* context, const api::DeletePoolRequest*, api::DeletePoolResponse*) override {
    return refuse_call(context, "futured.v1.Pools/Delete");
  }

 private:
  // The pool as it is now, or that there is none.
  void give(const std::shared_ptr<Answer<api::Pool>>& answer, const std::string& name);

  Front& front_;
};

class WorkersService final : public api::Workers::CallbackService {
 public:
  explicit WorkersService(Front& front) : front_(front) {}

  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context, const api::ListWorkersRequest* request,
                                 api::ListWorkersResponse* response) override;

 private:
  Front& front_;
};

}  // namespace futured::rpc
