#include "daemon/rpc/retry_call.h"

#include <utility>

#include "base/limits.h"
#include "base/payload.h"
#include "base/stored_segment.h"
#include "daemon/core/callbacks.h"
#include "daemon/rpc/no_job.h"
#include "daemon/rpc/stored_segments.h"
#include "daemon/rpc/submit.h"

namespace futured::rpc {

namespace {

constexpr std::size_t kAtOnce = 64;
constexpr std::uint32_t kPageJobs = 1'000;

// The batch has ended, and was told of.
std::string without_whole_batch(const std::string& encoded) {
  auto callbacks = decode_callbacks(encoded);
  if (!callbacks.ok() || std::erase_if(*callbacks, [](const auto& one) { return one.whole_batch; }) == 0)
    return encoded;
  return encode_callbacks(*callbacks);
}

// A job that retries another is newer than it and may be in any state: all are read, from the newest on.
Result<std::shared_ptr<ChosenJobs>> choose(const Front& front, const api::RetryRequest& request, Principal who) {
  if (!request.has_filter()) return std::shared_ptr<ChosenJobs>();
  auto chosen = choose_to_change(request.filter(), front, who);
  if (!chosen.ok()) return chosen.error();
  const std::vector<JobState> unsuccessful = {JobState::kFailed, JobState::kCancelled, JobState::kTimedOut};
  const Status narrowed = narrow_states(*chosen, unsuccessful, "a filter retries jobs that ended without success");
  if (!narrowed.ok()) return narrowed.error();
  chosen->query.states.clear();
  chosen->query.causes.clear();
  chosen->query.before = 0;
  chosen->reads_newer = true;
  chosen->query.jobs_max = kPageJobs;
  return std::make_shared<ChosenJobs>(std::move(*chosen));
}

}  // namespace

grpc::ServerUnaryReactor* RetryCall::open(Front& front, grpc::CallbackServerContext* context,
                                          const api::RetryRequest& request, api::RetryResponse* response) {
  if (request.has_filter() && !request.ids().empty()) {
    return answer_now(context, invalid("filter", "refused beside ids; it has its own"));
  }
  if (!request.has_filter() && request.ids().empty()) {
    return answer_now(context, invalid("ids", "names no job; give them, or a filter"));
  }
  auto ranges = to_ranges(request.ids(), limits::kBatchItemsMax);
  if (!ranges.ok()) return answer_now(context, ranges.error());
  if (front.loop.store_is_failing()) return answer_now(context, store_failing_error());
  const Principal who = front.who(*context);
  auto chosen = choose(front, request, who);
  if (!chosen.ok()) return answer_now(context, chosen.error());
  const bool is_filtered = *chosen != nullptr;
  auto answer = Answer<api::RetryResponse>::open(front, context, response);
  const auto call = std::make_shared<RetryCall>(front, answer, who, std::move(*ranges), std::move(*chosen));
  if (is_filtered) {
    call->find_next();
  } else {
    call->ask_next();
  }
  return answer->reactor();
}

void RetryCall::find_next() {
  read_chosen(front_, chosen_, [self = shared_from_this()](Result<ChosenPage> page) {
    Status sound = page.ok() ? Status() : Status(page.error());
    const std::uint64_t next_before = page.ok() ? page->next_before : 0;
    if (sound.ok()) sound = self->found(std::move(*page));
    if (!sound.ok()) return self->front_.pump.post([self, error = sound.error()] { self->answer_->refuse(error); });
    if (next_before != 0 && self->found_.size() < limits::kBatchItemsMax) {
      self->chosen_->query.before = next_before;
      return self->find_next();
    }
    self->ids_ = IdSet(ranges_of(std::exchange(self->found_, {})));
    self->ask_next();
  });
}

Status RetryCall::found(ChosenPage page) {
  for (const JobId id : page.retried) retried_.insert(id.value);
  if (retried_.size() > limits::kRetriedIdsMax) {
    return too_much("filter", "more than " + std::to_string(limits::kRetriedIdsMax) +
                                  " retried jobs lie among those it takes; narrow it by queue, task or name");
  }
  for (const JobView& job : page.jobs) {
    const JobId id = job.record.job.id;
    if (retried_.erase(id.value) > 0) continue;
    if (found_.size() == limits::kBatchItemsMax) {
      told_.set_go_on_until_id(id.value);
      break;
    }
    found_.push_back(id);
    if (found_.size() == limits::kBatchItemsMax) told_.set_go_on_until_id(id.value - 1);
  }
  return {};
}

void RetryCall::ask_next() {
  std::vector<JobId> ids = ids_.next(kAtOnce);
  if (ids.empty()) return give();
  const bool asked =
      front_.reader.ask([self = shared_from_this(), ids](StoreReader& reader) { self->read(reader, ids); });
  if (!asked) refuse_rest(std::move(ids), busy_error());
}

void RetryCall::read(StoreReader& reader, const std::vector<JobId>& ids) {
  std::size_t index = 0;
  {
    const std::lock_guard lock(mutex_);
    index = static_cast<std::size_t>(told_.entries_size());
    for (const JobId id : ids) told_.add_entries()->set_id(id.value);
    unsettled_ = ids.size();
  }
  for (const JobId id : ids) {
    SegmentHold segments;
    PayloadHold stored;
    auto record = reader.get(id, true);
    if (record.ok() && !*record) record = no_job(id, reader);
    auto submit = renew(id, std::move(record), segments, stored);
    const std::size_t at = index++;
    if (!submit.ok()) {
      settle(at, submit.error());
      continue;
    }
    front_.loop.submit(
        std::move(*submit), sink_of(std::move(segments), nullptr),
        [self = shared_from_this(), at, stored](const Result<Accepted>& accepted) { self->settle(at, accepted); });
  }
}

Result<event::Submit> RetryCall::renew(JobId id, Result<std::optional<JobRecord>> record, SegmentHold& segments,
                                       PayloadHold& stored) const {
  const std::string job = "job " + std::to_string(id.value);
  if (!record.ok()) return record.error();
  if (!*record) return Error{ErrorCode::kNotFound, "no " + job};
  JobRecord& found = **record;
  event::Submit submit;
  if (!is_terminal(found.ending.state)) return Error{ErrorCode::kFailedPrecondition, job + " has not ended"};
  if (!front_.is_admin(who_) && found.job.owner != who_.uid) {
    return Error{ErrorCode::kPermissionDenied, job + " belongs to user " + std::to_string(found.job.owner)};
  }
  if (names_segment(found.job.payload.view())) {
    const auto parts = decode_parts(found.job.payload.view());
    if (!parts.ok()) return parts.error().in(job);
    for (const Part& part : *parts) {
      if (part.kind == PartKind::kLost) {
        return Error{ErrorCode::kDataLoss, "payload of " + job + ": PAYLOAD_LOST: " + std::string(part.bytes)};
      }
      if (part.kind == PartKind::kResult && part.result_of.is_set()) {
        const Dependency taken{
            .job = part.result_of, .event = {}, .condition = DependencyCondition::kSucceeded, .takes_result = true};
        submit.item_dependencies.emplace_back(0U, event::AskedDependency{taken, {}});
      }
      if (part.kind != PartKind::kSegment) continue;
      if (is_stored(part.segment)) {
        auto kept = front_.setup.sent->keep(part.segment);
        if (!kept.ok()) return kept.error().in("payload of " + job);
        stored = both(std::move(stored), *std::move(kept));
        continue;
      }
      const auto share = front_.segments.take_share(part.segment, who_.uid, segments);
      if (!share.ok()) return share.error().in("payload of " + job);
    }
  }
  submit.who = who_;
  submit.spec = std::move(found.spec);
  submit.spec.callbacks = without_whole_batch(submit.spec.callbacks);
  submit.ends = {found.job.payload.size};
  submit.bytes = found.job.payload.buffer ? found.job.payload.buffer : std::make_shared<const std::string>();
  submit.retry_of = id;
  submit.lineage = found.job.lineage;
  return submit;
}

void RetryCall::settle(std::size_t index, const Result<Accepted>& accepted) {
  {
    const std::lock_guard lock(mutex_);
    api::RetryResponse::Entry& entry = *told_.mutable_entries(static_cast<int>(index));
    if (accepted.ok()) {
      entry.set_new_id(accepted->first.value);
      told_.set_retried(told_.retried() + 1);
      made_jobs_ = true;
    } else {
      told_.set_refused(told_.refused() + 1);
      to_api(accepted.error(), *entry.mutable_error());
    }
    if (--unsettled_ > 0) return;
  }
  ask_next();
}

// A refused call has done nothing: once jobs were made, the call must say which, and its rest is refused one by one.
void RetryCall::refuse_rest(std::vector<JobId> ids, const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    if (!made_jobs_) return front_.pump.post([answer = answer_, error] { answer->refuse(error); });
    for (; !ids.empty(); ids = ids_.next(kAtOnce)) {
      for (const JobId id : ids) {
        api::RetryResponse::Entry& entry = *told_.add_entries();
        entry.set_id(id.value);
        to_api(error, *entry.mutable_error());
        entry.mutable_error()->set_retry_after_ms(limits::kRetryAfterMs);
        told_.set_refused(told_.refused() + 1);
      }
    }
  }
  give();
}

void RetryCall::give() {
  front_.pump.post([self = shared_from_this()] {
    self->answer_->give([&](api::RetryResponse& response) { response = std::move(self->told_); });
  });
}

}  // namespace futured::rpc
