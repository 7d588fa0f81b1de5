// SchedulesService: service Schedules of futured.v1.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>

#include "daemon/rpc/front.h"
#include "futured/v1/futured.grpc.pb.h"

namespace futured::rpc {

class SchedulesService final : public api::Schedules::CallbackService {
 public:
  explicit SchedulesService(Front& front) : front_(front) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* Put(Context* context, const api::PutScheduleRequest* request, api::Schedule* response) override;
  Reactor* Get(Context* context, const api::GetScheduleRequest* request, api::Schedule* response) override;
  Reactor* List(Context* context, const api::ListSchedulesRequest* request,
                api::ListSchedulesResponse* response) override;
  Reactor* Pause(Context* context, const api::PauseScheduleRequest* request, api::Schedule* response) override;
  Reactor* Resume(Context* context, const api::ResumeScheduleRequest* request, api::Schedule* response) override;
  Reactor* Delete(Context* context, const api::DeleteScheduleRequest* request,
                  api::DeleteScheduleResponse* response) override;
  Reactor* Next(Context* context, const api::NextFiringsRequest* request, api::NextFiringsResponse* response) override;

 private:
  Reactor* change(Context* context, const std::string& name, event::ChangeSchedule::What what, api::Schedule* response);

  Front& front_;
};

}  // namespace futured::rpc
