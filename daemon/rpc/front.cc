#include "daemon/rpc/front.h"

#include <grpc/grpc.h>

#include "base/limits.h"
#include "daemon/rpc/unknown_fields.h"

namespace futured::rpc {

grpc::Status to_status(const Error& error) {
  return {static_cast<grpc::StatusCode>(status_code(error.code)), error.message};
}

Error stopping_error() { return {ErrorCode::kUnavailable, "the daemon is stopping; connect again"}; }

Error busy_error() {
  return {ErrorCode::kResourceExhausted,
          "more than " + std::to_string(limits::kQuestionsMax) + " reads of the store wait; try again"};
}

void add_retry_after(grpc::CallbackServerContext& context, const Error& error) {
  if (error.code != ErrorCode::kResourceExhausted) return;
  context.AddTrailingMetadata("futured-retry-after-ms", std::to_string(limits::kRetryAfterMs));
}

void cut_call(grpc::CallbackServerContext& context, const Error& why) {
  grpc_call_cancel_with_status(context.c_call(), static_cast<grpc_status_code>(status_code(why.code)),
                               why.message.c_str(), nullptr);
}

grpc::ServerUnaryReactor* answer_now(grpc::CallbackServerContext* context, const Status& status) {
  auto* const reactor = context->DefaultReactor();
  if (!status.ok()) add_retry_after(*context, status.error());
  reactor->Finish(status.ok() ? grpc::Status::OK : to_status(status.error()));
  return reactor;
}

grpc::ServerUnaryReactor* refuse_unknown(grpc::CallbackServerContext* context,
                                         const google::protobuf::Message& request) {
  const Status known = check_known(request);
  return known.ok() ? nullptr : answer_now(context, known);
}

grpc::ServerUnaryReactor* refuse_call(grpc::CallbackServerContext* context, const char* call) {
  return answer_now(context, Error{ErrorCode::kUnimplemented, std::string(call) + ": this server cannot do that yet"});
}

}  // namespace futured::rpc
