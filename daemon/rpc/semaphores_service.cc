#include "daemon/rpc/semaphores_service.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"

namespace futured::rpc {

namespace {

void fill(const SemaphoreFigures& figures, api::Semaphore& out) {
  out.set_name(figures.name);
  out.set_permits(figures.permits);
  out.set_held(static_cast<std::uint32_t>(std::min<std::uint64_t>(figures.held, UINT32_MAX)));
  out.set_waiting_jobs(static_cast<std::uint32_t>(std::min<std::uint64_t>(figures.waiting_jobs, UINT32_MAX)));
}

}  // namespace

// The answer is the semaphore as it stands when the change is on disk.
grpc::ServerUnaryReactor* SemaphoresService::Set(Context* context, const api::SetSemaphoreRequest* request,
                                                 api::Semaphore* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  if (const Status sound = check_name(request->name(), "name"); !sound.ok()) return answer_now(context, sound);
  if (request->permits() == 0) {
    return answer_now(context, invalid("permits", "0 would let no job that needs it run; pause its queue instead"));
  }
  if (request->permits() > limits::kPermitsMax) {
    return answer_now(context, too_much("permits", std::to_string(request->permits()) + " is over " +
                                                       std::to_string(limits::kPermitsMax)));
  }
  auto answer = Answer<api::Semaphore>::open(front_, context, response);
  const SemaphoreFigures wanted{request->name(), request->permits()};
  front_.loop.put_semaphore(
      {.name = request->name(), .permits = request->permits()}, [&front = front_, answer, wanted](const Status& done) {
        if (!done.ok()) return front.pump.post([answer, error = done.error()] { answer->refuse(error); });
        front.loop.look([&front, answer, wanted](const Loop& loop) {
          const std::vector<SemaphoreFigures> all = loop.scheduler().semaphores();
          const auto found = std::ranges::find(all, wanted.name, &SemaphoreFigures::name);
          const SemaphoreFigures figures = found != all.end() ? *found : wanted;  // removed since
          front.pump.post([answer, figures] { answer->give([&](api::Semaphore& out) { fill(figures, out); }); });
        });
      });
  return answer->reactor();
}

grpc::ServerUnaryReactor* SemaphoresService::List(Context* context, const api::ListSemaphoresRequest* request,
                                                  api::ListSemaphoresResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::ListSemaphoresResponse>::open(front_, context, response);
  front_.loop.look([&front = front_, answer](const Loop& loop) {
    front.pump.post([answer, all = loop.scheduler().semaphores()] {
      answer->give([&](api::ListSemaphoresResponse& out) {
        for (const SemaphoreFigures& figures : all) fill(figures, *out.add_semaphores());
      });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* SemaphoresService::Delete(Context* context, const api::DeleteSemaphoreRequest* request,
                                                    api::DeleteSemaphoreResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::DeleteSemaphoreResponse>::open(front_, context, response);
  front_.loop.drop_semaphore({.name = request->name()}, [&front = front_, answer](const Status& done) {
    if (!done.ok()) return front.pump.post([answer, error = done.error()] { answer->refuse(error); });
    front.pump.post([answer] { answer->give([](api::DeleteSemaphoreResponse&) {}); });
  });
  return answer->reactor();
}

}  // namespace futured::rpc
