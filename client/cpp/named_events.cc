// Named events: what jobs wait for, and somebody sets.
#include "client/cpp/client_state.h"
#include "futured/client.h"

namespace futured::client {

namespace {

NamedEventInfo from_event(const api::NamedEvent& event) {
  return {event.name(), event.set(), event.changed_us(), event.waiting_jobs()};
}

}  // namespace

NamedEventInfo Client::set_event(const std::string& name) const {
  api::SetEventRequest request;
  request.set_name(name);
  api::NamedEvent event;
  state_->call([&](grpc::ClientContext& context) { return state_->named_events->Set(&context, request, &event); },
               true);
  return from_event(event);
}

NamedEventInfo Client::clear_event(const std::string& name) const {
  api::ClearEventRequest request;
  request.set_name(name);
  api::NamedEvent event;
  state_->call([&](grpc::ClientContext& context) { return state_->named_events->Clear(&context, request, &event); },
               true);
  return from_event(event);
}

std::vector<NamedEventInfo> Client::named_events() const {
  const api::ListEventsRequest request;
  api::ListEventsResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->named_events->List(&context, request, &response); },
               true);
  std::vector<NamedEventInfo> events;
  for (const api::NamedEvent& event : response.events()) events.push_back(from_event(event));
  return events;
}

}  // namespace futured::client
