// RefusedStream: a streaming call that ends before it began.
#pragma once

#include <grpcpp/grpcpp.h>

#include "daemon/rpc/front.h"

namespace futured::rpc {

template <typename Response>
class RefusedStream final : public grpc::ServerWriteReactor<Response> {
 public:
  RefusedStream(grpc::CallbackServerContext& context, const Error& error) {
    add_retry_after(context, error);
    this->Finish(to_status(error));
  }
  void OnDone() override { delete this; }
};

}  // namespace futured::rpc
