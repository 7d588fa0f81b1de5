#include "daemon/rpc/read_output.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "daemon/rpc/refused_stream.h"

namespace futured::rpc {

namespace {

constexpr std::array<api::OutputKind, 4> kKinds = {api::OUTPUT_KIND_STDOUT, api::OUTPUT_KIND_STDERR,
                                                   api::OUTPUT_KIND_EMITTED, api::OUTPUT_KIND_LOG};

bool is_wanted(const api::ReadOutputRequest& request, std::size_t stream) {
  return request.kind() == api::OUTPUT_KIND_UNSPECIFIED || request.kind() == kKinds[stream];
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
  front_.loop.look([self = shared_from_this()](const Loop&) { self->ask_store(); });
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
  Lock lock(mutex_);
  if (over_ || phase_ == Phase::kStored) return;
  if (!record.ok()) return fail(record.error(), std::move(lock));
  if (!*record) return fail({ErrorCode::kNotFound, "no job " + std::to_string(job_.value)}, std::move(lock));
  if (is_terminal((*record)->ending.state)) {
    if (const Status taken = take_record(std::move(**record), lock); !taken.ok()) {
      return fail(taken.error(), std::move(lock));
    }
  } else if (phase_ == Phase::kOpening) {
    phase_ = request_.follow() ? Phase::kLive : Phase::kSnapshot;
  }
  take_role(std::move(lock));
}

Status OutputCall::take_record(JobRecord record, Lock&) {
  const std::uint32_t last = record.ending.attempt;
  if (request_.attempt() != 0 && request_.attempt() != last && !request_.follow()) {
    return Error{ErrorCode::kNotFound, "the output of attempt " + std::to_string(request_.attempt()) +
                                           " is not kept; that of the last one, " + std::to_string(last) + ", is"};
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
    const auto output = captured_output(part);
    if (!output || !is_wanted(request_, static_cast<std::size_t>(output->stream) - 1)) continue;
    auto source = BytesSource::of(part, front_.segments, front_.setup.state_directory + "/output");
    if (!source.ok()) return source.error();
    stored_.push_back({*output, std::move(*source)});
  }
  outcome_ = std::move(outcome);
  phase_ = Phase::kStored;
  chunks_.clear();
  return {};
}

void OutputCall::chunk(const OutputChunk& chunk) {
  if (chunk.stream < 1 || chunk.stream > kKinds.size() || chunk.data.empty()) return;
  const std::size_t stream = chunk.stream - 1;
  if (!is_wanted(request_, stream)) return;
  Lock lock(mutex_);
  if (!live_ || over_ || phase_ == Phase::kStored) return;
  if (chunk_bytes_ + chunk.data.size() > limits::kFollowBytesMax) {
    live_ = false;
    return;
  }
  chunk_bytes_ += chunk.data.size();
  chunks_.push_back({chunk.fence.attempt, stream, chunk.offset, std::string(chunk.data)});
  if (phase_ == Phase::kLive) take_role(std::move(lock));
}

void OutputCall::progress(const JobProgress& progress) {
  if (!request_.progress()) return;
  Lock lock(mutex_);
  if (over_ || phase_ == Phase::kStored) return;
  progress_ = {progress.fence.attempt, progress.fraction(), as_utf8(progress.message)};
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
    if (!chunks_.empty()) {
      Chunk chunk = std::move(chunks_.front());
      chunks_.pop_front();
      chunk_bytes_ -= chunk.data.size();
      lock.unlock();
      if (!fill_from_chunk(std::move(chunk))) continue;
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

// False: all of it is known to the client.
bool OutputCall::fill_from_chunk(Chunk chunk) {
  if (chunk.attempt < attempt_) return false;
  begin_attempt(chunk.attempt);
  std::uint64_t& next = next_[chunk.stream];
  const std::uint64_t end = chunk.offset + chunk.data.size();
  if (!std::exchange(begun_[chunk.stream], true) && request_.tail_bytes() > 0) {
    next = std::max({next, chunk.offset, end - std::min(end, request_.tail_bytes())});
  }
  if (end <= next) return false;
  const std::uint64_t known = next > chunk.offset ? next - chunk.offset : 0;
  out_.set_attempt(chunk.attempt);
  out_.set_kind(kKinds[chunk.stream]);
  out_.set_offset(chunk.offset + known);
  out_.set_dropped_bytes(chunk.offset > next ? chunk.offset - next : 0);
  if (known > 0) chunk.data.erase(0, known);
  out_.set_data(std::move(chunk.data));
  next = end;
  return true;
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
