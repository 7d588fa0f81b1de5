#include "daemon/rpc/queues_service.h"

#include <map>
#include <optional>

#include "base/limits.h"

namespace futured::rpc {

namespace {

// Options of a queue that are known and not built: the first one that is set is named.
Status check_options(const api::QueueOptions& options) {
  static const std::map<int, const char*> kBuilt{{api::QueueOptions::kDisciplineFieldNumber, "discipline"}};
  const auto* const reflection = options.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> set;
  reflection->ListFields(options, &set);
  for (const auto* field : set) {
    if (!kBuilt.contains(field->number())) return unbuilt("options." + field->name());
  }
  return {};
}

Result<Discipline> discipline_of(api::QueueDiscipline discipline) {
  switch (discipline) {
    case api::QUEUE_DISCIPLINE_UNSPECIFIED:
    case api::QUEUE_DISCIPLINE_FIFO:
      return Discipline::kFifo;
    case api::QUEUE_DISCIPLINE_LIFO:
      return Discipline::kLifo;
    case api::QUEUE_DISCIPLINE_PRIORITY:
      return Discipline::kPriority;
    default:
      return invalid("options.discipline", "no such discipline");
  }
}

// The lanes of one queue, added up.
std::map<std::string, api::Queue> queues_of(const Loop& loop) {
  std::map<std::string, api::Queue> queues;
  for (const LaneFigures& lane : loop.scheduler().lanes()) {
    api::Queue& queue = queues[lane.queue];
    queue.set_name(lane.queue);
    queue.mutable_options()->set_discipline(to_api(lane.discipline));
    queue.set_paused(lane.paused);
    queue.set_queued(queue.queued() + lane.queued);
    queue.set_scheduled(queue.scheduled() + lane.delayed);
    queue.set_running(queue.running() + lane.running);
    if (!lane.pool.empty()) queue.mutable_options()->add_pools(lane.pool);
  }
  return queues;
}

}  // namespace

grpc::ServerUnaryReactor* QueuesService::Create(Context* context, const api::CreateQueueRequest* request,
                                                api::Queue* response) {
  if (const Status named = check_name(request->name(), "name"); !named.ok()) return answer_now(context, named);
  if (const Status built = check_options(request->options()); !built.ok()) return answer_now(context, built);
  const auto discipline = discipline_of(request->options().discipline());
  if (!discipline.ok()) return answer_now(context, discipline.error());
  event::PutQueue create;
  create.name = request->name();
  create.discipline = *discipline;
  return put(context, std::move(create), response);
}

grpc::ServerUnaryReactor* QueuesService::Pause(Context* context, const api::PauseQueueRequest* request,
                                               api::Queue* response) {
  event::PutQueue pause;
  pause.name = request->name();
  pause.paused = true;
  return put(context, std::move(pause), response);
}

grpc::ServerUnaryReactor* QueuesService::Resume(Context* context, const api::ResumeQueueRequest* request,
                                                api::Queue* response) {
  event::PutQueue resume;
  resume.name = request->name();
  resume.paused = false;
  return put(context, std::move(resume), response);
}

grpc::ServerUnaryReactor* QueuesService::put(Context* context, event::PutQueue put, api::Queue* response) {
  const auto answer = Answer<api::Queue>::open(front_, context, response);
  Front* const front = &front_;
  front_.loop.put_queue(std::move(put), [answer, front](const Result<QueueRow>& row) {
    front->pump.post([answer, row] {
      if (!row.ok()) return answer->refuse(row.error());
      answer->give([&](api::Queue& queue) {
        queue.set_name(row->name);
        queue.mutable_options()->set_discipline(to_api(row->discipline));
        queue.set_paused(row->paused);
      });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* QueuesService::Get(Context* context, const api::GetQueueRequest* request,
                                             api::Queue* response) {
  const auto answer = Answer<api::Queue>::open(front_, context, response);
  Front* const front = &front_;
  front_.loop.look([answer, front, name = request->name()](const Loop& loop) {
    auto queues = queues_of(loop);
    front->pump.post([answer, name, queues = std::move(queues)]() mutable {
      const auto found = queues.find(name);
      if (found == queues.end()) {
        return answer->refuse({ErrorCode::kNotFound, "no queue \"" + name + "\"; fut queue ls shows those that exist"});
      }
      answer->give([&](api::Queue& queue) { queue = std::move(found->second); });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* QueuesService::List(Context* context, const api::ListQueuesRequest* request,
                                              api::ListQueuesResponse* response) {
  if (request->page_size() > limits::kListPageMax) {
    return answer_now(context, too_much("page_size", "at most " + std::to_string(limits::kListPageMax)));
  }
  const auto answer = Answer<api::ListQueuesResponse>::open(front_, context, response);
  Front* const front = &front_;
  const std::size_t most = request->page_size() == 0 ? limits::kListPageMax : request->page_size();
  front_.loop.look([answer, front, most, after = request->page_token()](const Loop& loop) {
    auto queues = queues_of(loop);
    front->pump.post([answer, most, after, queues = std::move(queues)]() mutable {
      answer->give([&](api::ListQueuesResponse& page) {
        for (auto next = queues.upper_bound(after); next != queues.end(); ++next) {
          if (static_cast<std::size_t>(page.queues_size()) == most) {
            page.set_next_page_token(page.queues(page.queues_size() - 1).name());
            return;
          }
          *page.add_queues() = std::move(next->second);
        }
      });
    });
  });
  return answer->reactor();
}

}  // namespace futured::rpc
