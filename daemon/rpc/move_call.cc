#include "daemon/rpc/move_call.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"

namespace futured::rpc {

namespace {

using What = effect::Moved::What;

Status check(const api::MoveJobsRequest& request) {
  if (!request.from_queue().empty() && !request.ids().empty()) {
    return invalid("from_queue", "refused beside ids, which say by themselves what is to be moved");
  }
  if (request.from_queue().empty() && request.ids().empty()) {
    return invalid("ids", "names no job; give them, or a from_queue");
  }
  if (!request.from_queue().empty()) {
    if (Status sound = check_name(request.from_queue(), "from_queue"); !sound.ok()) return sound;
  }
  return check_name(request.to_queue(), "to_queue");
}

// Oldest first: what comes in meanwhile is behind all that there was.
Result<std::shared_ptr<ChosenJobs>> choose(const std::string& queue) {
  if (queue.empty()) return std::shared_ptr<ChosenJobs>();
  api::JobFilter filter;
  filter.set_queue(queue);
  auto chosen = choose_jobs(filter, /*oldest_first=*/true);
  if (!chosen.ok()) return chosen.error();
  const Status narrowed =
      narrow_states(*chosen, {JobState::kScheduled, JobState::kBlocked, JobState::kQueued, JobState::kRunning}, "");
  if (!narrowed.ok()) return narrowed.error();
  chosen->query.jobs_max = limits::kMoveStepJobs;
  return std::make_shared<ChosenJobs>(*std::move(chosen));
}

}  // namespace

grpc::ServerUnaryReactor* MoveCall::open(Front& front, grpc::CallbackServerContext* context,
                                         const api::MoveJobsRequest& request, api::MoveJobsResponse* response) {
  if (const Status sound = check(request); !sound.ok()) return answer_now(context, sound);
  auto ranges = to_ranges(request.ids(), limits::kWaitIdsMax);
  if (!ranges.ok()) return answer_now(context, ranges.error());
  auto chosen = choose(request.from_queue());
  if (!chosen.ok()) return answer_now(context, chosen.error());
  event::MoveJobs step{.who = front.who(*context), .from = request.from_queue(), .to = request.to_queue()};
  auto answer = Answer<api::MoveJobsResponse>::open(front, context, response);
  std::make_shared<MoveCall>(front, answer, std::move(step), std::move(*ranges), std::move(*chosen))->ask_next();
  return answer->reactor();
}

MoveCall::MoveCall(Front& front, std::shared_ptr<Answer<api::MoveJobsResponse>> answer, event::MoveJobs step,
                   std::vector<JobRange> ranges, std::shared_ptr<ChosenJobs> chosen)
    : front_(front),
      answer_(std::move(answer)),
      step_(std::move(step)),
      ids_(std::move(ranges)),
      chosen_(std::move(chosen)) {}

void MoveCall::ask_next() {
  if (chosen_) return find_next();
  move(ids_.next(limits::kMoveStepJobs));
}

void MoveCall::find_next() {
  read_chosen(front_, chosen_, [self = shared_from_this()](Result<ChosenPage> page) {
    if (!page.ok()) {
      return self->front_.pump.post([self, error = page.error()] { self->answer_->refuse(error); });
    }
    std::vector<JobId> ids;
    for (const JobView& job : page->jobs) ids.push_back(job.record.job.id);
    std::ranges::sort(ids);
    self->chosen_->query.after = page->next_before;
    self->is_last_page_ = page->next_before == 0;
    self->move(std::move(ids));
  });
}

// Also a step of no jobs says whether the queues are there, and who may.
void MoveCall::move(std::vector<JobId> ids) {
  event::MoveJobs step = step_;
  step.jobs = std::move(ids);
  front_.loop.move_jobs(std::move(step),
                        [self = shared_from_this()](const Result<effect::Moved>& moved) { self->answered(moved); });
}

void MoveCall::answered(const Result<effect::Moved>& moved) {
  if (!moved.ok()) {
    if (told_.moved() > 0) {  // what was moved is moved, and must be told
      to_api(moved.error(), *told_.mutable_refused());
      return give();
    }
    return front_.pump.post([self = shared_from_this(), error = moved.error()] { self->answer_->refuse(error); });
  }
  tell(*moved);
  if (chosen_ ? !is_last_page_ : !ids_.at_end()) return ask_next();
  give();
}

void MoveCall::tell(const effect::Moved& moved) {
  for (const auto& [id, what] : moved.jobs) {
    api::MoveDisposition disposition = api::MOVE_DISPOSITION_UNSPECIFIED;
    switch (what) {
      case What::kMoved:
        told_.set_moved(told_.moved() + 1);
        continue;
      case What::kAlreadyThere:
        told_.set_already_there(told_.already_there() + 1);
        disposition = api::MOVE_DISPOSITION_ALREADY_THERE;
        break;
      case What::kRunning:
        told_.set_running(told_.running() + 1);
        disposition = api::MOVE_DISPOSITION_RUNNING;
        break;
      case What::kEnded:
        told_.set_already_ended(told_.already_ended() + 1);
        disposition = api::MOVE_DISPOSITION_ALREADY_ENDED;
        break;
      case What::kNotFound:
        told_.set_not_found(told_.not_found() + 1);
        disposition = api::MOVE_DISPOSITION_NOT_FOUND;
        break;
    }
    if (chosen_ || static_cast<std::size_t>(told_.entries_size()) == limits::kCancelEntriesMax) continue;
    api::MoveJobsResponse::Entry& out = *told_.add_entries();
    out.set_id(id.value);
    out.set_disposition(disposition);
  }
}

void MoveCall::give() {
  front_.pump.post([self = shared_from_this()] {
    self->answer_->give([&](api::MoveJobsResponse& response) { response = std::move(self->told_); });
  });
}

}  // namespace futured::rpc
