#include "daemon/rpc/submit_stream.h"

#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/proto_buffer_writer.h>

#include <utility>

#include "daemon/rpc/parse_fault.h"
#include "daemon/rpc/unknown_fields.h"

namespace futured::rpc {

namespace {

Status parse(grpc::ByteBuffer& bytes, api::SubmitStreamRequest& request) {
  grpc::ProtoBufferReader reader(&bytes);
  if (reader.status().ok() && request.ParseFromZeroCopyStream(&reader)) return {};
  grpc::ProtoBufferReader again(&bytes);
  return parse_fault(*api::SubmitStreamRequest::descriptor(), again);
}

// Of all but the spec. Packed items are bytes, and not looked into.
Status check_known_batch(const api::SubmitStreamRequest& request) {
  if (const Status known = check_known_here(request); !known.ok()) return known;
  if (request.has_packed()) return check_known_here(request.packed());
  for (const api::Item& item : request.items()) {
    if (const Status known = check_known(item); !known.ok()) return known;
  }
  return {};
}

void tell_refusal(const Error& error, api::Receipt& receipt) {
  api::Error& told = *receipt.mutable_error();
  to_api(error, told);
  if (error.code == ErrorCode::kResourceExhausted) told.set_retry_after_ms(limits::kRetryAfterMs);
}

grpc::ByteBuffer serialise(const api::SubmitStreamResponse& response) {
  grpc::ByteBuffer bytes;
  bool own = false;
  const grpc::Status status =
      grpc::GenericSerialize<grpc::ProtoBufferWriter, api::SubmitStreamResponse>(response, &bytes, &own);
  FUTURED_CHECK(status.ok(), "an answer of our own can be serialised");
  return bytes;
}

}  // namespace

SubmitStream* SubmitStream::open(Front& front, grpc::CallbackServerContext* context) {
  auto stream = std::make_shared<SubmitStream>(front, context);
  stream->self_ = stream;
  ++front.streams;
  if (!front.calls.add(stream)) {
    stream->finished_ = true;
    stream->Finish(to_status(stopping_error()));
    return stream.get();
  }
  stream->reading_ = true;
  stream->StartRead(&stream->in_);
  return stream.get();
}

SubmitStream::SubmitStream(Front& front, grpc::CallbackServerContext* context)
    : front_(front), context_(context), who_(front.who(*context)), inbox_(front.inbox_bytes) {}

// ---- Reading

void SubmitStream::OnReadDone(bool ok) {
  if (ok) {
    if (take_message()) StartRead(&in_);
    return;
  }
  Lock lock(mutex_);
  reading_ = false;
  reads_done_ = true;
  finish_if_over(std::move(lock));
}

// Gives the reader's role back: resume() may take it from now on. With the lock held.
void SubmitStream::pause(Lock lock) {
  paused_ = true;
  reading_ = false;
  finish_if_over(std::move(lock));
}

bool SubmitStream::take_message() {
  const Status sound = parse(in_, request_);
  in_.Clear();
  if (!sound.ok()) {
    Lock lock(mutex_);
    if (!fault_) fault_ = sound.error();
    reading_ = false;
    finish_if_over(std::move(lock));
    return false;
  }
  if (request_.has_spec()) take_spec();
  return take_batch();
}

void SubmitStream::take_spec() {
  spec_error_.reset();
  if (const Status known = check_known(request_.spec()); !known.ok()) {
    spec_error_ = known.error().in("spec");
    return;
  }
  auto spec = to_spec(request_.spec(), front_.setup.callback_names);
  const auto start = to_start(request_.spec());
  auto cache = to_cache_arguments(request_.spec());
  if (spec.ok() && start.ok() && cache.ok()) {
    spec_ = std::move(*spec);
    start_ = *start;
    cache_ = *std::move(cache);
    durable_segments_ = request_.spec().durable_segments();
  } else {
    spec_error_ = !spec.ok() ? spec.error() : !start.ok() ? start.error() : cache.error();
  }
}

bool SubmitStream::take_batch() {
  if (const Status known = check_known_batch(request_); !known.ok()) return refuse_batch(known.error(), false);
  if (spec_error_) return refuse_batch(*spec_error_, true);
  // In the lane it would wait without a word for as long as the disk is full.
  if (front_.loop.store_is_failing()) return refuse_batch(store_failing_error(), false);
  auto batch = check_batch(front_.segments, front_.uploads, who_, spec_,
                           {request_.items(), request_.has_packed() ? &request_.packed() : nullptr,
                            request_.idempotency_key(), start_, cache_, durable_segments_, front_.setup.sent.get()});
  if (!batch.ok()) return refuse_batch(batch.error(), true);
  if (!wants_files(*batch)) {
    PayloadHold stored = std::move(batch->stored);
    return hand_over(*std::move(batch), std::move(stored));
  }
  // The reader's role goes with the batch: what comes behind it on this stream waits.
  keep_payloads(front_.keeper, front_.segments, *std::move(batch),
                [self = shared_from_this()](CheckedBatch checked, Result<PayloadHold> kept) {
                  const bool goes_on = kept.ok() ? self->hand_over(std::move(checked), *std::move(kept))
                                                 : self->refuse_batch(kept.error(), false);
                  if (goes_on) self->front_.pump.post([self] { self->StartRead(&self->in_); });
                });
  return false;
}

// `hold` keeps what is on disk for it until the answer is known.
bool SubmitStream::hand_over(CheckedBatch batch, PayloadHold hold) {
  const bool deliver = request_.deliver_outcomes();
  std::uint64_t number = 0;
  std::uint64_t resumes_before = 0;
  {
    const Lock lock(mutex_);
    number = first_pending_ + pending_.size();
    pending_.push_back({request_.client_ref(), deliver, batch.submit.has_segments});
    resumes_before = resumes_;
  }
  // The loop tells a sink that there is room again, but a keeper of segments may be gone with its batch by then.
  const bool is_told_of_room = deliver && batch.segments.empty();
  // Its queue is full: it waits there for room, and what comes behind it on this stream waits for its receipt.
  batch.submit.waits = true;
  const bool is_slowed = front_.loop.is_full(batch.submit.spec.queue);
  const Lasting lasting = batch.is_durable ? Lasting::kOnDisk : Lasting::kInMemory;
  auto sink = sink_of(std::move(batch.segments), deliver ? shared_from_this() : nullptr, lasting);
  const bool has_sink = sink != nullptr;
  const Intake intake = front_.loop.submit(
      std::move(batch.submit), std::move(sink),
      [self = shared_from_this(), number, hold = std::move(hold)](const Result<Accepted>& accepted) mutable {
        hold = nullptr;  // what is refused is gone from the disk before that is told
        self->answered(number, accepted);
      });

  Lock lock(mutex_);
  if (intake == Intake::kPause && !is_slowed && deliver && resumes_ != resumes_before)
    return true;  // the loop was quicker than we
  if (intake == Intake::kPause && !is_slowed && is_told_of_room) {
    pause(std::move(lock));
    return false;
  }
  // Any other batch is told by its receipt, which always comes.
  const bool full = is_slowed || intake == Intake::kPause || (!has_sink && front_.loop.is_full());
  if (!full || number < first_pending_) return true;
  PendingReceipt& receipt = pending_[number - first_pending_];
  if (receipt.answer) return true;
  receipt.resumes_reading = true;
  pause(std::move(lock));
  return false;
}

bool SubmitStream::refuse_batch(const Error& error, bool names_field) {
  api::Receipt receipt;
  tell_refusal(error, receipt);
  if (names_field) receipt.mutable_error()->set_field(field_of(error));
  Lock lock(mutex_);
  const std::uint64_t number = first_pending_ + pending_.size();
  pending_.push_back({request_.client_ref()});
  add_receipt(number, std::move(receipt), lock);
  return true;
}

void SubmitStream::answered(std::uint64_t number, const Result<Accepted>& accepted) {
  api::Receipt receipt;
  if (accepted.ok()) {
    to_api(*accepted, receipt);
  } else {
    tell_refusal(accepted.error(), receipt);
    // A client that gathers batches by itself lets only that item fail.
    if (accepted.error().message.starts_with("items[")) receipt.mutable_error()->set_field(field_of(accepted.error()));
  }
  Lock lock(mutex_);
  PendingReceipt& pending = pending_[number - first_pending_];
  if (accepted.ok() && pending.deliver) owed_outcomes_ += accepted->count;
  if (accepted.ok()) receipt.set_volatile_payload(pending.has_segments);
  if (pending.resumes_reading) start_read(lock);
  add_receipt(number, std::move(receipt), lock);
}

void SubmitStream::add_receipt(std::uint64_t number, api::Receipt receipt, Lock& lock) {
  PendingReceipt& pending = pending_[number - first_pending_];
  receipt.set_client_ref(pending.client_ref);
  pending.answer = std::move(receipt);
  if (pending_.front().answer) kick(lock);
}

void SubmitStream::resume() {
  Lock lock(mutex_);
  ++resumes_;
  start_read(lock);
}

// Reading goes on, on the pump's thread. With the lock held.
void SubmitStream::start_read(Lock&) {
  if (!paused_ || reading_ || finished_ || cancelled_ || fault_) return;
  paused_ = false;
  reading_ = true;
  front_.pump.post([self = shared_from_this()] { self->StartRead(&self->in_); });
}

// ---- Writing

void SubmitStream::ended(const std::shared_ptr<const Batch>& batch, std::vector<EndedJob> jobs) {
  Lock lock(mutex_);
  if (finished_ || cancelled_ || fault_) return;
  owed_outcomes_ -= jobs.size();
  if (!inbox_.add(batch, std::move(jobs))) {
    return cut({ErrorCode::kResourceExhausted,
                "the client reads its outcomes too slowly; the jobs go on, and Wait tells how they end"},
               lock);
  }
  kick(lock);
}

// Takes the writer's role if it is free. With the lock held.
void SubmitStream::kick(Lock&) {
  if (writing_ || finished_ || cancelled_ || fault_) return;
  writing_ = true;
  front_.pump.post([self = shared_from_this()] { self->write_next(); });
}

// With the writer's role.
void SubmitStream::write_next() {
  if (receipts_.empty() && sending_.empty() && !take_waiting()) return;
  response_.Clear();
  for (api::Receipt& receipt : receipts_) *response_.add_receipts() = std::move(receipt);
  receipts_.clear();
  tell(sending_, sent_, ResultWanted::kInline, *response_.mutable_outcomes(), *response_.mutable_packed());
  out_ = serialise(response_);
  StartWrite(&out_);
}

// False: nothing waits, or nothing can be sent any more; the role is given back.
bool SubmitStream::take_waiting() {
  Lock lock(mutex_);
  while (!pending_.empty() && pending_.front().answer) {
    receipts_.push_back(std::move(*pending_.front().answer));
    pending_.pop_front();
    ++first_pending_;
  }
  sending_ = inbox_.take();
  const bool broken = cancelled_ || fault_;
  if (!broken && !(receipts_.empty() && sending_.empty())) return true;
  writing_ = false;
  finish_if_over(std::move(lock));
  return false;
}

void SubmitStream::OnWriteDone(bool ok) {
  std::vector<Delivery> sent = std::exchange(sent_, {});
  {
    Lock lock(mutex_);
    for (const Delivery& delivery : sent) inbox_.sent(delivery);
    if (!ok || cancelled_ || fault_) {
      cancelled_ = cancelled_ || !ok;
      writing_ = false;
      finish_if_over(std::move(lock));
      return;
    }
  }
  write_next();
}

// ---- The end

// With the lock held. What is being read or written then fails, and the call finishes.
void SubmitStream::cut(const Error& why, Lock&) {
  if (finished_ || cancelled_ || fault_) return;
  fault_ = why;
  front_.pump.post([self = shared_from_this()] {
    const Lock held(self->mutex_);
    if (!self->done_) cut_call(*self->context_, *self->fault_);
  });
}

void SubmitStream::stop(const Error& why) {
  Lock lock(mutex_);
  if (finished_ || cancelled_ || fault_ || done_) return;
  fault_ = why;
  cut_call(*context_, why);
}

void SubmitStream::OnCancel() {
  Lock lock(mutex_);
  cancelled_ = true;
  finish_if_over(std::move(lock));
}

void SubmitStream::finish_if_over(Lock lock) {
  if (finished_ || writing_ || reading_) return;
  const bool settled = reads_done_ && pending_.empty() && owed_outcomes_ == 0 && inbox_.empty() && sending_.empty();
  if (!cancelled_ && !fault_ && !settled) return;
  finished_ = true;
  const grpc::Status status = fault_ ? to_status(*fault_) : grpc::Status::OK;
  lock.unlock();
  Finish(status);
}

void SubmitStream::OnDone() {
  bool owed = false;
  {
    const Lock lock(mutex_);
    done_ = true;
    owed = owed_outcomes_ > 0 || !pending_.empty();
    inbox_.clear();
  }
  sending_.clear();
  sent_.clear();
  // What is in the lane without an answer yet is forgotten, too: its jobs go on, and nobody is told.
  if (owed) front_.loop.forget_batches(shared_from_this());
  front_.calls.remove(this);
  --front_.streams;
  self_.reset();
}

}  // namespace futured::rpc
