// The time that gRPC's own thread spends in the beginning of each call.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "base/loop_gauge.h"

namespace futured::rpc {

// A turn of `gauge` is the handler of one call: all of a unary call that is answered at once, of others what comes
// before they wait. It cannot lag, as nobody tells since when a call is there; what a stream reads later is not seen.
// `gauge` outlives the server.
[[nodiscard]] std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> make_call_timer(LoopGauge& gauge);

}  // namespace futured::rpc
