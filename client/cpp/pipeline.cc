#include "client/cpp/pipeline.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/limits.h"
#include "client/cpp/bounds.h"
#include "client/cpp/client_state.h"

namespace futured::client {

namespace {

constexpr std::size_t kSizeBytes = 5;     // of one payload's size in a message, at most
constexpr std::size_t kFrameBytes = 256;  // of what else is in it, at most

[[noreturn]] void refuse_payload(const std::string& what, std::size_t bytes) {
  throw Error(ErrorKind::kResourceExhausted, what + ": " + std::to_string(bytes) + " bytes are over the " +
                                                 std::to_string(limits::kPayloadBytesMax) +
                                                 " of a submit: hand them over as a segment with put()");
}

[[noreturn]] void refuse_batch(std::size_t amount, const std::string& unit, std::size_t max) {
  throw Error(ErrorKind::kResourceExhausted, "payloads: " + std::to_string(amount) + " " + unit + " are over the " +
                                                 std::to_string(max) + " of a batch");
}

}  // namespace

// One SubmitStream call. Deletes itself when gRPC is done with it.
class SubmitStream {
 public:
  SubmitStream(Pipeline& pipeline, ClientState& client) : pipeline_(pipeline) {
    context_.set_initial_metadata_corked(true);  // the call begins with its first message, which is at hand
    call_ = client.jobs->PrepareAsyncSubmitStream(&context_, client.network.queue());
    call_->StartCall(nullptr);
    call_->Read(&response_, read_.tag());
  }
  void write(const api::SubmitStreamRequest& request) { call_->Write(request, written_.tag()); }
  void cancel() { context_.TryCancel(); }
  // Once nothing is read or written any more.
  void finish() { call_->Finish(&status_, finished_.tag()); }

 private:
  void read(bool ok) {
    if (!ok) {
      pipeline_.read_ended();
      return;
    }
    pipeline_.received(response_);
    response_.Clear();
    call_->Read(&response_, read_.tag());
  }
  void written(bool ok) { pipeline_.written(ok); }
  void finished(bool /*ok*/) {
    Pipeline& pipeline = pipeline_;
    const grpc::Status how = status_;
    pipeline.forget_stream();
    delete this;  // before the pipeline knows the end: then the client may go
    pipeline.ended(how);
  }

  Pipeline& pipeline_;
  grpc::ClientContext context_;
  api::SubmitStreamResponse response_;
  grpc::Status status_;
  StepOf<SubmitStream> read_{*this, &SubmitStream::read};
  StepOf<SubmitStream> written_{*this, &SubmitStream::written};
  StepOf<SubmitStream> finished_{*this, &SubmitStream::finished};
  std::unique_ptr<grpc::ClientAsyncReaderWriter<api::SubmitStreamRequest, api::SubmitStreamResponse>> call_;
};

Future Pipeline::submit(const std::shared_ptr<const Spec>& spec, std::string_view payload) {
  if (payload.size() > limits::kPayloadBytesMax) refuse_payload("payload", payload.size());
  Lock lock(mutex_);
  Future future = add_packed(room_for(spec, Kind::kPacked, payload.size(), lock), payload);
  send_next(std::move(lock));
  return future;
}

std::vector<Future> Pipeline::submit_all(const std::shared_ptr<const Spec>& spec, std::span<const std::string> payloads,
                                         const std::string& key) {
  if (payloads.empty()) throw Error(ErrorKind::kInvalidArgument, "payloads: there are none");
  if (payloads.size() > limits::kBatchItemsMax) refuse_batch(payloads.size(), "jobs", limits::kBatchItemsMax);
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < payloads.size(); ++i) {
    const std::size_t size = payloads[i].size();
    if (size > limits::kPayloadBytesMax) refuse_payload("payloads[" + std::to_string(i) + "]", size);
    bytes += size;
  }
  bytes += key.size();
  const std::size_t message_bytes = bytes + payloads.size() * kSizeBytes + spec->proto.ByteSizeLong() + kFrameBytes;
  if (message_bytes > limits::kMessageBytesMax) refuse_batch(message_bytes, "bytes", limits::kMessageBytesMax);
  std::vector<Future> futures;
  futures.reserve(payloads.size());
  Lock lock(mutex_);
  wait_for_room(bytes, lock);
  Batch& batch = new_batch(spec, Kind::kPacked);
  batch.complete = true;
  batch.keyed = !key.empty();
  batch.request->set_idempotency_key(key);
  for (const std::string& payload : payloads) futures.push_back(add_packed(batch, payload));
  send_next(std::move(lock));
  return futures;
}

Future Pipeline::submit(const std::shared_ptr<const Spec>& spec, api::Item item, std::size_t bytes) {
  Lock lock(mutex_);
  const Kind kind = item.idempotency_key().empty() ? Kind::kItems : Kind::kKeyedItems;
  const auto takes_result = [](const api::Part& part) { return part.result_of() != 0; };
  const bool is_alone = item.dependencies_size() > 0 || item.command().stdin_result_of() != 0 ||
                        std::ranges::any_of(item.parts(), takes_result);  // what refuses it is to refuse no other
  if (is_alone) wait_for_room(bytes, lock);
  Batch& batch = is_alone ? new_batch(spec, kind) : room_for(spec, kind, bytes, lock);
  batch.complete = batch.complete || is_alone;
  *batch.request->add_items() = std::move(item);
  Future future = add_job(batch, bytes);
  send_next(std::move(lock));
  return future;
}

void Pipeline::wait_for_room(std::size_t bytes, Lock& lock) {
  room_.wait(lock, [&] {
    return closing_ || gathered_jobs_ == 0 ||
           (gathered_jobs_ < kGatheredJobsMax && gathered_bytes_ + bytes <= kGatheredBytesMax);
  });
  if (closing_) throw Unavailable("the client is closed");
}

Pipeline::Batch& Pipeline::room_for(const std::shared_ptr<const Spec>& spec, Kind kind, std::size_t bytes, Lock& lock) {
  wait_for_room(bytes, lock);
  if (!gathered_.empty()) {
    Batch& last = gathered_.back();
    const bool same_kind = !last.complete && last.request->has_packed() == (kind == Kind::kPacked) &&
                           last.keyed == (kind == Kind::kKeyedItems);
    if (same_kind && last.spec == spec && last.count < limits::kBatchItemsMax && last.bytes + bytes <= kBatchBytesMax) {
      return last;
    }
  }
  return new_batch(spec, kind);
}

Pipeline::Batch& Pipeline::new_batch(const std::shared_ptr<const Spec>& spec, Kind kind) {
  Batch& batch = gathered_.emplace_back();
  batch.spec = spec;
  batch.request = std::make_unique<api::SubmitStreamRequest>();
  batch.request->set_deliver_outcomes(spec->follow);
  batch.keyed = kind == Kind::kKeyedItems;
  if (kind == Kind::kPacked) batch.request->mutable_packed()->set_content_type(spec->content_type);
  batch.client_ref = next_ref_++;
  batch.request->set_client_ref(batch.client_ref);
  return batch;
}

Future Pipeline::add_packed(Batch& batch, std::string_view payload) {
  api::PackedItems& packed = *batch.request->mutable_packed();
  packed.mutable_data()->append(payload);
  packed.add_sizes(static_cast<std::uint32_t>(payload.size()));
  return add_job(batch, payload.size());
}

Future Pipeline::add_job(Batch& batch, std::size_t bytes) {
  if (batch.blocks.empty() || batch.blocks.back()->full()) {
    const std::uint32_t capacity = std::clamp(batch.count, kBlockSlotsMin, kBlockSlotsMax);
    batch.blocks.emplace_back(
        Block::make(capacity, client_.weak_from_this(), batch.spec->tally, batch.spec->follow, /*first_id=*/0));
  }
  Block& block = *batch.blocks.back().get();
  ++batch.count;
  batch.bytes += bytes;
  ++gathered_jobs_;
  gathered_bytes_ += bytes;
  batch.spec->tally->open.fetch_add(1, std::memory_order_relaxed);
  return block.future(block.add_slot());
}

void Pipeline::send_next(Lock lock) {
  if (gathered_.empty() || writing_ || dead_ || closing_ || sent_.size() >= kBatchesOutMax) return;
  if (stream_ == nullptr) {
    if (connecting_) return;
    // A batch that leaves on a connection that never came about would be in doubt for nothing.
    if (client_.channel->GetState(/*try_to_connect=*/true) != GRPC_CHANNEL_READY) {
      connect_later();
      return;
    }
    open_stream();
  }
  Batch batch = std::move(gathered_.front());
  gathered_.pop_front();
  gathered_jobs_ -= batch.count;
  gathered_bytes_ -= batch.bytes;
  room_.notify_all();
  if (stream_spec_ != batch.spec) {
    *batch.request->mutable_spec() = batch.spec->proto;
    stream_spec_ = batch.spec;
  }
  being_written_ = std::move(batch.request);
  sent_.push_back(std::move(batch));
  writing_ = true;
  SubmitStream* const stream = stream_;
  const api::SubmitStreamRequest* const request = being_written_.get();
  lock.unlock();
  // writing_ is ours: the stream cannot end before written() has been called.
  stream->write(*request);
}

void Pipeline::open_stream() {
  stream_spec_.reset();
  stream_ = new SubmitStream(*this, client_);
}

void Pipeline::connect_later() {
  connecting_ = true;
  const Instant now = monotonic_now();
  if (down_since_.ns == 0) down_since_ = now;
  backoff_ms_ = next_backoff_ms(backoff_ms_);
  client_.keeper.post_at(now + Milliseconds(backoff_ms_), [this] { connect(); });
}

void Pipeline::connect() {
  const bool connected = client_.connect_briefly();
  std::deque<Batch> failed;
  Lock lock(mutex_);
  connecting_ = false;
  if (closing_ || gathered_.empty()) return;
  if (connected) {
    open_stream();
    send_next(std::move(lock));
    return;
  }
  if (monotonic_now() - down_since_ < client_.options.reconnect_timeout) {
    connect_later();
    return;
  }
  down_since_ = Instant{0};
  failed = take_gathered();
  lock.unlock();
  const auto why = std::make_exception_ptr(Unavailable(client_.unreachable()));
  for (Batch& batch : failed) refuse_jobs(batch, why);
}

std::deque<Pipeline::Batch> Pipeline::take_gathered() {
  gathered_jobs_ = 0;
  gathered_bytes_ = 0;
  room_.notify_all();
  if (sent_.empty()) quiet_.notify_all();
  return std::exchange(gathered_, {});
}

void Pipeline::written(bool ok) {
  Lock lock(mutex_);
  writing_ = false;
  // Kept in case one of its items is refused, or it is to be sent again. Its receipt may have come already: then the
  // last one sent is another.
  const bool is_last = !sent_.empty() && sent_.back().client_ref == being_written_->client_ref();
  const bool is_kept = !being_written_->has_packed() || !being_written_->idempotency_key().empty();
  if (is_last && is_kept) sent_.back().request = std::move(being_written_);
  being_written_.reset();
  if (!ok) dead_ = true;
  if (read_ended_) {
    SubmitStream* const stream = stream_;
    lock.unlock();
    stream->finish();
    return;
  }
  send_next(std::move(lock));
}

void Pipeline::read_ended() {
  Lock lock(mutex_);
  dead_ = true;
  read_ended_ = true;
  if (writing_) return;  // written() will let go
  SubmitStream* const stream = stream_;
  lock.unlock();
  stream->finish();
}

void Pipeline::received(api::SubmitStreamResponse& response) {
  for (const api::Receipt& receipt : response.receipts()) acknowledge(receipt);
  deliver(client_.registry, *response.mutable_outcomes(), response.packed());
  if (response.receipts().empty()) return;
  Lock lock(mutex_);
  down_since_ = Instant{0};
  backoff_ms_ = 0;
  send_next(std::move(lock));
}

void Pipeline::acknowledge(const api::Receipt& receipt) {
  Batch batch;
  {
    const std::lock_guard guard(mutex_);
    const auto at = std::find_if(sent_.begin(), sent_.end(),
                                 [&](const Batch& sent) { return sent.client_ref == receipt.client_ref(); });
    if (at == sent_.end()) return;  // not ours: a daemon that errs harms nobody
    batch = std::move(*at);
    sent_.erase(at);
    if (batch.request == nullptr && being_written_ && being_written_->client_ref() == batch.client_ref) {
      batch.request = std::make_unique<api::SubmitStreamRequest>(*being_written_);
    }
  }
  if (receipt.has_error()) {
    refuse(batch, receipt);
  } else {
    accept(batch, receipt);
  }
  const std::lock_guard guard(mutex_);
  if (sent_.empty() && gathered_.empty()) quiet_.notify_all();
}

void Pipeline::accept(Batch& batch, const api::Receipt& receipt) {
  // Where keys made some of them old jobs, their numbers do not follow one another.
  const bool listed = receipt.ids_size() > 0;
  const auto count = listed ? static_cast<std::uint32_t>(receipt.ids_size()) : receipt.count();
  if (count != batch.count || (!listed && receipt.first_id() == 0)) {
    refuse_jobs(batch,
                std::make_exception_ptr(Error(ErrorKind::kInternal, "the daemon acknowledged " + std::to_string(count) +
                                                                        " jobs of " + std::to_string(batch.count) +
                                                                        ": are client and daemon of one version?")));
    return;
  }
  // The stream does not tell the outcomes of old jobs: each is asked for.
  if (listed || receipt.old_items_size() > 0) make_singles(batch);
  std::uint64_t id = receipt.first_id();
  for (BlockRef& block : batch.blocks) {
    {
      const auto guard = block->lock();
      block->set_first_id(id);
    }
    id += block->count();
    if (batch.spec->follow) {
      client_.registry.add(std::move(block));
    } else {
      follow_wanted(*block.get());
    }
  }
  for (std::size_t i = 0; i < batch.singles.size(); ++i) {
    auto& [block, index] = batch.singles[i];
    if (listed) id = receipt.ids(static_cast<int>(i));
    bool wanted = false;
    {
      const auto guard = block->lock();
      block->set_single_id(index, id);
      wanted = block->slot(index).followed;
    }
    if (wanted) client_.follow_known(id, *block.get(), index);
    ++id;
  }
}

// Of jobs whose outcomes do not come by themselves: those that somebody waits for already.
void Pipeline::follow_wanted(Block& block) {
  std::vector<std::uint32_t> wanted;
  {
    const auto guard = block.lock();
    for (std::uint32_t i = 0; i < block.count(); ++i) {
      if (block.slot(i).followed && !block.ended(i)) wanted.push_back(i);
    }
  }
  for (const std::uint32_t index : wanted) client_.follow_known(block.id_of(index), block, index);
}

// A batch is refused as a whole. Where one item is at fault and named, that one fails, and the others, which other
// callers may have submitted, go again.
void Pipeline::refuse(Batch& batch, const api::Receipt& receipt) {
  const std::exception_ptr why = to_exception(receipt.error().code(), receipt.error().message());
  const std::string& field = receipt.error().field();
  constexpr std::string_view kItem = "items[";
  const bool of_all = receipt.error().code() == grpc::StatusCode::UNIMPLEMENTED;  // what one has, all have
  if (of_all || !field.starts_with(kItem) || batch.request == nullptr || batch.count == 1) {
    refuse_jobs(batch, why);
    return;
  }
  const std::uint64_t culprit = std::strtoull(field.c_str() + kItem.size(), nullptr, 10);
  if (culprit >= batch.count || static_cast<std::uint32_t>(batch.request->items_size()) != batch.count) {
    refuse_jobs(batch, why);
    return;
  }
  make_singles(batch);
  auto rest = std::make_unique<api::SubmitStreamRequest>();
  rest->set_deliver_outcomes(batch.spec->follow);
  Batch again{.spec = batch.spec, .keyed = batch.keyed, .bytes = batch.bytes};
  Batch wrong{.spec = batch.spec};
  for (std::uint32_t i = 0; i < batch.count; ++i) {
    Batch& side = i == culprit ? wrong : again;
    side.singles.push_back(std::move(batch.singles[i]));
    ++side.count;
    if (i != culprit) *rest->add_items() = std::move(*batch.request->mutable_items(static_cast<int>(i)));
  }
  refuse_jobs(wrong, why);
  again.request = std::move(rest);
  Lock lock(mutex_);
  send_again(std::move(again));
  send_next(std::move(lock));
}

// Its futures are numbered one by one, in the order of its items, so nothing may join it meanwhile.
void Pipeline::send_again(Batch batch) {
  make_singles(batch);
  batch.complete = true;
  batch.client_ref = next_ref_++;
  batch.request->set_client_ref(batch.client_ref);
  batch.request->clear_spec();  // set anew where the stream needs it
  gathered_jobs_ += batch.count;
  gathered_bytes_ += batch.bytes;
  gathered_.push_front(std::move(batch));
}

void Pipeline::make_singles(Batch& batch) {
  for (BlockRef& block : batch.blocks) {
    for (std::uint32_t i = 0; i < block->count(); ++i) batch.singles.emplace_back(BlockRef::share(block.get()), i);
  }
  batch.blocks.clear();
}

void Pipeline::refuse_jobs(Batch& batch, const std::exception_ptr& why) {
  make_singles(batch);
  Notices notices;
  for (auto& [block, index] : batch.singles) {
    auto ending = std::make_unique<Ending>();
    ending->refusal = why;
    const auto guard = block->lock();
    block->end_full(index, std::move(ending), notices);
  }
}

void Pipeline::forget_stream() {
  const std::lock_guard guard(mutex_);
  stream_ = nullptr;
  ++ending_;  // close() waits for the end of ended()
  writing_ = false;
  dead_ = true;  // until then nothing is sent
  read_ended_ = false;
  being_written_.reset();
}

void Pipeline::ended(const grpc::Status& status) {
  std::deque<Batch> lost;
  std::deque<Batch> hopeless;
  {
    const std::lock_guard guard(mutex_);
    dead_ = false;
    lost = std::exchange(sent_, {});
    if (!closing_ && may_resume(status)) {
      // From the last to the first, each before those gathered. Their keys keep the daemon from running any twice.
      const auto keyed = std::stable_partition(lost.begin(), lost.end(),
                                               [](const Batch& batch) { return !batch.keyed || !batch.request; });
      for (auto at = lost.end(); at != keyed;) send_again(std::move(*--at));
      lost.erase(keyed, lost.end());
    }
    if (!closing_ && !may_resume(status)) hopeless = take_gathered();
    if (!closing_ && !gathered_.empty() && !connecting_) connect_later();
  }
  const std::string doubt = client_.unreachable() + " before this job was acknowledged: it may or may not be accepted";
  const auto in_doubt = std::make_exception_ptr(Unavailable(doubt + " (" + status.error_message() + ")"));
  const bool refused = !may_resume(status);
  const auto why = refused ? client_.describe_failure(status) : in_doubt;
  for (Batch& batch : lost) refuse_jobs(batch, why);
  for (Batch& batch : hopeless) refuse_jobs(batch, why);
  client_.follower.follow(client_.registry.open_ids());
  const std::lock_guard guard(mutex_);
  --ending_;
  quiet_.notify_all();
}

void Pipeline::flush() {
  client_.check_process();
  Lock lock(mutex_);
  quiet_.wait(lock, [&] { return closing_ || (gathered_.empty() && sent_.empty()); });
}

void Pipeline::close(const std::exception_ptr& why) {
  std::deque<Batch> left;
  {
    Lock lock(mutex_);
    closing_ = true;
    left = take_gathered();
    if (stream_ != nullptr) stream_->cancel();
    quiet_.wait(lock, [&] { return stream_ == nullptr && ending_ == 0; });
  }
  for (Batch& batch : left) refuse_jobs(batch, why);
}

}  // namespace futured::client
