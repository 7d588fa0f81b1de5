#include "futured/client.h"

#include <algorithm>
#include <utility>

#include "client/cpp/bounds.h"
#include "client/cpp/client_state.h"
#include "client/cpp/executor_state.h"

namespace futured::client {

namespace {

api::CancelRequest to_request(const CancelOptions& how) {
  api::CancelRequest request;
  request.set_grace_ms(how.grace.count());
  request.set_kill_at_once(how.kill_at_once);
  request.set_reason(how.reason);
  request.set_wait(how.wait);
  return request;
}

void add_entries(const api::RetryResponse& response, std::vector<RetryEntry>& entries) {
  for (const api::RetryResponse::Entry& entry : response.entries()) {
    entries.push_back({entry.id(), entry.new_id(), entry.error().message()});
  }
}

}  // namespace

Client Client::connect(const std::string& address, const ConnectOptions& options) {
  auto state = ClientState::make(address.empty() ? default_address() : address, options);
  state->wait_until_ready();
  return Client(std::move(state));
}

const std::string& Client::address() const { return state_->address; }

Executor Client::executor(JobOptions options) const {
  return Executor(std::make_shared<ExecutorState>(state_, std::move(options)));
}

Future Client::future(std::uint64_t id) const { return futures({&id, 1}).front(); }

std::vector<Future> Client::futures(std::span<const std::uint64_t> ids) const {
  state_->check_process();
  std::vector<Future> futures;
  futures.reserve(ids.size());
  for (std::size_t begin = 0; begin < ids.size();) {
    if (ids[begin] == 0 || ids[begin] == UINT64_MAX) {
      throw Error(ErrorKind::kInvalidArgument, "job id: " + std::to_string(ids[begin]) + " is no job");
    }
    std::size_t end = begin + 1;
    while (end < ids.size() && end - begin < kBlockSlotsMax && ids[end] == ids[end - 1] + 1) ++end;
    const BlockRef block(Block::make(static_cast<std::uint32_t>(end - begin), state_, nullptr, /*followed=*/false,
                                     /*first_id=*/ids[begin]));
    for (; begin < end; ++begin) futures.push_back(block->future(block->add_slot()));
  }
  return futures;
}

void Client::flush() const { state_->pipeline.flush(); }

// ---- Jobs

KeyedJobs Client::find(const std::string& key) const {
  api::FindJobsRequest request;
  request.set_idempotency_key(key);
  api::FindJobsResponse found;
  state_->call([&](grpc::ClientContext& context) { return state_->jobs->Find(&context, request, &found); }, true);
  return {found.first_id(), found.count()};
}

JobInfo Client::job(std::uint64_t id, bool details) const { return state_->get_job(id, details); }

JobInfo ClientState::get_job(std::uint64_t id, bool details) {
  api::GetJobRequest request;
  request.set_id(id);
  request.set_details(details);
  api::Job job;
  call([&](grpc::ClientContext& context) { return jobs->Get(&context, request, &job); }, true);
  return from_job(job);
}

JobPage Client::jobs(const JobFilter& filter, std::uint32_t page_size, const std::string& page_token,
                     bool oldest_first) const {
  api::ListJobsRequest request;
  to_filter(filter, *request.mutable_filter());
  request.set_page_size(page_size);
  request.set_page_token(page_token);
  request.set_oldest_first(oldest_first);
  api::ListJobsResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->jobs->List(&context, request, &response); }, true);
  JobPage page;
  for (const api::Job& job : response.jobs()) page.jobs.push_back(from_job(job));
  page.next_page_token = response.next_page_token();
  return page;
}

std::vector<CancelEntry> Client::cancel(std::span<const std::uint64_t> ids, const CancelOptions& options) const {
  return state_->cancel(ids, options);
}

std::vector<CancelEntry> ClientState::cancel(std::span<const std::uint64_t> ids, const CancelOptions& how) {
  api::CancelRequest request = to_request(how);
  add_ranges({ids.begin(), ids.end()}, *request.mutable_ids());
  api::CancelResponse response;
  // Cancelling twice is cancelling once.
  call([&](grpc::ClientContext& context) { return jobs->Cancel(&context, request, &response); }, true);
  std::vector<CancelEntry> entries;
  for (const api::CancelResponse::Entry& entry : response.entries()) {
    entries.push_back(
        {entry.id(), static_cast<CancelDisposition>(entry.disposition()), static_cast<JobState>(entry.state())});
  }
  return entries;
}

CancelCounts Client::cancel(const JobFilter& filter, const CancelOptions& options) const {
  api::CancelRequest request = to_request(options);
  to_filter(filter, *request.mutable_filter());
  api::CancelResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->jobs->Cancel(&context, request, &response); }, true);
  return {response.cancelled(), response.stopping(), response.already_ended()};
}

std::vector<RetryEntry> Client::retry(const JobFilter& filter) const {
  std::vector<RetryEntry> entries;
  api::RetryRequest request;
  to_filter(filter, *request.mutable_filter());
  for (;;) {
    api::RetryResponse response;
    state_->call([&](grpc::ClientContext& context) { return state_->jobs->Retry(&context, request, &response); },
                 false);
    add_entries(response, entries);
    if (response.go_on_until_id() == 0) return entries;
    request.mutable_filter()->clear_ids();
    api::IdRange& older = *request.mutable_filter()->add_ids();
    older.set_first(1);
    older.set_last(response.go_on_until_id());
  }
}

std::vector<RetryEntry> Client::retry(std::span<const std::uint64_t> ids) const {
  api::RetryRequest request;
  add_ranges({ids.begin(), ids.end()}, *request.mutable_ids());
  api::RetryResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->jobs->Retry(&context, request, &response); }, false);
  std::vector<RetryEntry> entries;
  add_entries(response, entries);
  return entries;
}

Outcome Client::result(std::uint64_t id) const { return state_->get_result(id); }

Outcome ClientState::get_result(std::uint64_t id) {
  api::GetResultRequest request;
  request.set_id(id);
  Outcome outcome;
  const auto read = [&](grpc::ClientContext& context) {
    outcome = {};
    const auto reader = jobs->GetResult(&context, request);
    api::GetResultResponse piece;
    while (reader->Read(&piece)) {
      if (piece.has_outcome()) outcome = from_outcome(std::move(*piece.mutable_outcome()));
      if (piece.part() < outcome.result.size()) outcome.result[piece.part()].bytes += piece.data();
    }
    return reader->Finish();
  };
  call(read, true);
  outcome.result_elided = false;
  return outcome;
}

Why Client::why(std::uint64_t id) const {
  api::WhyRequest request;
  request.set_id(id);
  api::WhyResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->jobs->Why(&context, request, &response); }, true);
  return {response.text(), response.position(), response.position_estimated()};
}

}  // namespace futured::client
