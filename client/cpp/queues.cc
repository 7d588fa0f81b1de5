// Queues.
#include "client/cpp/client_state.h"
#include "futured/client.h"

namespace futured::client {

namespace {

// A call about one queue that answers with the queue. All of them may be repeated.
template <typename Request, typename Call>
QueueInfo ask(ClientState& state, const Request& request, const Call& call) {
  api::Queue queue;
  state.call([&](grpc::ClientContext& context) { return call(*state.queues, &context, request, &queue); }, true);
  return from_queue(queue);
}

template <typename Request>
Request of_name(const std::string& name) {
  Request request;
  request.set_name(name);
  return request;
}

}  // namespace

std::vector<QueueInfo> Client::queues() const {
  std::vector<QueueInfo> queues;
  api::ListQueuesRequest request;
  do {
    api::ListQueuesResponse response;
    state_->call([&](grpc::ClientContext& context) { return state_->queues->List(&context, request, &response); },
                 true);
    for (const api::Queue& queue : response.queues()) queues.push_back(from_queue(queue));
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return queues;
}

QueueInfo Client::queue(const std::string& name) const {
  return ask(
      *state_, of_name<api::GetQueueRequest>(name),
      [](auto& queues, auto* context, const auto& asked, auto* queue) { return queues.Get(context, asked, queue); });
}

QueueInfo Client::create_queue(const std::string& name, const QueueOptions& options) const {
  api::CreateQueueRequest request = of_name<api::CreateQueueRequest>(name);
  to_queue_options(options, *request.mutable_options());
  return ask(*state_, request, [](auto& queues, auto* context, const auto& asked, auto* queue) {
    return queues.Create(context, asked, queue);
  });
}

QueueInfo Client::update_queue(const std::string& name, const QueueOptions& options,
                               const std::vector<std::string>& fields) const {
  api::UpdateQueueRequest request = of_name<api::UpdateQueueRequest>(name);
  to_queue_options(options, *request.mutable_options());
  if (options.discipline.empty()) request.mutable_options()->clear_discipline();
  for (const std::string& field : fields) request.add_fields(field);
  return ask(*state_, request, [](auto& queues, auto* context, const auto& asked, auto* queue) {
    return queues.Update(context, asked, queue);
  });
}

QueueInfo Client::pause_queue(const std::string& name) const {
  return ask(
      *state_, of_name<api::PauseQueueRequest>(name),
      [](auto& queues, auto* context, const auto& asked, auto* queue) { return queues.Pause(context, asked, queue); });
}

QueueInfo Client::resume_queue(const std::string& name) const {
  return ask(
      *state_, of_name<api::ResumeQueueRequest>(name),
      [](auto& queues, auto* context, const auto& asked, auto* queue) { return queues.Resume(context, asked, queue); });
}

QueueInfo Client::drain_queue(const std::string& name) const {
  return ask(
      *state_, of_name<api::DrainQueueRequest>(name),
      [](auto& queues, auto* context, const auto& asked, auto* queue) { return queues.Drain(context, asked, queue); });
}

// Repeated after a lost connection, it would tell how many were left.
std::uint64_t Client::purge_queue(const std::string& name) const {
  const auto request = of_name<api::PurgeQueueRequest>(name);
  api::PurgeQueueResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->queues->Purge(&context, request, &response); },
               false);
  return response.cancelled();
}

namespace {

// Repeated after a lost connection, it would not tell what was moved before.
MoveReport move(ClientState& state, const api::MoveJobsRequest& request) {
  api::MoveJobsResponse response;
  state.call([&](grpc::ClientContext& context) { return state.queues->Move(&context, request, &response); }, false);
  MoveReport report;
  report.moved = response.moved();
  report.already_there = response.already_there();
  report.running = response.running();
  report.already_ended = response.already_ended();
  report.not_found = response.not_found();
  for (const api::MoveJobsResponse::Entry& entry : response.entries()) {
    report.left.push_back({entry.id(), static_cast<MoveDisposition>(entry.disposition())});
  }
  if (response.has_refused()) report.refused = response.refused().message();
  return report;
}

}  // namespace

MoveReport Client::move_jobs(std::span<const std::uint64_t> ids, const std::string& to) const {
  api::MoveJobsRequest request;
  add_ranges({ids.begin(), ids.end()}, *request.mutable_ids());
  request.set_to_queue(to);
  return move(*state_, request);
}

MoveReport Client::move_queue(const std::string& from, const std::string& to) const {
  api::MoveJobsRequest request;
  request.set_from_queue(from);
  request.set_to_queue(to);
  return move(*state_, request);
}

// Repeated after a lost connection, it would find no such queue.
void Client::delete_queue(const std::string& name) const {
  const auto request = of_name<api::DeleteQueueRequest>(name);
  api::DeleteQueueResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->queues->Delete(&context, request, &response); },
               false);
}

}  // namespace futured::client
