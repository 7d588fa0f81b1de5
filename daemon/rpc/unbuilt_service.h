// UnbuiltService: every call that no other service takes. Names what was called; nothing is refused without a word.
#pragma once

#include <grpcpp/generic/async_generic_service.h>

#include <functional>
#include <memory>

#include "base/result.h"

namespace futured::rpc {

class UnbuiltService final : public grpc::CallbackGenericService {
 public:
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override;
};

// gRPC answers a request that it cannot parse as if nobody had built the call. This mends the answer.
[[nodiscard]] std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> make_bad_message_mender();

}  // namespace futured::rpc
