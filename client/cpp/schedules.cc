#include <utility>

#include "client/cpp/client_state.h"
#include "futured/client.h"

namespace futured::client {

namespace {

api::Schedule to_schedule(const Schedule& schedule) {
  api::Schedule out;
  out.set_name(schedule.name);
  out.set_cron(schedule.cron);
  out.set_every_ms(schedule.every.count());
  out.set_time_zone(schedule.time_zone);
  out.set_catch_up(static_cast<api::CatchUpPolicy>(schedule.catch_up));
  out.set_catch_up_max(schedule.catch_up_max);
  out.set_overlap(static_cast<api::OverlapPolicy>(schedule.overlap));
  out.set_jitter_ms(schedule.jitter.count());
  out.set_paused(schedule.paused);
  *out.mutable_spec() = to_spec(schedule.job, schedule.task);
  if (schedule.task.empty()) {
    to_command(schedule.command, *out.mutable_item()->mutable_command());
  } else {
    out.mutable_item();
    for (const Part& part : schedule.payload) to_part(part, *out.mutable_item()->add_parts());
  }
  return out;
}

// A policy of a daemon that is newer than this is told as its number says, which no reader takes for one it knows.
Schedule from_schedule(const api::Schedule& schedule) {
  Schedule out;
  out.name = schedule.name();
  out.cron = schedule.cron();
  out.every = Milliseconds(schedule.every_ms());
  out.time_zone = schedule.time_zone();
  out.catch_up = static_cast<CatchUp>(schedule.catch_up());
  out.catch_up_max = schedule.catch_up_max();
  out.overlap = static_cast<Overlap>(schedule.overlap());
  out.jitter = Milliseconds(schedule.jitter_ms());
  out.paused = schedule.paused();
  out.queue = schedule.spec().queue();
  out.task = schedule.spec().task();
  for (const api::Part& part : schedule.item().parts()) out.payload.push_back(from_part(api::Part(part)));
  const api::Command& command = schedule.item().command();
  out.command.argv.assign(command.argv().begin(), command.argv().end());
  out.command.cwd = command.cwd();
  out.last_us = schedule.last_us();
  out.last_job_id = schedule.last_job_id();
  out.next_us = schedule.next_us();
  return out;
}

}  // namespace

Schedule Client::put_schedule(const Schedule& schedule) const {
  api::PutScheduleRequest request;
  *request.mutable_schedule() = to_schedule(schedule);
  api::Schedule out;
  state_->call([&](grpc::ClientContext& context) { return state_->schedules->Put(&context, request, &out); }, false);
  return from_schedule(out);
}

Schedule Client::schedule(const std::string& name) const {
  api::GetScheduleRequest request;
  request.set_name(name);
  api::Schedule out;
  state_->call([&](grpc::ClientContext& context) { return state_->schedules->Get(&context, request, &out); }, true);
  return from_schedule(out);
}

std::vector<Schedule> Client::schedules() const {
  const api::ListSchedulesRequest request;
  api::ListSchedulesResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->schedules->List(&context, request, &response); },
               true);
  std::vector<Schedule> schedules;
  for (const api::Schedule& schedule : response.schedules()) schedules.push_back(from_schedule(schedule));
  return schedules;
}

Schedule Client::pause_schedule(const std::string& name) const {
  api::PauseScheduleRequest request;
  request.set_name(name);
  api::Schedule out;
  state_->call([&](grpc::ClientContext& context) { return state_->schedules->Pause(&context, request, &out); }, true);
  return from_schedule(out);
}

Schedule Client::resume_schedule(const std::string& name) const {
  api::ResumeScheduleRequest request;
  request.set_name(name);
  api::Schedule out;
  state_->call([&](grpc::ClientContext& context) { return state_->schedules->Resume(&context, request, &out); }, true);
  return from_schedule(out);
}

void Client::delete_schedule(const std::string& name) const {
  api::DeleteScheduleRequest request;
  request.set_name(name);
  api::DeleteScheduleResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->schedules->Delete(&context, request, &response); },
               false);
}

std::vector<std::int64_t> Client::next_firings(const std::string& name, std::uint32_t count) const {
  api::NextFiringsRequest request;
  request.set_name(name);
  request.set_count(count);
  api::NextFiringsResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->schedules->Next(&context, request, &response); },
               true);
  return {response.firings_us().begin(), response.firings_us().end()};
}

}  // namespace futured::client
