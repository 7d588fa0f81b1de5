#include "daemon/rpc/unbuilt_service.h"

#include <google/protobuf/descriptor.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/server_interceptor.h>

#include <algorithm>
#include <string>

namespace futured::rpc {

namespace {

class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Refusal(std::string why) { Finish({grpc::StatusCode::UNIMPLEMENTED, std::move(why)}); }
  void OnDone() override { delete this; }
};

// "/futured.v1.Schedules/List" is a call of the API.
bool is_of_the_api(std::string method) {
  if (method.empty()) return false;
  method.erase(0, 1);
  std::ranges::replace(method, '/', '.');
  return google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(method) != nullptr;
}

class BadMessageMender final : public grpc::experimental::Interceptor {
 public:
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using Point = grpc::experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(Point::PRE_SEND_STATUS)) {
      const grpc::Status status = methods->GetSendStatus();
      if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED && status.error_message().empty()) {
        methods->ModifySendStatus(
            {grpc::StatusCode::INVALID_ARGUMENT,
             "the request is no message of this call: its bytes are damaged, or a text in it is not UTF-8"});
      }
    }
    methods->Proceed();
  }
};

class MenderFactory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  grpc::experimental::Interceptor* CreateServerInterceptor(grpc::experimental::ServerRpcInfo*) override {
    return new BadMessageMender;
  }
};

}  // namespace

grpc::ServerGenericBidiReactor* UnbuiltService::CreateReactor(grpc::GenericCallbackServerContext* context) {
  const std::string& method = context->method();
  const std::string name = method.substr(std::min<std::size_t>(1, method.size()));
  return new Refusal(is_of_the_api(method) ? name + ": this server cannot do that yet"
                                           : name + " is no call of this server");
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> make_bad_message_mender() {
  return std::make_unique<MenderFactory>();
}

}  // namespace futured::rpc
