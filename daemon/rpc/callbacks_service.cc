#include "daemon/rpc/callbacks_service.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/limits.h"
#include "daemon/rpc/convert_callback.h"

namespace futured::rpc {

namespace {

constexpr std::uint32_t kPageDefault = 100;

std::string name_of(CallbackId id) { return "callback " + std::to_string(id.value); }

Status add_state(api::CallbackState state, std::vector<DeliveryState>& states) {
  switch (state) {
    case api::CALLBACK_STATE_WAITING:
      states.push_back(DeliveryState::kWaiting);
      return {};
    case api::CALLBACK_STATE_DELIVERING:
      states.insert(states.end(), {DeliveryState::kDelivering, DeliveryState::kBehind});
      return {};
    case api::CALLBACK_STATE_DELIVERED:
      states.push_back(DeliveryState::kDelivered);
      return {};
    case api::CALLBACK_STATE_FAILED:
      states.push_back(DeliveryState::kFailed);
      return {};
    default:  // a client's number
      return invalid("states", std::to_string(static_cast<int>(state)) + " is no state");
  }
}

Result<CallbackQuery> read_request(const api::ListCallbacksRequest& request) {
  if (request.page_size() > limits::kListPageMax) {
    return too_much("page_size",
                    std::to_string(request.page_size()) + " is over " + std::to_string(limits::kListPageMax));
  }
  CallbackQuery query;
  query.job = JobId{request.job_id()};
  query.callbacks_max = request.page_size() != 0 ? request.page_size() : kPageDefault;
  for (const int state : request.states()) {
    if (const Status added = add_state(static_cast<api::CallbackState>(state), query.states); !added.ok()) {
      return added.error();
    }
  }
  const std::string& token = request.page_token();
  if (token.empty()) return query;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), query.after);
  if (error != std::errc() || end != token.data() + token.size()) {
    return invalid("page_token", "is none that this server gave");
  }
  return query;
}

Status check_batch_jobs(const api::RegisterCallbackRequest& request) {
  const std::uint32_t jobs = request.batch_jobs();
  if (!request.spec().whole_batch()) {
    return jobs == 0 ? Status() : invalid("batch_jobs", "refused without spec.whole_batch");
  }
  if (jobs == 0) return invalid("batch_jobs", "required with spec.whole_batch: of how many jobs, from job_id on");
  if (jobs > limits::kBatchItemsMax) {
    return too_much("batch_jobs", std::to_string(jobs) + " are over " + std::to_string(limits::kBatchItemsMax));
  }
  if (request.job_id() > UINT64_MAX / 2) return invalid("job_id", "no job has such a number");
  return {};
}

// Replays what is named, or all that failed and are the caller's, a page at a time.
class ReplayCall : public std::enable_shared_from_this<ReplayCall> {
 public:
  using ReplayAnswer = std::shared_ptr<Answer<api::ReplayCallbacksResponse>>;
  ReplayCall(Front& front, ReplayAnswer answer, Principal who, const api::ReplayCallbacksRequest& request)
      : front_(front), answer_(std::move(answer)), who_(who), ids_(request.ids().begin(), request.ids().end()) {}

  void start() {
    const bool asked = front_.reader.ask([self = shared_from_this()](StoreReader& reader) {
      if (self->ids_.empty()) return self->read_failed(reader);
      self->read_named(reader);
    });
    if (asked) return;
    if (replayed_ != 0) return give();
    answer_->refuse(busy_error());
  }

 private:
  // All or none.
  void read_named(StoreReader& reader) {
    event::Replay replay;
    std::ranges::sort(ids_);
    ids_.erase(std::ranges::unique(ids_).begin(), ids_.end());
    for (const std::uint64_t number : ids_) {
      const CallbackId id{number};
      const auto found = reader.callback(id);
      if (!found.ok()) return answer_->refuse(found.error());
      if (!*found) return answer_->refuse({ErrorCode::kNotFound, "no " + name_of(id) + " was due yet"});
      const CallbackRecord& record = **found;
      if (!front_.is_admin(who_) && record.owner != who_.uid) {
        return answer_->refuse(
            {ErrorCode::kPermissionDenied, name_of(id) + " belongs to user " + std::to_string(record.owner)});
      }
      const DeliveryState state = record.delivery.state;
      if (state != DeliveryState::kFailed && state != DeliveryState::kDelivered) {
        return answer_->refuse({ErrorCode::kFailedPrecondition, name_of(id) + " is neither delivered nor failed yet"});
      }
      replay.entries.push_back({id, record.delivery.job, record.delivery.lane});
    }
    send(std::move(replay), 0);
  }

  // A page that cannot be read ends it: what was replayed before must be told.
  void read_failed(StoreReader& reader) {
    CallbackQuery query;
    query.after = after_;
    query.callbacks_max = limits::kListPageMax;
    query.states = {DeliveryState::kFailed};
    const auto page = reader.callbacks(query);
    if (!page.ok() && replayed_ == 0) return answer_->refuse(page.error());
    if (!page.ok()) return give();
    event::Replay replay;
    for (const CallbackRecord& record : page->callbacks) {
      if (record.owner == who_.uid) replay.entries.push_back({record.id, record.delivery.job, record.delivery.lane});
    }
    send(std::move(replay), page->next_after);
  }

  void send(event::Replay replay, std::uint64_t next_after) {
    front_.loop.replay_callbacks(std::move(replay), [self = shared_from_this(), next_after](std::uint64_t count) {
      self->replayed_ += count;
      self->after_ = next_after;
      self->front_.pump.post([self] {
        if (self->after_ != 0) return self->start();
        self->give();
      });
    });
  }

  void give() {
    answer_->give([this](api::ReplayCallbacksResponse& out) { out.set_replayed(replayed_); });
  }

  Front& front_;
  const ReplayAnswer answer_;
  const Principal who_;
  std::vector<std::uint64_t> ids_;
  std::uint64_t after_ = 0;
  std::uint64_t replayed_ = 0;
};

}  // namespace

grpc::ServerUnaryReactor* CallbacksService::Register(Context* context, const api::RegisterCallbackRequest* request,
                                                     api::Callback* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  const auto spec = to_callback(request->spec(), "spec", front_.setup.callback_names);
  if (!spec.ok()) return answer_now(context, spec.error());
  if (const Status sound = check_batch_jobs(*request); !sound.ok()) return answer_now(context, sound);
  if (front_.loop.store_is_failing()) return answer_now(context, store_failing_error());
  event::Register asked;
  asked.who = front_.who(*context);
  asked.job = JobId{request->job_id()};
  asked.batch_jobs = request->batch_jobs();
  asked.spec = encode_callbacks({*spec});
  asked.terms = terms_of(*spec);
  auto answer = Answer<api::Callback>::open(front_, context, response);
  front_.loop.register_callback(std::move(asked), [&front = front_, answer](const Result<CallbackId>& id) {
    front.pump.post([&front, answer, id] {
      if (!id.ok()) return answer->refuse(id.error());
      ask_reader(front, answer, [answer, id = *id](StoreReader& reader) {
        const auto record = reader.callback(id);
        if (!record.ok()) return answer->refuse(record.error());
        if (!*record) return answer->refuse({ErrorCode::kInternal, name_of(id) + " is stored and cannot be read"});
        answer->give([&](api::Callback& out) { to_api(**record, out); });
      });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* CallbacksService::List(Context* context, const api::ListCallbacksRequest* request,
                                                 api::ListCallbacksResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  const auto query = read_request(*request);
  if (!query.ok()) return answer_now(context, query.error());
  auto answer = Answer<api::ListCallbacksResponse>::open(front_, context, response);
  ask_reader(front_, answer, [answer, query = *query](StoreReader& reader) {
    if (query.job.is_set()) {
      const auto job = reader.endings({query.job});
      if (!job.ok()) return answer->refuse(job.error());
      if (job->empty()) return answer->refuse({ErrorCode::kNotFound, "no job " + std::to_string(query.job.value)});
    }
    const auto page = reader.callbacks(query);
    if (!page.ok()) return answer->refuse(page.error());
    answer->give([&](api::ListCallbacksResponse& out) {
      for (const CallbackRecord& record : page->callbacks) to_api(record, *out.add_callbacks());
      if (page->next_after != 0) out.set_next_page_token(std::to_string(page->next_after));
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* CallbacksService::Replay(Context* context, const api::ReplayCallbacksRequest* request,
                                                   api::ReplayCallbacksResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  if (request->all_failed() != request->ids().empty()) {
    return answer_now(context, invalid("ids", "name callbacks, or ask for all_failed"));
  }
  if (static_cast<std::size_t>(request->ids_size()) > limits::kListPageMax) {
    return answer_now(context, too_much("ids", std::to_string(request->ids_size()) + " are over " +
                                                   std::to_string(limits::kListPageMax)));
  }
  if (front_.loop.store_is_failing()) return answer_now(context, store_failing_error());
  auto answer = Answer<api::ReplayCallbacksResponse>::open(front_, context, response);
  std::make_shared<ReplayCall>(front_, answer, front_.who(*context), *request)->start();
  return answer->reactor();
}

}  // namespace futured::rpc
