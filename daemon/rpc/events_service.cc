#include "daemon/rpc/events_service.h"

#include <algorithm>
#include <utility>

namespace futured::rpc {

namespace {

void fill(const NamedEventFigures& figures, api::NamedEvent& out) {
  out.set_name(figures.name);
  out.set_set(figures.is_set);
  out.set_changed_us(figures.changed_at.us);
  out.set_waiting_jobs(figures.waiting_jobs);
}

}  // namespace

// The answer is the event as it stands when the change is on disk.
grpc::ServerUnaryReactor* EventsService::put(Context* context, const std::string& name, bool is_set,
                                             api::NamedEvent* response) {
  if (const Status sound = check_name(name, "name"); !sound.ok()) return answer_now(context, sound);
  auto answer = Answer<api::NamedEvent>::open(front_, context, response);
  front_.loop.put_event({.name = name, .is_set = is_set}, [&front = front_, answer, name](const Status& done) {
    if (!done.ok()) return front.pump.post([answer, error = done.error()] { answer->refuse(error); });
    front.loop.look([&front, answer, name](const Loop& loop) {
      const std::vector<NamedEventFigures> all = loop.scheduler().named_events();
      const auto found = std::ranges::find(all, name, &NamedEventFigures::name);
      // One that is not set, and that nobody waits for, is not kept.
      const NamedEventFigures figures = found != all.end() ? *found : NamedEventFigures{.name = name};
      front.pump.post([answer, figures] { answer->give([&](api::NamedEvent& out) { fill(figures, out); }); });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* EventsService::Set(Context* context, const api::SetEventRequest* request,
                                             api::NamedEvent* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  return put(context, request->name(), /*is_set=*/true, response);
}

grpc::ServerUnaryReactor* EventsService::Clear(Context* context, const api::ClearEventRequest* request,
                                               api::NamedEvent* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  return put(context, request->name(), /*is_set=*/false, response);
}

grpc::ServerUnaryReactor* EventsService::List(Context* context, const api::ListEventsRequest* request,
                                              api::ListEventsResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::ListEventsResponse>::open(front_, context, response);
  front_.loop.look([&front = front_, answer](const Loop& loop) {
    front.pump.post([answer, all = loop.scheduler().named_events()] {
      answer->give([&](api::ListEventsResponse& out) {
        for (const NamedEventFigures& figures : all) fill(figures, *out.add_events());
      });
    });
  });
  return answer->reactor();
}

}  // namespace futured::rpc
