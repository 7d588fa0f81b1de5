#include "daemon/rpc/schedules_service.h"

#include <utility>
#include <vector>

#include "base/limits.h"
#include "daemon/loop/zone_files.h"
#include "daemon/rpc/convert_schedule.h"
#include "daemon/rpc/unknown_fields.h"

namespace futured::rpc {

namespace {

constexpr std::uint32_t kFiringsDefault = 10;

using ScheduleAnswer = std::shared_ptr<Answer<api::Schedule>>;

// As it stands now; by its name, for it may have changed again or be gone.
void answer_with(Front& front, const ScheduleAnswer& answer, const std::string& name) {
  front.loop.look([&front, answer, name](const Loop& loop) {
    front.pump.post([answer, name, view = loop.scheduler().schedule(name)] {
      if (!view) return answer->refuse({ErrorCode::kNotFound, "no schedule \"" + name + "\""});
      answer->give([&](api::Schedule& out) { to_api(*view, out); });
    });
  });
}

ScheduleReply reply_of(Front& front, const ScheduleAnswer& answer) {
  return [&front, answer](const Result<ScheduleRow>& row) {
    if (!row.ok()) return front.pump.post([answer, error = row.error()] { answer->refuse(error); });
    answer_with(front, answer, row->name);
  };
}

}  // namespace

grpc::ServerUnaryReactor* SchedulesService::Put(Context* context, const api::PutScheduleRequest* request,
                                                api::Schedule* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto put = to_put(request->schedule(), front_.setup.callback_names);
  if (!put.ok()) return answer_now(context, put.error());
  auto zone = load_zone(put->row.zone);
  if (!zone.ok()) return answer_now(context, invalid("schedule.time_zone", zone.error().message));
  put->zone = *std::move(zone);
  put->who = front_.who(*context);
  auto answer = Answer<api::Schedule>::open(front_, context, response);
  front_.loop.put_schedule(*std::move(put), reply_of(front_, answer));
  return answer->reactor();
}

grpc::ServerUnaryReactor* SchedulesService::change(Context* context, const std::string& name,
                                                   event::ChangeSchedule::What what, api::Schedule* response) {
  auto answer = Answer<api::Schedule>::open(front_, context, response);
  front_.loop.change_schedule({.who = front_.who(*context), .name = name, .what = what}, reply_of(front_, answer));
  return answer->reactor();
}

grpc::ServerUnaryReactor* SchedulesService::Pause(Context* context, const api::PauseScheduleRequest* request,
                                                  api::Schedule* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  return change(context, request->name(), event::ChangeSchedule::What::kPause, response);
}

grpc::ServerUnaryReactor* SchedulesService::Resume(Context* context, const api::ResumeScheduleRequest* request,
                                                   api::Schedule* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  return change(context, request->name(), event::ChangeSchedule::What::kResume, response);
}

grpc::ServerUnaryReactor* SchedulesService::Delete(Context* context, const api::DeleteScheduleRequest* request,
                                                   api::DeleteScheduleResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::DeleteScheduleResponse>::open(front_, context, response);
  front_.loop.change_schedule(
      {.who = front_.who(*context), .name = request->name(), .what = event::ChangeSchedule::What::kDelete},
      [&front = front_, answer](const Result<ScheduleRow>& row) {
        front.pump.post([answer, row] {
          if (!row.ok()) return answer->refuse(row.error());
          answer->give([](api::DeleteScheduleResponse&) {});
        });
      });
  return answer->reactor();
}

grpc::ServerUnaryReactor* SchedulesService::Get(Context* context, const api::GetScheduleRequest* request,
                                                api::Schedule* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::Schedule>::open(front_, context, response);
  answer_with(front_, answer, request->name());
  return answer->reactor();
}

// Without their payloads beyond what one message may hold: those of the last are then left out.
grpc::ServerUnaryReactor* SchedulesService::List(Context* context, const api::ListSchedulesRequest* request,
                                                 api::ListSchedulesResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::ListSchedulesResponse>::open(front_, context, response);
  front_.loop.look([&front = front_, answer](const Loop& loop) {
    front.pump.post([answer, views = loop.scheduler().schedules(limits::kAnswerBytesMax)] {
      answer->give([&](api::ListSchedulesResponse& out) {
        std::size_t bytes = 0;
        for (const ScheduleView& view : views) {
          api::Schedule& schedule = *out.add_schedules();
          to_api(view, schedule);
          bytes += schedule.item().ByteSizeLong();
          if (bytes > limits::kAnswerBytesMax || !view.has_payload) schedule.clear_item();
        }
      });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* SchedulesService::Next(Context* context, const api::NextFiringsRequest* request,
                                                 api::NextFiringsResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  if (request->count() > limits::kNextFiringsMax) {
    return answer_now(context, too_much("count", std::to_string(request->count()) + " is over " +
                                                     std::to_string(limits::kNextFiringsMax)));
  }
  const std::uint32_t count = request->count() != 0 ? request->count() : kFiringsDefault;
  auto answer = Answer<api::NextFiringsResponse>::open(front_, context, response);
  front_.loop.look([&front = front_, answer, name = request->name(), count](const Loop& loop) {
    front.pump.post([answer, times = loop.scheduler().next_firings(name, count, wall_now())] {
      if (!times.ok()) return answer->refuse(times.error());
      answer->give([&](api::NextFiringsResponse& out) {
        for (const WallTime time : *times) out.add_firings_us(time.us);
      });
    });
  });
  return answer->reactor();
}

}  // namespace futured::rpc
