#include "daemon/rpc/queues_service.h"

#include <map>
#include <utility>

#include "base/limits.h"

namespace futured::rpc {

namespace {

struct QueueFigures {
  Discipline discipline = Discipline::kFifo;
  bool paused = false;
  std::uint64_t queued = 0;
  std::uint64_t scheduled = 0;
  std::uint64_t running = 0;
};

// Within Loop::look.
std::map<std::string, QueueFigures> figures_of(const Loop& loop) {
  std::map<std::string, QueueFigures> queues;
  for (const LaneFigures& lane : loop.scheduler().lanes()) {
    QueueFigures& queue = queues[lane.queue];
    queue.discipline = lane.discipline;
    queue.paused = lane.paused;
    queue.queued += lane.queued;
    queue.scheduled += lane.delayed;
    queue.running += lane.running;
  }
  return queues;
}

void fill(const std::string& name, const QueueFigures& figures, api::Queue& out) {
  out.set_name(name);
  out.mutable_options()->set_discipline(to_api(figures.discipline));
  out.set_paused(figures.paused);
  out.set_queued(figures.queued);
  out.set_scheduled(figures.scheduled);
  out.set_running(figures.running);
}

Result<std::optional<Discipline>> from_api(api::QueueDiscipline discipline) {
  switch (discipline) {
    case api::QUEUE_DISCIPLINE_UNSPECIFIED:
    case api::QUEUE_DISCIPLINE_FIFO:
      return std::optional(Discipline::kFifo);
    case api::QUEUE_DISCIPLINE_LIFO:
      return std::optional(Discipline::kLifo);
    case api::QUEUE_DISCIPLINE_PRIORITY:
      return std::optional(Discipline::kPriority);
    default:  // a client's number
      return invalid("options.discipline", std::to_string(discipline) + " is not known");
  }
}

Status refuse_unbuilt(const api::QueueOptions& options) {
  const std::pair<bool, const char*> fields[] = {
      {options.concurrency_max() != 0, "options.concurrency_max"},
      {options.concurrency_per_key_max() != 0, "options.concurrency_per_key_max"},
      {options.has_rate(), "options.rate"},
      {options.has_rate_per_key(), "options.rate_per_key"},
      {options.queued_jobs_max() != 0, "options.queued_jobs_max"},
      {options.queued_bytes_max() != 0, "options.queued_bytes_max"},
      {options.when_full() != 0, "options.when_full"},
      {!options.pools().empty(), "options.pools"},
      {options.weight() != 0, "options.weight"},
      {options.fair(), "options.fair"},
      {options.ageing_ms() != 0, "options.ageing_ms"},
      {options.has_default_retries(), "options.default_retries"},
      {options.has_default_timeouts(), "options.default_timeouts"},
      {options.default_retention_ms() != 0, "options.default_retention_ms"},
  };
  for (const auto& [asked, field] : fields) {
    if (asked) return unbuilt(field);
  }
  return {};
}

}  // namespace

grpc::ServerUnaryReactor* QueuesService::Create(Context* context, const api::CreateQueueRequest* request,
                                                api::Queue* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  if (const Status sound = check_name(request->name(), "name"); !sound.ok()) return answer_now(context, sound);
  if (const Status known = refuse_unbuilt(request->options()); !known.ok()) return answer_now(context, known);
  const auto discipline = from_api(request->options().discipline());
  if (!discipline.ok()) return answer_now(context, discipline.error());
  return put(context, {.name = request->name(), .discipline = *discipline}, response);
}

grpc::ServerUnaryReactor* QueuesService::Pause(Context* context, const api::PauseQueueRequest* request,
                                               api::Queue* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  return put(context, {.name = request->name(), .paused = true}, response);
}

grpc::ServerUnaryReactor* QueuesService::Resume(Context* context, const api::ResumeQueueRequest* request,
                                                api::Queue* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  return put(context, {.name = request->name(), .paused = false}, response);
}

// The answer is the queue as it stands when the change is on disk.
grpc::ServerUnaryReactor* QueuesService::put(Context* context, event::PutQueue put, api::Queue* response) {
  auto answer = Answer<api::Queue>::open(front_, context, response);
  front_.loop.put_queue(std::move(put), [&front = front_, answer](const Result<QueueRow>& row) {
    if (!row.ok()) return front.pump.post([answer, error = row.error()] { answer->refuse(error); });
    front.loop.look([&front, answer, name = row->name](const Loop& loop) {
      front.pump.post([answer, name, figures = figures_of(loop)[name]] {
        answer->give([&](api::Queue& out) { fill(name, figures, out); });
      });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* QueuesService::Get(Context* context, const api::GetQueueRequest* request,
                                             api::Queue* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::Queue>::open(front_, context, response);
  front_.loop.look([&front = front_, answer, name = request->name()](const Loop& loop) {
    front.pump.post([answer, name, queues = figures_of(loop)] {
      const auto found = queues.find(name);
      if (found == queues.end()) return answer->refuse({ErrorCode::kNotFound, "no queue \"" + name + "\""});
      answer->give([&](api::Queue& out) { fill(name, found->second, out); });
    });
  });
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
    front.pump.post([answer, after, most, queues = figures_of(loop)] {
      answer->give([&](api::ListQueuesResponse& out) {
        auto queue = after.empty() ? queues.begin() : queues.upper_bound(after);
        for (; queue != queues.end() && static_cast<std::size_t>(out.queues_size()) < most; ++queue) {
          fill(queue->first, queue->second, *out.add_queues());
        }
        if (queue != queues.end()) out.set_next_page_token(out.queues(out.queues_size() - 1).name());
      });
    });
  });
  return answer->reactor();
}

}  // namespace futured::rpc
