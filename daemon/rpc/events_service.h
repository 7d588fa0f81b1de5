// EventsService: service Events of futured.v1.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>

#include "daemon/rpc/front.h"
#include "futured/v1/futured.grpc.pb.h"

namespace futured::rpc {

class EventsService final : public api::Events::CallbackService {
 public:
  explicit EventsService(Front& front) : front_(front) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* Set(Context* context, const api::SetEventRequest* request, api::NamedEvent* response) override;
  Reactor* Clear(Context* context, const api::ClearEventRequest* request, api::NamedEvent* response) override;
  Reactor* List(Context* context, const api::ListEventsRequest* request, api::ListEventsResponse* response) override;

 private:
  Reactor* put(Context* context, const std::string& name, bool is_set, api::NamedEvent* response);

  Front& front_;
};

}  // namespace futured::rpc
