#include "daemon/rpc/queues_service.h"

#include <utility>

#include "base/limits.h"
#include "daemon/rpc/convert_queue.h"
#include "daemon/rpc/move_call.h"

namespace futured::rpc {

grpc::ServerUnaryReactor* QueuesService::Create(Context* context, const api::CreateQueueRequest* request,
                                                api::Queue* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  if (const Status sound = check_name(request->name(), "name"); !sound.ok()) return answer_now(context, sound);
  const auto discipline = to_discipline(request->options().discipline());
  if (!discipline.ok()) return answer_now(context, discipline.error());
  auto options = to_queue_options(request->options());
  if (!options.ok()) return answer_now(context, options.error());
  event::PutQueue wanted{.name = request->name(), .discipline = *discipline};
  wanted.options = std::move(*options);
  return put(context, std::move(wanted), response);
}

grpc::ServerUnaryReactor* QueuesService::Update(Context* context, const api::UpdateQueueRequest* request,
                                                api::Queue* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto fields = to_queue_fields(request->fields(), request->options());
  if (!fields.ok()) return answer_now(context, fields.error());
  auto options = to_queue_options(request->options());
  if (!options.ok()) return answer_now(context, options.error());
  event::PutQueue wanted{.name = request->name()};
  wanted.options = std::move(*options);
  wanted.changed_options = std::move(*fields);
  return put(context, std::move(wanted), response);
}

grpc::ServerUnaryReactor* QueuesService::Pause(Context* context, const api::PauseQueueRequest* request,
                                               api::Queue* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  return put(context, {.name = request->name(), .paused = true}, response);
}

grpc::ServerUnaryReactor* QueuesService::Resume(Context* context, const api::ResumeQueueRequest* request,
                                                api::Queue* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  return put(context, {.name = request->name(), .paused = false, .draining = false}, response);
}

grpc::ServerUnaryReactor* QueuesService::Drain(Context* context, const api::DrainQueueRequest* request,
                                               api::Queue* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  return put(context, {.name = request->name(), .draining = true}, response);
}

// The answer is the queue as it stands when the change is on disk.
grpc::ServerUnaryReactor* QueuesService::put(Context* context, event::PutQueue put, api::Queue* response) {
  auto answer = Answer<api::Queue>::open(front_, context, response);
  front_.loop.put_queue(std::move(put), [&front = front_, answer](const Result<QueueRow>& row) {
    if (!row.ok()) return front.pump.post([answer, error = row.error()] { answer->refuse(error); });
    tell(front, answer, row->name);
  });
  return answer->reactor();
}

void QueuesService::tell(Front& front, const std::shared_ptr<Answer<api::Queue>>& answer, const std::string& name) {
  front.loop.look([&front, answer, name](const Loop& loop) {
    front.pump.post([answer, name, figures = loop.scheduler().queue(name, monotonic_now())] {
      if (!figures) {
        return answer->refuse({ErrorCode::kNotFound, "no queue \"" + name + "\"; fut queue ls shows those that exist"});
      }
      answer->give([&](api::Queue& out) { to_api(*figures, out); });
    });
  });
}

grpc::ServerUnaryReactor* QueuesService::Get(Context* context, const api::GetQueueRequest* request,
                                             api::Queue* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::Queue>::open(front_, context, response);
  tell(front_, answer, request->name());
  return answer->reactor();
}

grpc::ServerUnaryReactor* QueuesService::List(Context* context, const api::ListQueuesRequest* request,
                                              api::ListQueuesResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  if (request->page_size() > limits::kListPageMax) {
    return answer_now(context, too_much("page_size", std::to_string(request->page_size()) + " is over " +
                                                         std::to_string(limits::kListPageMax)));
  }
  const std::size_t most = request->page_size() != 0 ? request->page_size() : limits::kListPageMax;
  auto answer = Answer<api::ListQueuesResponse>::open(front_, context, response);
  front_.loop.look([&front = front_, answer, after = request->page_token(), most](const Loop& loop) {
    front.pump.post([answer, most, queues = loop.scheduler().queues(after, most + 1, monotonic_now())] {
      answer->give([&](api::ListQueuesResponse& out) {
        for (std::size_t i = 0; i < queues.size() && i < most; ++i) to_api(queues[i], *out.add_queues());
        if (queues.size() > most) out.set_next_page_token(queues[most - 1].row.name);
      });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* QueuesService::Purge(Context* context, const api::PurgeQueueRequest* request,
                                               api::PurgeQueueResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::PurgeQueueResponse>::open(front_, context, response);
  event::PurgeQueue purge{.who = front_.who(*context), .name = request->name()};
  front_.loop.purge_queue(std::move(purge), [&front = front_, answer](const Result<std::uint64_t>& cancelled) {
    front.pump.post([answer, cancelled] {
      if (!cancelled.ok()) return answer->refuse(cancelled.error());
      answer->give([&](api::PurgeQueueResponse& out) { out.set_cancelled(*cancelled); });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* QueuesService::Move(Context* context, const api::MoveJobsRequest* request,
                                              api::MoveJobsResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  return MoveCall::open(front_, context, *request, response);
}

grpc::ServerUnaryReactor* QueuesService::Delete(Context* context, const api::DeleteQueueRequest* request,
                                                api::DeleteQueueResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::DeleteQueueResponse>::open(front_, context, response);
  front_.loop.delete_queue({.name = request->name()}, [&front = front_, answer](const Status& done) {
    front.pump.post([answer, done] {
      if (!done.ok()) return answer->refuse(done.error());
      answer->give([](api::DeleteQueueResponse&) {});
    });
  });
  return answer->reactor();
}

}  // namespace futured::rpc
