// Why a job is where it is, in one line.
#pragma once

#include "daemon/rpc/front.h"
#include "futured/v1/futured.pb.h"

namespace futured::rpc {

[[nodiscard]] grpc::ServerUnaryReactor* open_why(Front& front, grpc::CallbackServerContext* context,
                                                 const api::WhyRequest& request, api::WhyResponse* response);

}  // namespace futured::rpc
