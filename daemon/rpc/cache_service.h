// CacheService: service Cache of futured.v1.
#pragma once

#include <grpcpp/grpcpp.h>

#include "daemon/rpc/front.h"
#include "futured/v1/futured.grpc.pb.h"

namespace futured::rpc {

class CacheService final : public api::Cache::CallbackService {
 public:
  explicit CacheService(Front& front) : front_(front) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* List(Context* context, const api::ListCacheRequest* request, api::ListCacheResponse* response) override;
  Reactor* Stats(Context* context, const api::CacheStatsRequest* request, api::CacheStats* response) override;
  Reactor* Clear(Context* context, const api::ClearCacheRequest* request, api::ClearCacheResponse* response) override;

 private:
  Front& front_;
};

}  // namespace futured::rpc
