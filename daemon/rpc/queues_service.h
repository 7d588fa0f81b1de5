// QueuesService: service Queues of futured.v1.
#pragma once

#include <grpcpp/grpcpp.h>

#include "daemon/rpc/front.h"
#include "futured/v1/futured.grpc.pb.h"

namespace futured::rpc {

class QueuesService final : public api::Queues::CallbackService {
 public:
  explicit QueuesService(Front& front) : front_(front) {}

  using Context = grpc::CallbackServerContext;
  grpc::ServerUnaryReactor* Create(Context* context, const api::CreateQueueRequest* request,
                                   api::Queue* response) override;
  grpc::ServerUnaryReactor* Get(Context* context, const api::GetQueueRequest* request, api::Queue* response) override;
  grpc::ServerUnaryReactor* List(Context* context, const api::ListQueuesRequest* request,
                                 api::ListQueuesResponse* response) override;
  grpc::ServerUnaryReactor* Pause(Context* context, const api::PauseQueueRequest* request,
                                  api::Queue* response) override;
  grpc::ServerUnaryReactor* Resume(Context* context, const api::ResumeQueueRequest* request,
                                   api::Queue* response) override;

  grpc::ServerUnaryReactor* Update(Context* context, const api::UpdateQueueRequest*, api::Queue*) override {
    return refuse_call(context, "Queues.Update");
  }
  grpc::ServerUnaryReactor* Drain(Context* context, const api::DrainQueueRequest*, api::Queue*) override {
    return refuse_call(context, "Queues.Drain");
  }
  grpc::ServerUnaryReactor* Purge(Context* context, const api::PurgeQueueRequest*, api::PurgeQueueResponse*) override {
    return refuse_call(context, "Queues.Purge");
  }
  grpc::ServerUnaryReactor* Move(Context* context, const api::MoveJobsRequest*, api::MoveJobsResponse*) override {
    return refuse_call(context, "Queues.Move");
  }
  grpc::ServerUnaryReactor* Delete(Context* context, const api::DeleteQueueRequest*,
                                   api::DeleteQueueResponse*) override {
    return refuse_call(context, "Queues.Delete");
  }

 private:
  grpc::ServerUnaryReactor* put(Context* context, event::PutQueue put, api::Queue* response);

  Front& front_;
};

}  // namespace futured::rpc
