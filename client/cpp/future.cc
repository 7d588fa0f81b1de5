#include "futured/future.h"

#include <utility>

#include "client/cpp/block.h"
#include "client/cpp/client_state.h"
#include "client/cpp/waiting.h"

namespace futured::client {

namespace {

std::shared_ptr<ClientState> client_of(const Block& block) {
  auto client = block.client();
  if (!client) throw Unavailable("the client of this future is closed");
  return client;
}

// Calls back on the callback thread.
class CallbackSink final : public Sink {
 public:
  CallbackSink(std::shared_ptr<CallbackQueue> queue, DoneCallback callback)
      : queue_(std::move(queue)), callback_(std::move(callback)) {}
  void completed(const Notice* notices, std::size_t /*count*/) override {
    queue_->post(std::move(callback_), notices->block->future(notices->index));
  }

 private:
  std::shared_ptr<CallbackQueue> queue_;
  DoneCallback callback_;
};

}  // namespace

void wait_for_end(const Future& future, Deadline deadline) {
  Block& block = *FutureAccess::block(future);
  const std::uint32_t index = FutureAccess::index(future);
  if (block.ended(index)) return;
  const auto waiter = std::make_shared<Waiter>();
  if (!listen(block, index, waiter, 0)) return;
  if (waiter->wait(1, false, deadline)) return;
  block.remove_listener(index, waiter.get());
  throw WaitTimeout("the job has not ended in time; it goes on");
}

Future::Future(const Future& other) noexcept : block_(other.block_), index_(other.index_) {
  if (block_ != nullptr) block_->acquire();
}

Future::~Future() {
  if (block_ != nullptr) block_->release();
}

Part result_of(const Future& future) {
  Part part;
  part.result_of = future.id();
  return part;
}

std::uint64_t Future::id() const {
  need(block_);
  if (const std::uint64_t id = block_->wait_for_id(index_)) return id;
  std::rethrow_exception(block_->slot(index_).ending->refusal);
}

bool Future::answered(Milliseconds timeout) const {
  need(block_);
  return block_->wait_for_answer(index_, deadline_after(timeout));
}

Outcome Future::outcome(Milliseconds timeout) const {
  need(block_);
  if (!block_->ended(index_)) wait_for_end(*this, deadline_after(timeout));
  Slot& slot = block_->slot(index_);
  if (slot.phase.load(std::memory_order_acquire) == Phase::kSimple) {
    Outcome outcome;
    outcome.id = block_->id_of(index_);
    outcome.state = JobState::kSucceeded;
    outcome.result_bytes = slot.bytes.size();
    outcome.result.push_back({.bytes = slot.bytes});
    return outcome;
  }
  if (slot.ending->refusal) std::rethrow_exception(slot.ending->refusal);
  return slot.ending->outcome;
}

std::vector<Part> Future::parts(Milliseconds timeout) const {
  Outcome ended = outcome(timeout);
  if (!ended.succeeded()) throw_job_failed(std::move(ended));
  if (ended.result_elided) ended = client_of(*block_)->get_result(ended.id);
  return std::move(ended.result);
}

std::string Future::result(Milliseconds timeout) const {
  need(block_);
  if (!block_->ended(index_)) wait_for_end(*this, deadline_after(timeout));
  const Slot& slot = block_->slot(index_);
  if (slot.phase.load(std::memory_order_acquire) == Phase::kSimple) return slot.bytes;
  std::vector<Part> all = parts(Milliseconds(0));
  return all.empty() ? std::string() : std::move(all.front().bytes);
}

std::exception_ptr Future::exception(Milliseconds timeout) const {
  need(block_);
  if (!block_->ended(index_)) wait_for_end(*this, deadline_after(timeout));
  const Slot& slot = block_->slot(index_);
  if (slot.phase.load(std::memory_order_acquire) == Phase::kSimple) return nullptr;
  if (slot.ending->refusal) return slot.ending->refusal;
  if (slot.ending->outcome.succeeded()) return nullptr;
  try {
    throw_job_failed(slot.ending->outcome);
  } catch (const JobFailed&) {
    return std::current_exception();
  }
}

bool Future::done() const {
  need(block_);
  if (block_->ended(index_)) return true;
  block_->home().check();
  {
    const auto guard = block_->lock();
    if (block_->slot(index_).followed) return block_->ended(index_);
  }
  return is_terminal(client_of(*block_)->get_job(id(), false).state);
}

bool Future::running() const {
  need(block_);
  if (block_->ended(index_)) return false;
  return client_of(*block_)->get_job(id(), false).state == JobState::kRunning;
}

bool Future::cancelled() const {
  need(block_);
  if (!block_->ended(index_)) {
    return !done() ? false : client_of(*block_)->get_job(id(), false).state == JobState::kCancelled;
  }
  const Slot& slot = block_->slot(index_);
  return slot.ending != nullptr && slot.ending->outcome.state == JobState::kCancelled;
}

bool Future::cancel() const {
  need(block_);
  if (block_->ended(index_)) return cancelled();
  const std::uint64_t ids[] = {id()};
  const std::vector<CancelEntry> entries = client_of(*block_)->cancel(ids, {});
  return !entries.empty() && (entries.front().disposition == CancelDisposition::kCancelled ||
                              entries.front().disposition == CancelDisposition::kStopping);
}

void Future::add_done_callback(std::function<void(const Future&)> callback) const {
  need(block_);
  if (!block_->ended(index_)) block_->home().check();
  const auto client = block_->home().is_here() ? block_->client() : nullptr;
  if (!client) {  // then it has ended: a client that closes ends everything
    run_callback(callback, *this, {});
    return;
  }
  bool queue_behind_others = false;
  {
    const auto guard = block_->lock();
    queue_behind_others = std::exchange(block_->slot(index_).had_callback, true);
  }
  const std::shared_ptr<CallbackQueue>& queue = client->callbacks.start();
  if (listen(*block_, index_, std::make_shared<CallbackSink>(queue, callback), 0)) return;
  if (queue_behind_others) {
    queue->post(std::move(callback), *this);
  } else {
    run_callback(callback, *this, client->callbacks.on_error());
  }
}

WaitResult wait(std::span<const Future> futures, WaitFor what, Milliseconds timeout) {
  const auto waiter = std::make_shared<Waiter>();
  const Deadline deadline = deadline_after(timeout);
  const std::size_t enough = listen_to(futures, what, waiter);
  if (enough > 0) waiter->wait(enough, what == WaitFor::kFirstException, deadline);
  stop_listening(futures, waiter.get());
  return sorted_by_end(futures);
}

AsCompleted::AsCompleted(std::span<const Future> futures, Milliseconds timeout)
    : queue_(std::make_shared<CompletionQueue>()) {
  queue_->set_deadline(deadline_after(timeout));
  for (const Future& future : futures) queue_->add(future);
}

AsCompleted::AsCompleted(AsCompleted&&) noexcept = default;
AsCompleted& AsCompleted::operator=(AsCompleted&&) noexcept = default;
AsCompleted::~AsCompleted() = default;

std::optional<Future> AsCompleted::next() {
  std::optional<Completion> completion = queue_->next(queue_->deadline());
  if (!completion) return std::nullopt;
  return std::move(completion->future);
}

}  // namespace futured::client
