// Watching changes of state, across broken connections and restarts of the daemon.
#include <exception>
#include <utility>

#include "client/cpp/client_state.h"
#include "futured/client.h"

namespace futured::client {

namespace {

api::WatchRequest to_request(const WatchOptions& options) {
  api::WatchRequest request;
  request.set_epoch(options.epoch);
  request.set_sequence(options.sequence);
  request.set_from_start(options.from_start);
  request.set_progress(options.progress);
  request.set_heartbeats(options.heartbeats);
  request.set_queues(options.queues);
  request.set_workers(options.workers);
  to_filter(options.filter, *request.mutable_filter());
  add_ranges(options.ids, *request.mutable_filter()->mutable_ids());
  return request;
}

JobEvent from_event(const api::JobEvent& job) {
  JobEvent out{.id = job.id(),
               .state = static_cast<JobState>(job.state()),
               .attempt = job.attempt(),
               .queue = job.queue(),
               .task = job.task(),
               .name = job.name(),
               .owner_uid = job.owner_uid(),
               .cause = from_cause(job.cause()),
               .report = {},
               .heartbeat = {}};
  if (job.alive_us() != 0) out.heartbeat = {job.attempt(), job.alive_us()};
  if (job.reported()) out.report = {job.attempt(), job.progress(), job.progress_message()};
  return out;
}

QueueEvent from_event(const api::QueueEvent& event) {
  const QueueInfo queue = from_queue(event.queue());
  return {.queue = queue.name, .discipline = queue.discipline, .paused = queue.paused};
}

WorkerEvent from_event(const api::WorkerEvent& event) {
  const api::Worker& worker = event.worker();
  return {.pool = worker.pool(),
          .slot = worker.slot(),
          .generation = worker.generation(),
          .pid = worker.pid(),
          .ended = event.ended(),
          .exit_code = event.exit_code(),
          .signal = event.signal()};
}

// Unset for a kind that a later server sends.
std::optional<Event> from_event(const api::Event& event) {
  Event out{.epoch = event.epoch(), .sequence = event.sequence(), .time_us = event.time_us(), .gap = false, .what = {}};
  switch (event.what_case()) {
    case api::Event::kJob:
      out.what = from_event(event.job());
      return out;
    case api::Event::kQueue:
      out.what = from_event(event.queue());
      return out;
    case api::Event::kWorker:
      out.what = from_event(event.worker());
      return out;
    case api::Event::WHAT_NOT_SET:
      break;
  }
  return std::nullopt;
}

}  // namespace

void Client::watch(const WatchOptions& options, const std::function<bool(const Event&)>& sink,
                   const std::function<void()>& ready, const std::function<void()>& caught_up) const {
  api::WatchRequest request = to_request(options);
  std::exception_ptr problem;  // of the caller's functions: the call must be ended before anybody hears of it
  bool told_ready = false;
  bool told_caught_up = false;
  const auto hand_over = [&](const api::WatchResponse& answer) {
    try {
      if (!std::exchange(told_ready, true) && ready) ready();
      bool gap = answer.gap();
      request.clear_from_start();  // what comes next goes on behind this
      for (const api::Event& event : answer.events()) {
        auto told = from_event(event);
        if (!told) continue;
        told->gap = std::exchange(gap, false);
        request.set_epoch(event.epoch());
        request.set_sequence(event.sequence());
        if (!sink(*told)) return false;
      }
      request.set_epoch(answer.epoch());
      request.set_sequence(answer.sequence());
      // Told at once: what is waited for may be among what is gone, and then no event would ever come.
      if (gap && !sink({.epoch = answer.epoch(), .sequence = answer.sequence(), .gap = true})) return false;
      if (answer.caught_up() && !std::exchange(told_caught_up, true) && caught_up) caught_up();
      return true;
    } catch (...) {
      problem = std::current_exception();
      return false;
    }
  };
  const auto watch = [&](grpc::ClientContext& context) {
    const auto reader = state_->jobs->Watch(&context, request);
    api::WatchResponse answer;
    while (reader->Read(&answer)) {
      if (hand_over(answer)) continue;
      context.TryCancel();
      static_cast<void>(reader->Finish());
      return grpc::Status::OK;
    }
    return reader->Finish();
  };
  state_->call(watch, true);
  if (problem) std::rethrow_exception(problem);
}

}  // namespace futured::client
