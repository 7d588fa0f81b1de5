#include "daemon/rpc/wait.h"

#include <algorithm>
#include <utility>

#include "daemon/rpc/refused_stream.h"

namespace futured::rpc {

grpc::ServerWriteReactor<api::WaitResponse>* WaitCall::open(Front& front, grpc::CallbackServerContext* context,
                                                            const api::WaitRequest& request) {
  const auto refuse = [&](const Error& error) { return new RefusedStream<api::WaitResponse>(*context, error); };
  auto ranges = to_ranges(request.ids(), limits::kWaitIdsMax);
  if (!ranges.ok()) return refuse(ranges.error());
  if (!api::WaitMode_IsValid(request.mode())) return refuse(invalid("mode", "is not known"));
  if (!api::ResultDelivery_IsValid(request.results())) return refuse(invalid("results", "is not known"));
  if (request.timeout_ms() < 0) return refuse(invalid("timeout_ms", "is negative"));
  auto call = std::make_shared<WaitCall>(front, context, request, std::move(*ranges));
  if (!front.calls.add(call)) return refuse(stopping_error());
  call->self_ = call;
  call->start(std::min(request.timeout_ms(), limits::kTimeoutMsMax));
  return call.get();
}

WaitCall::WaitCall(Front& front, grpc::CallbackServerContext* context, const api::WaitRequest& request,
                   std::vector<JobRange> ranges)
    : front_(front),
      context_(context),
      mode_(request.mode()),
      wanted_(request.results() == api::RESULT_DELIVERY_NONE ? ResultWanted::kNone : ResultWanted::kInline),
      ranges_(std::move(ranges)),
      open_(ranges_),
      inbox_(front.inbox_bytes) {}

void WaitCall::start(std::int64_t timeout_ms) {
  ++front_.waits;
  if (timeout_ms > 0) {
    alarm_set_ = true;
    alarm_.Set(std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms),
               [self = shared_from_this()](bool rang) {
                 Lock lock(self->mutex_);
                 if (!rang) return;
                 self->timed_out_ = true;
                 self->kick(lock);
               });
  }
  front_.loop.watch(ranges_, shared_from_this(), [self = shared_from_this()] {
    Lock lock(self->mutex_);
    self->watching_ = true;
    self->kick(lock);
  });
}

void WaitCall::ended(const std::shared_ptr<const Batch>& batch, std::vector<EndedJob> jobs) {
  Lock lock(mutex_);
  if (finished_ || cancelled_ || fault_) return;
  if (!inbox_.add(batch, std::move(jobs))) {
    return cut(
        {ErrorCode::kResourceExhausted, "the client reads its outcomes too slowly; wait again for those missing"},
        lock);
  }
  kick(lock);
}

void WaitCall::swept(std::vector<JobId> asked, Result<EndingsPage> found) {
  Lock lock(mutex_);
  sweeping_ = false;
  if (!found.ok()) return cut(found.error(), lock);
  left_.assign(asked.begin() + static_cast<std::ptrdiff_t>(found->ids), asked.end());
  asked.resize(found->ids);
  answers_.push_back({std::move(asked), std::move(found->rows)});
  kick(lock);
}

// With the lock held.
void WaitCall::kick(Lock&) {
  if (finished_) return;
  again_ = true;
  if (busy_) return;
  busy_ = true;
  front_.pump.post([self = shared_from_this()] { self->work(); });
}

// ---- In the worker's role

void WaitCall::work() {
  do {
    std::deque<Delivery> deliveries;
    std::deque<Swept> answers;
    // What a client that is behind has not read yet stays in the inbox, which is bounded.
    const bool is_behind = sends_as_it_comes() && !end_told_ && messages_.size() > 2;
    {
      const Lock lock(mutex_);
      again_ = false;
      if (!is_behind || cancelled_ || fault_) deliveries = inbox_.take();
      answers.swap(answers_);
    }
    add_deliveries(std::move(deliveries));
    for (Swept& answer : answers) add_swept(std::move(answer));
    if (!end_told_) sweep();
  } while (send_or_rest());
}

api::WaitResponse& WaitCall::message() {
  if (messages_.empty() || last_bytes_ >= limits::kAnswerBytesMax) {
    messages_.emplace_back();
    last_bytes_ = 0;
  }
  return messages_.back();
}

void WaitCall::count(JobId id, const Ending& ending, OutcomePacker& packer) {
  ++ended_;
  failed_ = failed_ || ending.state != JobState::kSucceeded;
  const std::size_t bytes = packer.add(id, ending);
  last_bytes_ += bytes;
  held_bytes_ += bytes;
}

void WaitCall::add_deliveries(std::deque<Delivery> deliveries) {
  for (Delivery& delivery : deliveries) {
    // What comes behind the end of the answer is another call's.
    std::erase_if(delivery.jobs, [this](const EndedJob& job) { return end_told_ || !open_.take(job.id); });
    std::size_t next = 0;
    while (next < delivery.jobs.size()) {
      api::WaitResponse& into = message();
      JobId first = delivery.jobs[next].id;
      for (std::size_t i = next; i < delivery.jobs.size(); ++i) first = std::min(first, delivery.jobs[i].id);
      OutcomePacker packer(first, wanted_, *into.mutable_outcomes(), *into.mutable_packed());
      while (next < delivery.jobs.size() && last_bytes_ < limits::kAnswerBytesMax) {
        const EndedJob& job = delivery.jobs[next++];
        count(job.id, *job.ending, packer);
      }
    }
    const Lock lock(mutex_);
    inbox_.sent(delivery);
  }
}

// The ids were asked in ascending order, and so are the rows.
void WaitCall::add_swept(Swept swept) {
  if (end_told_) return;
  std::size_t row = 0;
  std::optional<OutcomePacker> packer;
  const api::WaitResponse* packing_into = nullptr;
  for (const JobId id : swept.asked) {
    const bool exists = row < swept.found.size() && swept.found[row].id == id;
    const OutcomeRow* const found = exists ? &swept.found[row++] : nullptr;
    if (found != nullptr && !is_terminal(found->ending.state)) continue;
    if (!open_.take(id)) continue;  // it ended meanwhile, and the loop was quicker
    if (found == nullptr) {
      add_unknown(id);
      continue;
    }
    api::WaitResponse& into = message();
    if (packing_into != &into) {
      packer.emplace(id, wanted_, *into.mutable_outcomes(), *into.mutable_packed());
      packing_into = &into;
    }
    count(id, found->ending, *packer);
  }
}

void WaitCall::add_unknown(JobId id) {
  constexpr std::size_t kRangeBytes = 20;
  ++ended_;
  failed_ = true;
  api::WaitResponse& into = message();
  if (into.unknown_size() > 0) {
    api::IdRange& last = *into.mutable_unknown(into.unknown_size() - 1);
    if (last.last() + 1 == id.value) {
      last.set_last(id.value);
      return;
    }
  }
  api::IdRange& range = *into.add_unknown();
  range.set_first(id.value);
  range.set_last(id.value);
  last_bytes_ += kRangeBytes;
  held_bytes_ += kRangeBytes;
}

// One step of the sweep, unless one is under way or the client is behind. It brings about one message of results:
// a thousand large ones would be held here at once.
void WaitCall::sweep() {
  std::vector<JobId> ids;
  {
    const Lock lock(mutex_);
    if (!watching_ || sweeping_ || swept_all_ || cancelled_ || fault_) return;
    if (is_satisfied() || (sends_as_it_comes() && messages_.size() > 2)) return;
    sweeping_ = true;
    ids.swap(left_);
  }
  if (ids.empty()) ids = open_.next(limits::kListPageMax);
  if (ids.empty()) {
    const Lock lock(mutex_);
    sweeping_ = false;
    swept_all_ = true;
    return;
  }
  const bool asked = front_.reader.ask([self = shared_from_this(), ids](StoreReader& reader) {
    auto found = reader.endings(ids, limits::kAnswerBytesMax);
    self->swept(ids, std::move(found));
  });
  if (!asked) swept({}, busy_error());
}

bool WaitCall::is_satisfied() const {
  if (open_.size() == 0) return true;
  switch (mode_) {
    case api::WAIT_MODE_ANY:
      return ended_ > 0;
    case api::WAIT_MODE_FIRST_FAILURE:
      return failed_;
    default:  // a client's number; checked in open()
      return false;
  }
}

bool WaitCall::sends_as_it_comes() const {
  return mode_ == api::WAIT_MODE_AS_COMPLETED || held_bytes_ > limits::kHeldOutcomesBytesMax;
}

// Sends the next message and keeps the role, or gives the role back. True: something came meanwhile, go on.
bool WaitCall::send_or_rest() {
  Lock lock(mutex_);
  if (cancelled_ || fault_) {
    busy_ = false;
    finish(std::move(lock));
    return false;
  }
  // What has ended before the call belongs into its answer, however short the timeout.
  const bool timed_out = timed_out_ && swept_all_;
  const bool over = watching_ && (is_satisfied() || timed_out);
  if (over && !end_told_) {
    end_told_ = true;
    api::WaitResponse& last = message();
    last.set_remaining(open_.size());
    last.set_end(is_satisfied() ? api::WAIT_END_SATISFIED : api::WAIT_END_TIMED_OUT);
  }
  if (!messages_.empty() && (end_told_ || sends_as_it_comes())) {
    out_ = std::move(messages_.front());
    messages_.pop_front();
    if (messages_.empty()) held_bytes_ = last_bytes_ = 0;
    if (out_.end() == api::WAIT_END_NOT_YET) out_.set_remaining(open_.size());
    lock.unlock();
    StartWrite(&out_);
    return false;
  }
  if (end_told_) {
    busy_ = false;
    finish(std::move(lock));
    return false;
  }
  if (again_) return true;
  busy_ = false;
  return false;
}

void WaitCall::OnWriteDone(bool ok) {
  if (!ok) {
    const Lock lock(mutex_);
    cancelled_ = true;
  }
  work();
}

// ---- The end

// With the lock held.
void WaitCall::cut(const Error& why, Lock&) {
  if (finished_ || cancelled_ || fault_) return;
  fault_ = why;
  front_.pump.post([self = shared_from_this()] {
    const Lock held(self->mutex_);
    if (!self->done_) cut_call(*self->context_, *self->fault_);
  });
}

void WaitCall::stop(const Error& why) {
  Lock lock(mutex_);
  if (finished_ || cancelled_ || fault_ || done_) return;
  fault_ = why;
  cut_call(*context_, why);
}

void WaitCall::OnCancel() {
  Lock lock(mutex_);
  cancelled_ = true;
  if (!busy_) finish(std::move(lock));
}

void WaitCall::finish(Lock lock) {
  if (finished_) return;
  finished_ = true;
  const grpc::Status status = fault_ ? to_status(*fault_) : grpc::Status::OK;
  lock.unlock();
  if (alarm_set_) alarm_.Cancel();
  Finish(status);
}

void WaitCall::OnDone() {
  {
    const Lock lock(mutex_);
    done_ = true;
    inbox_.clear();
  }
  front_.loop.forget(ranges_, shared_from_this());
  front_.calls.remove(this);
  --front_.waits;
  self_.reset();
}

}  // namespace futured::rpc
