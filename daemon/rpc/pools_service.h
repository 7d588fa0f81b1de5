// PoolsService and WorkersService: what runs jobs here, as futured.v1 tells it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <vector>

#include "daemon/rpc/front.h"
#include "futured/v1/futured.grpc.pb.h"

namespace futured::rpc {

// Within Loop::look.
[[nodiscard]] std::vector<api::Pool> pools_of(const Front& front, const Loop& loop);

class PoolsService final : public api::Pools::CallbackService {
 public:
  explicit PoolsService(Front& front) : front_(front) {}

  using Context = grpc::CallbackServerContext;
  grpc::ServerUnaryReactor* List(Context* context, const api::ListPoolsRequest* request,
                                 api::ListPoolsResponse* response) override;
  grpc::ServerUnaryReactor* Get(Context* context, const api::GetPoolRequest* request, api::Pool* response) override;

  grpc::ServerUnaryReactor* Create(Context* context, const api::CreatePoolRequest*, api::Pool*) override {
    return refuse_call(context, "Pools.Create");
  }
  grpc::ServerUnaryReactor* Update(Context* context, const api::UpdatePoolRequest*, api::Pool*) override {
    return refuse_call(context, "Pools.Update");
  }
  grpc::ServerUnaryReactor* Reload(Context* context, const api::ReloadPoolRequest*, api::Pool*) override {
    return refuse_call(context, "Pools.Reload");
  }
  grpc::ServerUnaryReactor* Delete(Context* context, const api::DeletePoolRequest*, api::DeletePoolResponse*) override {
    return refuse_call(context, "Pools.Delete");
  }

 private:
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
