#include "daemon/rpc/call_timer.h"

#include <string>
#include <utility>

namespace futured::rpc {

namespace {

class CallTimer final : public grpc::experimental::Interceptor {
 public:
  CallTimer(std::string method, LoopGauge& gauge) : method_(std::move(method)), gauge_(gauge) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using Point = grpc::experimental::InterceptionHookPoints;
    if (!methods->QueryInterceptionHookPoint(Point::POST_RECV_INITIAL_METADATA)) return methods->Proceed();
    // The handler runs inside Proceed(), and the call may have ended when that returns, and this with it.
    const std::string method = std::move(method_);
    LoopGauge& gauge = gauge_;
    const Instant began = monotonic_now();
    methods->Proceed();
    gauge.ran(method, began, monotonic_now());
  }

 private:
  std::string method_;
  LoopGauge& gauge_;
};

class TimerFactory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit TimerFactory(LoopGauge& gauge) : gauge_(gauge) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(grpc::experimental::ServerRpcInfo* call) override {
    return new CallTimer(call->method(), gauge_);
  }

 private:
  LoopGauge& gauge_;
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> make_call_timer(LoopGauge& gauge) {
  return std::make_unique<TimerFactory>(gauge);
}

}  // namespace futured::rpc
