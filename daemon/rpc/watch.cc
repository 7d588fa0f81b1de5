#include "daemon/rpc/watch.h"

#include "daemon/rpc/convert_queue.h"
#include "daemon/rpc/refused_stream.h"

namespace futured::rpc {

namespace {

constexpr std::size_t kPageEvents = 512;
// A client whose filter takes nothing learns this often where to resume.
constexpr std::uint64_t kSkippedMax = 16 * 1024;

Status check(const api::WatchRequest& request) {
  const api::JobFilter& filter = request.filter();
  if (filter.submitted_after_us() != 0) return unbuilt("filter.submitted_after_us");
  if (filter.submitted_before_us() != 0) return unbuilt("filter.submitted_before_us");
  if (filter.retry_of() != 0) return unbuilt("filter.retry_of");
  if (filter.parent_id() != 0) return unbuilt("filter.parent_id");
  if (!filter.pool().empty()) return unbuilt("filter.pool");
  if (request.from_start() && (request.epoch() != 0 || request.sequence() != 0)) {
    return invalid("from_start", "refused beside epoch and sequence");
  }
  return {};
}

void fill(const effect::JobChange& change, api::JobEvent& job) {
  job.set_id(change.job.value);
  job.set_state(rpc::to_api(change.state));
  job.set_attempt(change.attempt);
  job.set_queue(change.spec->queue);
  job.set_task(change.spec->task);
  job.set_name(change.spec->name);
  job.set_owner_uid(change.owner);
  if (change.cause) rpc::to_api(*change.cause, *job.mutable_cause());
  job.set_alive_us(change.alive_at.us);
  if (!change.report) return;
  job.set_reported(true);
  job.set_progress(change.report->fraction);
  job.set_progress_message(as_utf8(change.report->message));
}

void fill(const QueueRow& row, api::QueueEvent& event) { rpc::to_api(row, *event.mutable_queue()); }

void fill(const effect::QueueGone& gone, api::QueueEvent& event) {
  event.mutable_queue()->set_name(gone.name);
  event.set_removed(true);
}

void fill(const effect::WorkerChange& change, api::WorkerEvent& event) {
  api::Worker& worker = *event.mutable_worker();
  worker.set_pool(change.pool);
  worker.set_slot(change.slot.value);
  worker.set_generation(change.generation);
  worker.set_pid(change.pid);
  event.set_ended(change.ended);
  event.set_exit_code(change.exit_code);
  event.set_signal(change.signal);
}

void tell(const LoggedEvent& logged, std::uint32_t epoch, api::Event& out) {
  out.set_epoch(epoch);
  out.set_sequence(logged.sequence);
  out.set_time_us(logged.change.at.us);
  const auto& what = logged.change.what;
  if (const auto* const job = std::get_if<effect::JobChange>(&what)) fill(*job, *out.mutable_job());
  if (const auto* const queue = std::get_if<QueueRow>(&what)) fill(*queue, *out.mutable_queue());
  if (const auto* const gone = std::get_if<effect::QueueGone>(&what)) fill(*gone, *out.mutable_queue());
  if (const auto* const worker = std::get_if<effect::WorkerChange>(&what)) fill(*worker, *out.mutable_worker());
}

}  // namespace

grpc::ServerWriteReactor<api::WatchResponse>* WatchCall::open(Front& front, grpc::CallbackServerContext* context,
                                                              const api::WatchRequest& request) {
  if (const Status sound = check(request); !sound.ok()) {
    return new RefusedStream<api::WatchResponse>(*context, sound.error());
  }
  if (request.filter().batch_id() != 0) {
    return new RefusedStream<api::WatchResponse>(*context, unbuilt("filter.batch_id"));
  }
  auto wanted = read_filter(request.filter());
  if (!wanted.ok()) return new RefusedStream<api::WatchResponse>(*context, wanted.error());
  const auto call = std::make_shared<WatchCall>(
      front, context,
      Wanted{std::move(*wanted), request.progress(), request.heartbeats(), request.queues(), request.workers()},
      Place{request.epoch(), request.sequence(), request.from_start()});
  if (call->begin(call)) call->start();
  return call.get();
}

void WatchCall::start() {
  front_.loop.listen(shared_from_this(), [self = shared_from_this()] {
    self->find_place();
    self->front_.pump.post([self] { self->send_next(); });
  });
}

// On the loop's thread, while nothing is appended.
void WatchCall::find_place() {
  const std::uint64_t newest = front_.loop.events().newest();
  began_at_ = newest;
  const std::string& queue = wanted_.jobs.queue;
  if (!queue.empty() && !front_.loop.scheduler().has_queue(queue)) {
    refusal_ = Error{ErrorCode::kNotFound, "no queue \"" + queue + "\"; fut queue ls shows those that exist"};
    return;
  }
  if (asked_.is_start) {
    after_ = 0;
  } else if (asked_.epoch == 0 && asked_.sequence == 0) {
    after_ = newest;
  } else if (asked_.epoch == front_.loop.epoch().value) {
    after_ = asked_.sequence;
    if (asked_.sequence > newest) {
      refusal_ = invalid("sequence", std::to_string(asked_.sequence) + " was never given out; the last one is " +
                                         std::to_string(newest));
    }
  } else if (asked_.epoch > front_.loop.epoch().value) {
    refusal_ = invalid(
        "epoch", std::to_string(asked_.epoch) + " has not begun; this is " + std::to_string(front_.loop.epoch().value));
  } else {
    gap_ = true;  // whatever an earlier daemon had to say, nobody knows
  }
}

void WatchCall::appended() {
  {
    const std::lock_guard lock(mutex_);
    again_ = true;
    if (!resting_) return;
    resting_ = false;
  }
  front_.pump.post([self = shared_from_this()] { self->send_next(); });
}

void WatchCall::send_next() {
  if (refusal_) return end_now(*refusal_);
  for (;;) {
    if (is_interrupted()) return end_now({});
    {
      const std::lock_guard lock(mutex_);
      again_ = false;
    }
    const EventLog::Page page = front_.loop.events().read(after_, kPageEvents);
    fill(page);
    after_ = page.next;
    const bool catches_up = !is_caught_up_ && after_ >= began_at_;
    if (is_first_ || gap_ || catches_up || out_.events_size() > 0 || after_ - told_ >= kSkippedMax) {
      is_first_ = false;
      is_caught_up_ = is_caught_up_ || catches_up;
      out_.set_caught_up(catches_up);
      out_.set_gap(std::exchange(gap_, false));
      out_.set_epoch(front_.loop.epoch().value);
      out_.set_sequence(after_);
      told_ = after_;
      return StartWrite(&out_);
    }
    if (!page.events.empty()) continue;
    {
      const std::lock_guard lock(mutex_);
      if (again_) continue;
      resting_ = true;
    }
    if (is_interrupted()) interrupted();  // it came before this rested, and found nobody to wake
    return;
  }
}

bool WatchCall::Wanted::takes(const effect::Change& change) const {
  if (std::holds_alternative<QueueRow>(change.what) || std::holds_alternative<effect::QueueGone>(change.what)) {
    return queues;
  }
  if (std::holds_alternative<effect::WorkerChange>(change.what)) return workers;
  const auto& job = std::get<effect::JobChange>(change.what);
  if ((job.report && !progress) || (job.alive_at.us != 0 && !heartbeats)) return false;
  const Cause* const ended_by = is_terminal(job.state) ? job.cause.get() : nullptr;
  return jobs.takes(job.job, job.state, job.owner) && jobs.takes(*job.spec) && jobs.takes(ended_by);
}

void WatchCall::fill(const EventLog::Page& page) {
  out_.Clear();
  gap_ = gap_ || page.gap;
  for (const LoggedEvent& event : page.events) {
    if (wanted_.takes(event.change)) tell(event, front_.loop.epoch().value, *out_.add_events());
  }
}

void WatchCall::OnWriteDone(bool ok) {
  if (ok) return send_next();
  end_now({});
}

void WatchCall::end_now(const Status& status) {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  end(status);
}

// Whoever rests would rest for ever.
void WatchCall::interrupted() {
  {
    const std::lock_guard lock(mutex_);
    if (over_ || !resting_) return;
    resting_ = false;
    over_ = true;
  }
  end({});
}

}  // namespace futured::rpc
