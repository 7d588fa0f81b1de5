#include "daemon/rpc/upload_call.h"

#include <utility>

#include "daemon/rpc/segments_service.h"
#include "daemon/rpc/stored_segments.h"
#include "daemon/rpc/unknown_fields.h"

namespace futured::rpc {

grpc::ServerReadReactor<api::UploadRequest>* UploadCall::open(Front& front, grpc::CallbackServerContext* context,
                                                              api::Segment* response) {
  const auto call = std::make_shared<UploadCall>(front, context, response);
  call->self_ = call;
  if (front.calls.add(call)) {
    call->StartRead(&call->in_);
  } else {
    call->end(stopping_error());
  }
  return call.get();
}

void UploadCall::OnReadDone(bool ok) {
  front_.mover.post([self = shared_from_this(), ok] {
    if (self->is_interrupted()) return self->end(Error{ErrorCode::kUnavailable, "the upload was broken off"});
    self->front_.uploads.goes_on(self.get(), monotonic_now());
    if (!ok) return self->finish();
    const Status sound = self->check();
    if (!sound.ok()) return self->end(sound);
    self->take();
  });
}

Status UploadCall::check() {
  if (const Status known = check_known(in_); !known.ok()) return known;
  return array_ ? check_later(in_) : begin();
}

// Behind the memory for all, and what others want meanwhile.
void UploadCall::take() {
  const auto is_allocated = array_->allocate();
  if (!is_allocated.ok()) return end(is_allocated.error());
  if (!*is_allocated) return front_.mover.post([self = shared_from_this()] { self->take(); });
  if (const Status added = array_->add(in_.data()); !added.ok()) return end(added);
  in_.Clear();
  StartRead(&in_);
}

Status UploadCall::begin() {
  auto terms = UploadTerms::of(in_);
  if (!terms.ok()) return terms.error();
  front_.uploads.forget_unused(monotonic_now());
  if (terms->is_durable) {
    if (!front_.setup.sent) return invalid("durable", "this daemon keeps no files; leave it out");
    forget_unused_sent(front_);
    if (const Status room = front_.setup.sent->check_room(who_.uid, terms->bytes); !room.ok()) return room;
  }
  front_.uploads.begin(shared_from_this(), monotonic_now());
  auto room = front_.segments.reserve(who_.uid, terms->bytes);
  if (!room.ok()) return room.error();
  room_ = std::move(*room);
  auto array = UploadedArray::create(std::move(*terms));
  if (!array.ok()) return array.error();
  array_.emplace(std::move(*array));
  return {};
}

void UploadCall::finish() {
  if (!array_) return end(invalid("bytes", "the stream ended before its first message, which says what comes"));
  const bool is_durable = array_->terms().is_durable;
  std::string content_type = array_->terms().content_type;
  auto segment = std::move(*array_).finish();
  if (!segment.ok()) return end(segment.error());
  if (is_durable) return store(std::move(*segment), std::move(content_type));
  SegmentHold hold;
  const SegmentFacts facts{{}, segment->size, content_type, who_.uid};
  const SegmentId id = front_.segments.fill(std::move(room_), std::move(*segment), content_type, hold);
  front_.uploads.keep(who_.uid, id, std::move(hold), monotonic_now());
  to_api(facts, *response_);
  response_->set_id(id.value);
  end({});
}

// First the file, then the note of who holds it, then the answer: what a daemon that is killed in between has left goes
// with the next start. The memory that it came into is kept for the first jobs, as long as there is room.
void UploadCall::store(Segment segment, std::string content_type) {
  auto shared = std::make_shared<Segment>(std::move(segment));
  const bool asked = front_.keeper.ask([self = shared_from_this(), shared, content_type](PayloadKeeper& keeper) {
    auto sent = store_upload(*self->front_.setup.sent, keeper, *shared,
                             {.bytes = shared->size, .content_type = content_type, .owner = self->who_.uid});
    self->front_.mover.post([self, shared, sent = std::move(sent)] {
      if (!sent.ok()) return self->end(sent.error());
      self->room_.give_up();
      self->front_.segments.keep_stored(sent->id, std::move(*shared));
      to_api(*sent, *self->response_);
      self->end({});
    });
  });
  if (!asked) end(busy_error());
}

// What is told as failed has left nothing.
void UploadCall::end(const Status& status) {
  front_.uploads.ended(this);
  array_.reset();
  room_.give_up();
  std::optional<Error> fault;
  {
    const std::lock_guard lock(mutex_);
    fault = fault_;
  }
  if (!fault && !status.ok()) fault = status.error();
  if (fault) add_retry_after(*context_, *fault);
  Finish(fault ? to_status(*fault) : grpc::Status::OK);
}

bool UploadCall::is_interrupted() const {
  const std::lock_guard lock(mutex_);
  return cancelled_ || fault_.has_value();
}

// What is being read then fails, and the call ends.
void UploadCall::stop(const Error& why) {
  const std::lock_guard lock(mutex_);
  if (done_ || fault_) return;
  fault_ = why;
  cut_call(*context_, why);
}

void UploadCall::OnCancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
}

void UploadCall::OnDone() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  front_.calls.remove(this);
  self_.reset();
}

}  // namespace futured::rpc
