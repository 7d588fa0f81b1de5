// QueuesService: service Queues of futured.v1.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "daemon/rpc/front.h"
#include "futured/v1/futured.grpc.pb.h"

namespace futured::rpc {

class QueuesService final : public api::Queues::CallbackService {
 public:
  explicit QueuesService(Front& front) : front_(front) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* Create(Context* context, const api::CreateQueueRequest* request, api::Queue* response) override;
  Reactor* Get(Context* context, const api::GetQueueRequest* request, api::Queue* response) override;
  Reactor* List(Context* context, const api::ListQueuesRequest* request, api::ListQueuesResponse* response) override;
  Reactor* Pause(Context* context, const api::PauseQueueRequest* request, api::Queue* response) override;
  Reactor* Resume(Context* context, const api::ResumeQueueRequest* request, api::Queue* response) override;

  Reactor* Update(Context* context, const api::UpdateQueueRequest* request, api::Queue* response) override;
  Reactor* Drain(Context* context, const api::DrainQueueRequest* request, api::Queue* response) override;
  Reactor* Purge(Context* context, const api::PurgeQueueRequest* request, api::PurgeQueueResponse* response) override;
  Reactor* Delete(Context* context, const api::DeleteQueueRequest* request,
                  api::DeleteQueueResponse* response) override;

  Reactor* Move(Context* context, const api::MoveJobsRequest* request, api::MoveJobsResponse* response) override;

 private:
  Reactor* put(Context* context, event::PutQueue put, api::Queue* response);
  static void tell(Front& front, const std::shared_ptr<Answer<api::Queue>>& answer, const std::string& name);

  Front& front_;
};

}  // namespace futured::rpc
