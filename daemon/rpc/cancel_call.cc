#include "daemon/rpc/cancel_call.h"

#include <utility>

#include "base/limits.h"

namespace futured::rpc {

namespace {

constexpr std::size_t kAtOnce = 1'024;
constexpr std::uint32_t kPageJobs = 1'000;

Status check(const api::CancelRequest& request) {
  if (request.has_filter() && !request.ids().empty()) return invalid("filter", "refused beside ids; it has its own");
  if (!request.has_filter() && request.ids().empty()) return invalid("ids", "names no job; give them, or a filter");
  if (request.grace_ms() < 0) return invalid("grace_ms", std::to_string(request.grace_ms()) + " is negative");
  if (request.grace_ms() > limits::kTimeoutMsMax) {
    return too_much("grace_ms",
                    std::to_string(request.grace_ms()) + " is over " + std::to_string(limits::kTimeoutMsMax));
  }
  if (request.kill_at_once() && request.grace_ms() != 0) return invalid("grace_ms", "refused beside kill_at_once");
  if (request.reason().size() > limits::kErrorMessageBytesMax / 2) {
    return too_much("reason", std::to_string(request.reason().size()) + " bytes are over " +
                                  std::to_string(limits::kErrorMessageBytesMax / 2));
  }
  return {};
}

Result<std::shared_ptr<ChosenJobs>> choose(const Front& front, const api::CancelRequest& request, Principal who) {
  if (!request.has_filter()) return std::shared_ptr<ChosenJobs>();
  if (request.filter().causes_size() > 0) {
    return invalid("filter.causes[0]", "only a job that has ended has a cause, and it cannot be cancelled");
  }
  auto chosen = choose_to_change(request.filter(), front, who);
  if (!chosen.ok()) return chosen.error();
  const std::vector<JobState> unfinished = {JobState::kScheduled, JobState::kBlocked, JobState::kQueued,
                                            JobState::kRunning};
  const Status narrowed = narrow_states(*chosen, unfinished, "a job that has ended cannot be cancelled");
  if (!narrowed.ok()) return narrowed.error();
  chosen->query.jobs_max = kPageJobs;
  return std::make_shared<ChosenJobs>(std::move(*chosen));
}

}  // namespace

grpc::ServerUnaryReactor* CancelCall::open(Front& front, grpc::CallbackServerContext* context,
                                           const api::CancelRequest& request, api::CancelResponse* response) {
  if (const Status sound = check(request); !sound.ok()) return answer_now(context, sound);
  auto ranges = to_ranges(request.ids(), limits::kWaitIdsMax);
  if (!ranges.ok()) return answer_now(context, ranges.error());
  const Principal who = front.who(*context);
  auto chosen = choose(front, request, who);
  if (!chosen.ok()) return answer_now(context, chosen.error());
  auto answer = Answer<api::CancelResponse>::open(front, context, response);
  const auto call = std::make_shared<CancelCall>(front, answer, request, std::move(*ranges), std::move(*chosen));
  call->cancel_.who = who;
  call->ask_next();
  return answer->reactor();
}

CancelCall::CancelCall(Front& front, std::shared_ptr<Answer<api::CancelResponse>> answer,
                       const api::CancelRequest& request, std::vector<JobRange> ranges,
                       std::shared_ptr<ChosenJobs> chosen)
    : front_(front), answer_(std::move(answer)), ids_(std::move(ranges)), chosen_(std::move(chosen)) {
  if (request.kill_at_once()) cancel_.grace = Duration(0);
  if (request.grace_ms() > 0) cancel_.grace = std::chrono::milliseconds(request.grace_ms());
  cancel_.reason = request.reason();
  cancel_.waits = request.wait();
}

void CancelCall::ask_next() {
  if (chosen_) return find_next();
  cancel(ids_.next(kAtOnce));
}

// A call that is refused here may have cancelled some: asked once more, it goes on with the rest.
void CancelCall::find_next() {
  read_chosen(front_, chosen_, [self = shared_from_this()](Result<ChosenPage> page) {
    if (!page.ok()) {
      return self->front_.pump.post([self, error = page.error()] { self->answer_->refuse(error); });
    }
    std::vector<JobId> ids;
    for (const JobView& job : page->jobs) ids.push_back(job.record.job.id);
    self->chosen_->query.before = page->next_before;
    self->is_last_page_ = page->next_before == 0;
    self->cancel(ids);
  });
}

void CancelCall::cancel(const std::vector<JobId>& ids) {
  entries_.clear();
  if (ids.empty()) return go_on();
  // From the first cancel on, everything of this call is the loop's.
  for (const JobId id : ids) entries_.push_back({id});
  unsettled_ = entries_.size();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    event::Cancel cancel = cancel_;
    cancel.job = ids[i];
    front_.loop.cancel(std::move(cancel),
                       [self = shared_from_this(), i](const Result<JobState>& state) { self->answered(i, state); });
  }
}

void CancelCall::answered(std::size_t index, const Result<JobState>& state) {
  Entry& entry = entries_[index];
  if (!state.ok()) {
    const bool unknown = state.error().code == ErrorCode::kNotFound;
    if (!unknown && !refusal_) refusal_ = state.error();
    settle(entry, unknown ? api::CANCEL_DISPOSITION_NOT_FOUND : api::CANCEL_DISPOSITION_UNSPECIFIED, JobState::kQueued);
  } else if (*state == JobState::kCancelled) {
    settle(entry, api::CANCEL_DISPOSITION_CANCELLED, *state);
  } else if (*state == JobState::kRunning) {
    settle(entry, api::CANCEL_DISPOSITION_STOPPING, *state);
  } else {
    settle(entry, api::CANCEL_DISPOSITION_ALREADY_ENDED, *state);
  }
  if (unsettled_ == 0) go_on();
}

void CancelCall::settle(Entry& entry, api::CancelDisposition disposition, JobState state) {
  entry.disposition = disposition;
  entry.state = state;
  --unsettled_;
}

void CancelCall::go_on() {
  for (const Entry& entry : entries_) {
    switch (entry.disposition) {
      case api::CANCEL_DISPOSITION_CANCELLED:
        told_.set_cancelled(told_.cancelled() + 1);
        break;
      case api::CANCEL_DISPOSITION_STOPPING:
        told_.set_stopping(told_.stopping() + 1);
        break;
      case api::CANCEL_DISPOSITION_ALREADY_ENDED:
        told_.set_already_ended(told_.already_ended() + 1);
        break;
      case api::CANCEL_DISPOSITION_NOT_FOUND:
        told_.set_not_found(told_.not_found() + 1);
        break;
      default:  // refused; the call is, too
        break;
    }
    if (static_cast<std::size_t>(told_.entries_size()) == limits::kCancelEntriesMax) continue;
    api::CancelResponse::Entry& out = *told_.add_entries();
    out.set_id(entry.id.value);
    out.set_disposition(entry.disposition);
    if (entry.disposition != api::CANCEL_DISPOSITION_NOT_FOUND) out.set_state(to_api(entry.state));
  }
  if (chosen_ ? !is_last_page_ : !ids_.at_end()) return ask_next();
  front_.pump.post([self = shared_from_this()] {
    if (self->refusal_) return self->answer_->refuse(*self->refusal_);
    self->answer_->give([&](api::CancelResponse& response) { response = std::move(self->told_); });
  });
}

}  // namespace futured::rpc
