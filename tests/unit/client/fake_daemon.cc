#include "tests/unit/client/fake_daemon.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "base/chunk.h"
#include "base/payload.h"
#include "futured/v1/futured.grpc.pb.h"

namespace futured::test {

namespace api = futured::v1;

struct FakeDaemon::State {
  struct Job {
    std::string task;
    std::string payload;
    bool is_chunk = false;
    bool ended = false;
    api::Outcome outcome;
  };

  mutable std::mutex mutex;
  std::condition_variable changed;
  std::map<std::uint64_t, Job> jobs;
  std::vector<std::uint64_t> ended;  // in order
  std::uint64_t next_id = 1;
  std::map<std::string, std::uint64_t> keys;
  bool knows_keys = true;
  std::vector<std::size_t> batches;
  std::vector<std::uint64_t> cancelled;
  std::size_t waited = 0;
  std::size_t wait_calls = 0;
  std::size_t wait_calls_open = 0;
  std::size_t wait_calls_open_max = 0;
  bool hold_results = false;
  std::uint32_t epoch = 0;
  bool hold_receipts = false;
  std::size_t receipts_let_go = 0;  // while they are held
  std::size_t batches_read = 0;
  std::size_t batches_read_max = SIZE_MAX;
  bool stopping = false;

  void end(std::uint64_t id, api::JobState how) {
    Job& job = jobs.at(id);
    if (job.ended) return;
    job.ended = true;
    job.outcome.set_id(id);
    job.outcome.set_state(how);
    job.outcome.set_attempts(1);
    if (how == api::JOB_STATE_SUCCEEDED && job.is_chunk) {
      echo_calls(job.payload, *job.outcome.add_result());
    } else if (how == api::JOB_STATE_SUCCEEDED && job.task == "big") {
      job.outcome.set_result_elided(true);
      job.outcome.set_result_bytes(job.payload.size());
    } else if (how == api::JOB_STATE_SUCCEEDED) {
      job.outcome.add_result()->set_data(job.payload);
    } else if (how == api::JOB_STATE_FAILED) {
      job.outcome.mutable_cause()->set_kind(api::CAUSE_KIND_TASK_ERROR);
      job.outcome.mutable_cause()->set_error_class("std::runtime_error");
      job.outcome.mutable_cause()->set_message("as asked");
    }
    ended.push_back(id);
    changed.notify_all();
  }

  // As a worker would: each call gives back what it was given, and one of "fail" fails.
  static void echo_calls(const std::string& chunk, api::Part& result) {
    std::string ends;
    WireReader calls(chunk);
    while (!calls.at_end()) {
      const std::string_view payload = calls.bytes();
      const bool fails = decode_parts(payload)->front().bytes == "fail";
      append_end(ends, fails ? CallEnd{.status = CallStatus::kTaskError, .error_class = "Failed", .message = "as asked"}
                             : CallEnd{.result = payload});
    }
    result.set_content_type(chunk_result_type(1'000));
    result.set_data(ends);
  }

  std::uint64_t add(const std::string& task, std::string payload, bool is_chunk) {
    const std::uint64_t id = next_id++;
    jobs[id] = {task, std::move(payload), is_chunk, false, {}};
    if (task == "fail") end(id, api::JOB_STATE_FAILED);
    if (task != "fail" && task != "hold") end(id, api::JOB_STATE_SUCCEEDED);
    return id;
  }
};

namespace {

using State = FakeDaemon::State;

constexpr std::chrono::seconds kInVain(10);  // then a test that waits here fails

// Packed when it can be, as the daemon does.
void add_outcome(const State::Job& job, api::SubmitStreamResponse& response) {
  if (job.task != "echo" || job.is_chunk) {
    *response.add_outcomes() = job.outcome;
    return;
  }
  api::PackedOutcomes* group =
      response.packed_size() == 0 ? nullptr : response.mutable_packed(response.packed_size() - 1);
  if (group == nullptr || job.outcome.id() != group->first_id() + group->count()) {
    group = response.add_packed();
    group->set_first_id(job.outcome.id());
  }
  group->set_count(group->count() + 1);
  group->add_sizes(static_cast<std::uint32_t>(job.payload.size()));
  group->mutable_results()->append(job.payload);
}

class FakeJobs final : public api::Jobs::Service {
 public:
  explicit FakeJobs(std::shared_ptr<State> state) : state_(std::move(state)) {}

  grpc::Status SubmitStream(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<api::SubmitStreamResponse, api::SubmitStreamRequest>* stream) override {
    std::deque<api::Receipt> receipts;
    std::set<std::uint64_t> followed;
    bool half_closed = false;
    std::thread reader([&] {
      api::SubmitStreamRequest request;
      api::JobSpec spec;
      while (may_read() && stream->Read(&request)) {
        const std::lock_guard guard(state_->mutex);
        ++state_->batches_read;
        if (request.has_spec()) spec = request.spec();
        receipts.push_back(accept(request, spec, followed));
        state_->changed.notify_all();
        request.Clear();
      }
      const std::lock_guard guard(state_->mutex);
      half_closed = true;
      state_->changed.notify_all();
    });
    std::size_t cursor = 0;
    std::unique_lock lock(state_->mutex);
    while (true) {
      state_->changed.wait(lock, [&] {
        return half_closed || state_->stopping || (!receipts.empty() && may_acknowledge()) ||
               (cursor < state_->ended.size() && !state_->hold_receipts);
      });
      if (half_closed || state_->stopping) break;
      api::SubmitStreamResponse response;
      for (; !receipts.empty() && may_acknowledge(); receipts.pop_front()) {
        *response.add_receipts() = receipts.front();
        if (state_->hold_receipts) --state_->receipts_let_go;
      }
      for (; cursor < state_->ended.size() && !state_->hold_receipts; ++cursor) {
        if (followed.contains(state_->ended[cursor])) add_outcome(state_->jobs.at(state_->ended[cursor]), response);
      }
      lock.unlock();
      stream->Write(response);
      lock.lock();
    }
    lock.unlock();
    context->TryCancel();
    reader.join();
    return {grpc::StatusCode::UNAVAILABLE, "going away"};
  }

  grpc::Status Wait(grpc::ServerContext* context, const api::WaitRequest* request,
                    grpc::ServerWriter<api::WaitResponse>* writer) override {
    std::set<std::uint64_t> open;
    api::WaitResponse response;
    std::unique_lock lock(state_->mutex);
    for (const api::IdRange& range : request->ids()) {
      for (std::uint64_t id = range.first(); id <= std::max(range.first(), range.last()); ++id) {
        if (state_->jobs.contains(id)) {
          open.insert(id);
        } else {
          response.add_unknown()->set_first(id);
        }
      }
    }
    const std::size_t count = open.size();
    state_->waited += count;
    ++state_->wait_calls;
    state_->wait_calls_open_max = std::max(state_->wait_calls_open_max, ++state_->wait_calls_open);
    state_->changed.notify_all();
    while (true) {
      for (auto at = open.begin(); at != open.end();) {
        const State::Job& job = state_->jobs.at(*at);
        if (job.ended) *response.add_outcomes() = job.outcome;
        at = job.ended ? open.erase(at) : std::next(at);
      }
      response.set_remaining(open.size());
      if (open.empty()) response.set_end(api::WAIT_END_SATISFIED);
      lock.unlock();
      writer->Write(response);
      response.Clear();
      lock.lock();
      if (open.empty() || state_->stopping || context->IsCancelled()) break;
      const std::size_t seen = state_->ended.size();
      state_->changed.wait_for(lock, std::chrono::milliseconds(20), [&] {  // IsCancelled has no notice here
        return state_->stopping || state_->ended.size() != seen;
      });
    }
    state_->waited -= count;
    --state_->wait_calls_open;
    return open.empty() ? grpc::Status::OK : grpc::Status(grpc::StatusCode::UNAVAILABLE, "going away");
  }

  grpc::Status Get(grpc::ServerContext*, const api::GetJobRequest* request, api::Job* job) override {
    const std::lock_guard guard(state_->mutex);
    const auto found = state_->jobs.find(request->id());
    if (found == state_->jobs.end()) return {grpc::StatusCode::NOT_FOUND, "id: no such job"};
    job->set_id(found->first);
    job->set_task(found->second.task);
    job->set_state(found->second.ended ? found->second.outcome.state() : api::JOB_STATE_RUNNING);
    return grpc::Status::OK;
  }

  grpc::Status Cancel(grpc::ServerContext*, const api::CancelRequest* request, api::CancelResponse* response) override {
    const std::lock_guard guard(state_->mutex);
    for (const api::IdRange& range : request->ids()) {
      for (std::uint64_t id = range.first(); id <= std::max(range.first(), range.last()); ++id) {
        auto& entry = *response->add_entries();
        entry.set_id(id);
        const bool ended = state_->jobs.at(id).ended;
        entry.set_disposition(ended ? api::CANCEL_DISPOSITION_ALREADY_ENDED : api::CANCEL_DISPOSITION_CANCELLED);
        state_->cancelled.push_back(id);
        state_->end(id, api::JOB_STATE_CANCELLED);
      }
    }
    return grpc::Status::OK;
  }

  grpc::Status Retry(grpc::ServerContext*, const api::RetryRequest* request, api::RetryResponse* response) override {
    const std::lock_guard guard(state_->mutex);
    for (const api::IdRange& range : request->ids()) {
      for (std::uint64_t id = range.first(); id <= std::max(range.first(), range.last()); ++id) {
        const State::Job& job = state_->jobs.at(id);
        auto& entry = *response->add_entries();
        entry.set_id(id);
        entry.set_new_id(state_->add(job.task, job.payload, job.is_chunk));
      }
    }
    return grpc::Status::OK;
  }

  grpc::Status Watch(grpc::ServerContext* context, const api::WatchRequest* request,
                     grpc::ServerWriter<api::WatchResponse>* writer) override {
    std::unique_lock lock(state_->mutex);
    api::WatchResponse begin;
    begin.set_epoch(state_->epoch);
    begin.set_sequence(1);
    begin.set_gap(request->epoch() != 0 && request->epoch() != state_->epoch);
    lock.unlock();
    writer->Write(begin);
    lock.lock();
    const auto until = std::chrono::steady_clock::now() + kInVain;
    while (!state_->stopping && !context->IsCancelled()) {
      if (std::chrono::steady_clock::now() > until) return {grpc::StatusCode::DEADLINE_EXCEEDED, "nothing happened"};
      state_->changed.wait_for(lock, std::chrono::milliseconds(20));  // IsCancelled has no notice here
    }
    return {grpc::StatusCode::UNAVAILABLE, "going away"};
  }

  grpc::Status GetResult(grpc::ServerContext*, const api::GetResultRequest* request,
                         grpc::ServerWriter<api::GetResultResponse>* writer) override {
    std::unique_lock lock(state_->mutex);
    const auto let_go = [&] { return !state_->hold_results || state_->stopping; };
    if (!state_->changed.wait_for(lock, kInVain, let_go)) return {grpc::StatusCode::DEADLINE_EXCEEDED, "held"};
    const State::Job& job = state_->jobs.at(request->id());
    api::GetResultResponse piece;
    *piece.mutable_outcome() = job.outcome;
    piece.mutable_outcome()->clear_result();
    piece.mutable_outcome()->add_result();
    piece.add_part_sizes(job.payload.size());
    const std::size_t half = job.payload.size() / 2;
    piece.set_data(job.payload.substr(0, half));
    writer->Write(piece);
    piece.Clear();
    piece.set_offset(half);
    piece.set_data(job.payload.substr(half));
    writer->Write(piece);
    return grpc::Status::OK;
  }

 private:
  bool may_read() {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [&] { return state_->stopping || state_->batches_read < state_->batches_read_max; });
    return !state_->stopping;
  }

  [[nodiscard]] bool may_acknowledge() const { return !state_->hold_receipts || state_->receipts_let_go > 0; }

  api::Receipt accept(const api::SubmitStreamRequest& request, const api::JobSpec& spec,
                      std::set<std::uint64_t>& followed) {
    api::Receipt receipt;
    receipt.set_client_ref(request.client_ref());
    if (spec.task().starts_with("unknown")) {
      receipt.mutable_error()->set_code(grpc::StatusCode::NOT_FOUND);
      receipt.mutable_error()->set_message("spec.task: no pool knows " + spec.task());
      return receipt;
    }
    std::vector<std::string> payloads;
    std::vector<std::string> keys;
    std::size_t at = 0;
    for (const std::uint32_t size : request.packed().sizes()) {
      if (!request.idempotency_key().empty()) {
        keys.push_back(request.idempotency_key() + "/" + std::to_string(payloads.size()));
      }
      payloads.push_back(request.packed().data().substr(at, size));
      at += size;
    }
    for (int i = 0; i < request.items_size(); ++i) {
      const api::Item& item = request.items(i);
      if (spec.task().empty() && item.command().argv().empty()) {
        receipt.mutable_error()->set_code(grpc::StatusCode::INVALID_ARGUMENT);
        receipt.mutable_error()->set_field("items[" + std::to_string(i) + "].command.argv");
        receipt.mutable_error()->set_message(receipt.error().field() + ": empty");
        return receipt;
      }
      if (!item.idempotency_key().empty() && !state_->knows_keys) {
        receipt.mutable_error()->set_code(grpc::StatusCode::UNIMPLEMENTED);
        receipt.mutable_error()->set_field("items[" + std::to_string(i) + "].idempotency_key");
        receipt.mutable_error()->set_message(receipt.error().field() + ": not served");
        return receipt;
      }
      keys.push_back(item.idempotency_key());
      payloads.push_back(spec.task().empty()    ? item.command().argv(0)
                         : item.parts().empty() ? std::string()
                                                : item.parts(0).data());
    }
    state_->batches.push_back(payloads.size());
    const std::uint64_t first = state_->next_id;
    std::vector<std::uint64_t> ids;
    for (std::size_t i = 0; i < payloads.size(); ++i) {
      const std::string key = i < keys.size() ? keys[i] : "";
      const auto known = key.empty() ? state_->keys.end() : state_->keys.find(key);
      if (known != state_->keys.end()) {
        ids.push_back(known->second);
        receipt.add_old_items(static_cast<std::uint32_t>(i));
        continue;
      }
      const bool is_chunk = request.packed().content_type() == kChunkType;
      ids.push_back(state_->add(spec.task(), std::move(payloads[i]), is_chunk));
      if (!key.empty()) state_->keys[key] = ids.back();
    }
    // As the daemon does: the numbers are listed where they are not consecutive, and outcomes of old jobs are not sent.
    const bool consecutive = !ids.empty() && ids.back() - ids.front() + 1 == ids.size() && std::ranges::is_sorted(ids);
    receipt.set_first_id(consecutive ? ids.front() : 0);
    receipt.set_count(static_cast<std::uint32_t>(ids.size()));
    if (!consecutive) receipt.mutable_ids()->Assign(ids.begin(), ids.end());
    for (const std::uint64_t id : ids) {
      if (request.deliver_outcomes() && id >= first) followed.insert(id);
    }
    return receipt;
  }

  std::shared_ptr<State> state_;
};

class FakeAdmin final : public api::Admin::Service {
  grpc::Status Info(grpc::ServerContext*, const api::InfoRequest*, api::InfoResponse* response) override {
    response->set_version("fake");
    return grpc::Status::OK;
  }
};

}  // namespace

struct FakeDaemon::Services {
  explicit Services(const std::shared_ptr<State>& state) : jobs(state) {}
  FakeJobs jobs;
  FakeAdmin admin;
  std::unique_ptr<grpc::Server> server;
};

FakeDaemon::FakeDaemon(std::string socket_path)
    : socket_path_(std::move(socket_path)), state_(std::make_shared<State>()) {
  start();
}

FakeDaemon::~FakeDaemon() { stop(); }

void FakeDaemon::start() {
  state_->stopping = false;
  ++state_->epoch;
  services_ = std::make_unique<Services>(state_);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address(), grpc::InsecureServerCredentials());
  builder.RegisterService(&services_->jobs);
  builder.RegisterService(&services_->admin);
  builder.SetMaxReceiveMessageSize(64 * 1024 * 1024);
  services_->server = builder.BuildAndStart();
}

void FakeDaemon::stop() {
  if (!services_) return;
  {
    const std::lock_guard guard(state_->mutex);
    state_->stopping = true;
    state_->changed.notify_all();
  }
  services_->server->Shutdown(std::chrono::system_clock::now());
  services_.reset();
}

void FakeDaemon::hold_receipts(bool hold) {
  const std::lock_guard guard(state_->mutex);
  state_->hold_receipts = hold;
  state_->changed.notify_all();
}

void FakeDaemon::acknowledge(std::size_t receipts) {
  const std::lock_guard guard(state_->mutex);
  state_->receipts_let_go += receipts;
  state_->changed.notify_all();
}

void FakeDaemon::read_only(std::size_t batches) {
  const std::lock_guard guard(state_->mutex);
  state_->batches_read_max = batches;
  state_->changed.notify_all();
}

void FakeDaemon::refuse_keys() {
  const std::lock_guard guard(state_->mutex);
  state_->knows_keys = false;
}

void FakeDaemon::hold_results(bool hold) {
  const std::lock_guard guard(state_->mutex);
  state_->hold_results = hold;
  state_->changed.notify_all();
}

std::size_t FakeDaemon::jobs() const {
  const std::lock_guard guard(state_->mutex);
  return state_->jobs.size();
}

void FakeDaemon::end(std::uint64_t id, bool well) {
  const std::lock_guard guard(state_->mutex);
  state_->end(id, well ? api::JOB_STATE_SUCCEEDED : api::JOB_STATE_FAILED);
}

void FakeDaemon::end_all_held() {
  const std::lock_guard guard(state_->mutex);
  for (auto& [id, job] : state_->jobs) state_->end(id, api::JOB_STATE_SUCCEEDED);
}

void FakeDaemon::wait_for_jobs(std::size_t count) {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [&] { return state_->jobs.size() >= count; });
}

void FakeDaemon::wait_for_batches(std::size_t count) {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [&] { return state_->batches_read >= count; });
}

void FakeDaemon::wait_for_waits(std::size_t count) {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [&] { return state_->waited >= count; });
}

std::vector<std::size_t> FakeDaemon::batch_sizes() const {
  const std::lock_guard guard(state_->mutex);
  return state_->batches;
}

std::size_t FakeDaemon::wait_calls() const {
  const std::lock_guard guard(state_->mutex);
  return state_->wait_calls;
}

std::size_t FakeDaemon::wait_calls_open_max() const {
  const std::lock_guard guard(state_->mutex);
  return state_->wait_calls_open_max;
}

std::vector<std::uint64_t> FakeDaemon::cancelled() const {
  const std::lock_guard guard(state_->mutex);
  return state_->cancelled;
}

std::string FakeDaemon::address() const { return "unix:" + socket_path_; }

}  // namespace futured::test
