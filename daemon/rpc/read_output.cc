#include "daemon/rpc/read_output.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/limits.h"
#include "daemon/rpc/no_job.h"
#include "daemon/rpc/refused_stream.h"
#include "daemon/rpc/spooled_output.h"

namespace futured::rpc {

namespace {

constexpr std::array<api::OutputKind, 4> kKinds = {api::OUTPUT_KIND_STDOUT, api::OUTPUT_KIND_STDERR,
                                                   api::OUTPUT_KIND_EMITTED, api::OUTPUT_KIND_LOG};

// Of a stream that is over its bound half is kept of its beginning, and half of its end (docs/formats/command.md).
constexpr std::uint64_t kHalfBytes = limits::kOutputBytesMax / 2;

// A chunk of nothing behind all that can be: what lies in the worker's file is sent, as far as that goes.
constexpr std::uint64_t kFarthest = std::numeric_limits<std::uint64_t>::max();

bool is_wanted(const api::ReadOutputRequest& request, std::size_t stream) {
  return request.kind() == api::OUTPUT_KIND_UNSPECIFIED || request.kind() == kKinds[stream];
}

Error other_attempt(std::uint32_t asked, std::uint32_t last) {
  return {ErrorCode::kNotFound, "the output of attempt " + std::to_string(asked) +
                                    " is not kept; that of the last one, " + std::to_string(last) + ", is"};
}

Status check(const api::ReadOutputRequest& request) {
  if (request.kind() == api::OUTPUT_KIND_UNSPECIFIED || std::ranges::find(kKinds, request.kind()) != kKinds.end()) {
    return {};
  }
  return invalid("kind", std::to_string(request.kind()) + " is not known");
}

}  // namespace

grpc::ServerWriteReactor<api::ReadOutputResponse>* OutputCall::open(Front& front, grpc::CallbackServerContext* context,
                                                                    const api::ReadOutputRequest& request) {
  if (const Status sound = check(request); !sound.ok()) {
    return new RefusedStream<api::ReadOutputResponse>(*context, sound.error());
  }
  const auto call = std::make_shared<OutputCall>(front, context, request);
  if (call->begin(call)) call->start();
  return call.get();
}

OutputCall::OutputCall(Front& front, grpc::CallbackServerContext* context, const api::ReadOutputRequest& request)
    : StreamedAnswer(front, context),
      request_(request),
      job_{request.id()},
      next_{request.stdout_offset(), request.stderr_offset(), request.emitted_offset(), request.log_offset()} {}

// The loop is asked first: what ends after it was asked, it tells; what ended before is found in the store.
void OutputCall::start() {
  front_.loop.follow(job_, shared_from_this());
  if (!request_.follow()) front_.loop.unfollow(job_, shared_from_this());
  front_.loop.look([self = shared_from_this()](const Loop& loop) {
    self->look(loop);
    self->ask_store();
  });
}

// What a job wrote under an earlier daemon makes no chunk.
void OutputCall::look(const Loop& loop) {
  const auto live = loop.scheduler().live(job_);
  if (!live) return;
  const Fence fence{job_, live->epoch, live->attempt};
  const Lock lock(mutex_);
  seen_ = live;
  if (live->slot.is_set()) spool_user_ = loop.spool_user(live->slot);
  if (live->state != JobState::kRunning || request_.tail_bytes() > 0 || !takes(fence)) return;
  for (std::size_t stream = 0; stream < kStreams; ++stream) {
    if (is_wanted(request_, stream)) missed_[stream] = fence;
  }
}

void OutputCall::ask_store() {
  const bool asked = front_.reader.ask([self = shared_from_this()](StoreReader& reader) { self->read(reader); });
  if (asked) return;
  front_.pump.post([self = shared_from_this()] { self->fail(busy_error(), Lock(self->mutex_)); });
}

void OutputCall::fail(const Error& error, Lock lock) {
  failure_ = error;
  if (over_ || sending_) return;  // who sends sees it
  over_ = true;
  lock.unlock();
  end(error);
}

void OutputCall::read(StoreReader& reader) {
  auto record = reader.get(job_, false);
  const std::optional<Error> missing = record.ok() && !*record ? std::optional(no_job(job_, reader)) : std::nullopt;
  Lock lock(mutex_);
  if (over_ || phase_ == Phase::kStored) return;
  if (!record.ok()) return fail(record.error(), std::move(lock));
  if (missing) return fail(*missing, std::move(lock));
  if (is_terminal((*record)->ending.state)) {
    if (const Status taken = take_record(std::move(**record), lock); !taken.ok()) {
      return fail(taken.error(), std::move(lock));
    }
  } else if (phase_ == Phase::kOpening) {
    if (const Status taken = check_attempt(**record); !taken.ok()) return fail(taken.error(), std::move(lock));
    phase_ = request_.follow() ? Phase::kLive : Phase::kSnapshot;
  }
  take_role(std::move(lock));
}

// Of a job that has not ended. An offer has its number before any worker takes it, and then it may run any moment.
Status OutputCall::check_attempt(const JobRecord& record) const {
  const std::uint32_t asked = request_.attempt();
  if (asked == 0 || request_.follow()) return {};
  const std::uint32_t ended = record.job.attempts;
  const bool has_begun = seen_ && seen_->state != JobState::kQueued;
  const std::uint32_t last = has_begun ? std::max(seen_->attempt, ended) : ended;
  if (asked == last || (seen_ && asked == seen_->attempt)) return {};
  if (last == 0) return Error{ErrorCode::kNotFound, "no attempt of job " + std::to_string(job_.value) + " has begun"};
  return other_attempt(asked, last);
}

bool OutputCall::takes(const Fence& fence) const {
  const std::uint32_t asked = request_.attempt();
  return request_.follow() ? fence.attempt >= asked : asked == 0 || fence.attempt == asked;
}

Status OutputCall::take_record(JobRecord record, Lock&) {
  const std::uint32_t last = record.ending.attempt;
  if (request_.attempt() != 0 && request_.attempt() != last && !request_.follow()) {
    return other_attempt(request_.attempt(), last);
  }
  // Nobody reads these before the phase is set, but for a chunk that is being sent.
  stored_attempt_ = last;
  result_ = std::move(record.ending.result);
  api::Outcome outcome;
  record.ending.result.clear();
  to_outcome(job_, record.ending, ResultWanted::kNone, outcome);
  outcome.set_submitted_us(record.job.submitted_at.us);
  const auto parts = decode_parts(result_);
  if (!parts.ok()) return parts.error().in("result of job " + std::to_string(job_.value));
  for (const Part& part : *parts) {
    if (last < request_.attempt()) break;  // who follows from a later one on is told the end alone
    const auto stream = stream_of(part);
    if (!stream || !is_wanted(request_, static_cast<std::size_t>(*stream) - 1)) continue;
    auto source = BytesSource::of(part, front_.segments, front_.setup.state_directory + "/output");
    if (!source.ok()) return source.error();
    const auto output = captured_output(part);
    if (!output) continue;
    stored_.push_back({*output, std::move(*source)});
  }
  outcome_ = std::move(outcome);
  phase_ = Phase::kStored;
  chunks_.clear();
  return {};
}

void OutputCall::chunk(const OutputChunk& chunk) {
  if (chunk.stream < 1 || chunk.stream > kKinds.size()) return;
  const std::size_t stream = chunk.stream - 1;
  if (!is_wanted(request_, stream) || !takes(chunk.fence)) return;
  Lock lock(mutex_);
  if (over_ || phase_ == Phase::kStored) return;
  spool_user_ = chunk.spool_user;
  if (chunk_bytes_ + chunk.data.size() > limits::kFollowBytesMax) {
    missed_[stream] = chunk.fence;
    return;
  }
  chunk_bytes_ += chunk.data.size();
  chunks_.push_back({chunk.fence, stream, chunk.offset, std::string(chunk.data)});
  if (phase_ == Phase::kLive) take_role(std::move(lock));
}

void OutputCall::progress(const JobProgress& progress) {
  if (!request_.progress() || !takes(progress.fence)) return;
  Lock lock(mutex_);
  if (over_ || phase_ == Phase::kStored) return;
  progress_ = {progress.fence.attempt, progress.fraction(), as_utf8(progress.message)};
  if (phase_ == Phase::kLive) take_role(std::move(lock));
}

void OutputCall::alive(const Fence& fence, WallTime at) {
  if (!request_.heartbeats() || !takes(fence)) return;
  Lock lock(mutex_);
  if (over_ || phase_ == Phase::kStored) return;
  alive_ = {fence.attempt, at};
  if (phase_ == Phase::kLive) take_role(std::move(lock));
}

void OutputCall::ended(JobId) {
  {
    const Lock lock(mutex_);
    if (phase_ == Phase::kOpening) ended_early_ = true;  // the store is being asked, and may not know it yet
    if (phase_ != Phase::kLive) return;
  }
  ask_store();
}

void OutputCall::take_role(Lock) {
  if (sending_ || over_ || phase_ == Phase::kOpening) return;
  sending_ = true;
  front_.pump.post([self = shared_from_this()] { self->send_next(); });
}

// ---- In the sender's role

void OutputCall::send_next() {
  for (;;) {
    out_.Clear();
    Lock lock(mutex_);
    if (failure_ || is_interrupted() || end_told_) {
      over_ = true;
      lock.unlock();
      return end(failure_ ? Status(*failure_) : Status());
    }
    if (phase_ == Phase::kStored) {
      lock.unlock();
      const auto filled = fill_from_store();
      if (!filled.ok()) {
        lock.lock();
        over_ = true;
        lock.unlock();
        return end(filled.error());
      }
      if (!*filled) fill_end();
      return StartWrite(&out_);
    }
    if (progress_) {
      Progress progress = std::move(*std::exchange(progress_, std::nullopt));
      lock.unlock();
      fill_progress(std::move(progress));
      return StartWrite(&out_);
    }
    if (alive_) {
      const Alive alive = *std::exchange(alive_, std::nullopt);
      out_.set_attempt(alive.attempt);
      out_.set_alive_us(alive.at.us);
      lock.unlock();
      return StartWrite(&out_);
    }
    if (chunks_.empty()) add_missed();
    if (!chunks_.empty()) {
      Chunk chunk = std::move(chunks_.front());
      chunks_.pop_front();
      chunk_bytes_ -= chunk.data.size();
      lock.unlock();
      const Filled filled = fill_from_chunk(chunk);
      if (filled == Filled::kNothing) continue;
      if (filled == Filled::kPart) put_back(std::move(chunk));
      return StartWrite(&out_);
    }
    if (phase_ == Phase::kSnapshot) {
      lock.unlock();
      fill_end();
      return StartWrite(&out_);
    }
    sending_ = false;
    const bool asks = std::exchange(ended_early_, false);
    lock.unlock();
    if (asks) ask_store();
    return;
  }
}

// A later attempt writes from its beginning.
void OutputCall::begin_attempt(std::uint32_t attempt) {
  if (attempt == attempt_) return;
  const bool resumes = attempt_ == 0 && (request_.attempt() == 0 || request_.attempt() == attempt);
  if (!resumes) next_ = {};
  begun_ = {};
  attempt_ = attempt;
}

OutputCall::Filled OutputCall::fill_from_chunk(Chunk& chunk) {
  if (chunk.fence.attempt < attempt_) return Filled::kNothing;
  begin_attempt(chunk.fence.attempt);
  std::uint64_t& next = next_[chunk.stream];
  const std::uint64_t end = chunk.offset + chunk.data.size();
  if (!begun_[chunk.stream] && request_.tail_bytes() > 0) {
    if (chunk.data.empty()) return Filled::kNothing;
    next = std::max({next, chunk.offset, end - std::min(end, request_.tail_bytes())});
  }
  begun_[chunk.stream] = true;
  if (end <= next) return Filled::kNothing;
  if (chunk.offset > next) {
    if (fill_from_file(chunk)) return Filled::kPart;
    // What lies behind the gap waits as long as the gap may yet be filled: then it comes from there, too.
    const bool is_lost = next >= kHalfBytes && chunk.offset - next > kHalfBytes;
    if (chunk.data.empty() || (request_.follow() && !is_lost)) return Filled::kNothing;
  }
  const std::uint64_t known = next > chunk.offset ? next - chunk.offset : 0;
  out_.set_attempt(chunk.fence.attempt);
  out_.set_kind(kKinds[chunk.stream]);
  out_.set_offset(chunk.offset + known);
  out_.set_dropped_bytes(chunk.offset > next ? chunk.offset - next : 0);
  if (known > 0) chunk.data.erase(0, known);
  out_.set_data(std::move(chunk.data));
  next = end;
  return Filled::kAll;
}

bool OutputCall::fill_from_file(const Chunk& chunk) {
  std::uint64_t& next = next_[chunk.stream];
  const std::size_t piece = std::min<std::uint64_t>(chunk.offset - next, limits::kPieceBytesMax);
  SpoolUser user;
  {
    const Lock lock(mutex_);
    user = spool_user_;
  }
  std::string bytes = spooled_output(front_.setup.state_directory + "/output", user, chunk.fence,
                                     static_cast<std::uint32_t>(chunk.stream) + 1, next, piece);
  if (bytes.empty()) return false;
  out_.set_attempt(chunk.fence.attempt);
  out_.set_kind(kKinds[chunk.stream]);
  out_.set_offset(next);
  next += bytes.size();
  out_.set_data(std::move(bytes));
  return true;
}

void OutputCall::put_back(Chunk chunk) {
  const Lock lock(mutex_);
  chunk_bytes_ += chunk.data.size();
  chunks_.push_front(std::move(chunk));
}

// With the lock held.
void OutputCall::add_missed() {
  for (std::size_t stream = 0; stream < kStreams; ++stream) {
    if (missed_[stream]) chunks_.push_back({*std::exchange(missed_[stream], std::nullopt), stream, kFarthest, {}});
  }
}

void OutputCall::fill_progress(Progress progress) {
  out_.set_attempt(progress.attempt);
  out_.set_progress(progress.fraction);
  out_.set_progress_message(std::move(progress.message));
}

// False: nothing is left.
Result<bool> OutputCall::fill_from_store() {
  begin_attempt(stored_attempt_);
  for (const Stored& stored : stored_) {
    const std::size_t stream = static_cast<std::size_t>(stored.output.stream) - 1;
    std::uint64_t& next = next_[stream];
    if (!std::exchange(begun_[stream], true) && request_.tail_bytes() > 0) {
      next = std::max(next, stored.output.total - std::min(stored.output.total, request_.tail_bytes()));
    }
    const CapturedOutput::Place place = stored.output.place_of(next);
    if (place.bytes == 0 && place.skipped == 0) continue;
    const std::size_t piece = std::min<std::uint64_t>(place.bytes, limits::kPieceBytesMax);
    if (const Status read = stored.source.read(place.at, piece, *out_.mutable_data()); !read.ok()) return read.error();
    out_.set_attempt(stored_attempt_);
    out_.set_kind(kKinds[stream]);
    out_.set_offset(place.offset);
    out_.set_dropped_bytes(place.skipped);
    next = place.offset + piece;
    return true;
  }
  return false;
}

void OutputCall::fill_end() {
  end_told_ = true;
  out_.set_attempt(attempt_);
  out_.set_end(true);
  if (outcome_) *out_.mutable_outcome() = std::move(*outcome_);
}

void OutputCall::OnWriteDone(bool ok) {
  if (ok) return send_next();
  {
    const Lock lock(mutex_);
    over_ = true;
  }
  end({});
}

// ---- The end

// Whoever waits for the loop would wait for ever.
void OutputCall::interrupted() {
  Lock lock(mutex_);
  if (over_ || sending_) return;
  over_ = true;
  lock.unlock();
  end({});
}

void OutputCall::released() { front_.loop.unfollow(job_, shared_from_this()); }

}  // namespace futured::rpc
