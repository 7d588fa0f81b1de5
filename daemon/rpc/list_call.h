// Lists of jobs, newest first.
#pragma once

#include "daemon/rpc/front.h"
#include "futured/v1/futured.pb.h"

namespace futured::rpc {

[[nodiscard]] grpc::ServerUnaryReactor* open_list(Front& front, grpc::CallbackServerContext* context,
                                                  const api::ListJobsRequest& request, api::ListJobsResponse* response);

}  // namespace futured::rpc
