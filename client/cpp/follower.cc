#include "client/cpp/follower.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/limits.h"
#include "client/cpp/bounds.h"
#include "client/cpp/client_state.h"

namespace futured::client {

// One Wait call, as completed. Deletes itself when gRPC is done with it.
class WaitCall {
 public:
  WaitCall(Follower& follower, ClientState& client, std::vector<std::uint64_t> ids)
      : follower_(follower), client_(client), ids_(std::move(ids)) {
    std::sort(ids_.begin(), ids_.end());
    api::WaitRequest request;
    add_ranges(ids_, *request.mutable_ids());
    request.set_mode(api::WAIT_MODE_AS_COMPLETED);
    call_ = client.jobs->PrepareAsyncWait(&context_, request, client.network.queue());
    call_->StartCall(started_.tag());
  }
  void cancel() { context_.TryCancel(); }

 private:
  void started(bool ok) {
    if (ok) {
      call_->Read(&response_, read_.tag());
    } else {
      finish();
    }
  }
  void read(bool ok) {
    if (!ok) {
      finish();
      return;
    }
    answered_ = true;
    deliver(client_.registry, *response_.mutable_outcomes(), response_.packed());
    for (const api::IdRange& range : response_.unknown()) refuse_unknown(range);
    response_.Clear();
    call_->Read(&response_, read_.tag());
  }
  void finish() { call_->Finish(&status_, finished_.tag()); }
  void finished(bool /*ok*/) {
    Follower& follower = follower_;
    const std::vector<std::uint64_t> ids = std::move(ids_);
    const bool answered = answered_;
    const grpc::Status how = status_;
    follower.forget(this);
    delete this;  // before the client can go: see SubmitStream
    follower.ended(ids, answered, how);
  }
  void refuse_unknown(const api::IdRange& range) {
    Delivery delivery(client_.registry);
    // Of ids_, not of the range: that is a peer's number.
    const std::uint64_t last = std::max(range.first(), range.last());
    auto at = std::lower_bound(ids_.begin(), ids_.end(), range.first());
    for (; at != ids_.end() && *at <= last; ++at) {
      delivery.refused(*at, std::make_exception_ptr(Error(ErrorKind::kNotFound,
                                                          "job " + std::to_string(*at) +
                                                              ": not known; the number was never given out, or the job "
                                                              "is no longer retained")));
    }
  }

  Follower& follower_;
  ClientState& client_;
  std::vector<std::uint64_t> ids_;  // sorted
  bool answered_ = false;
  grpc::ClientContext context_;
  api::WaitResponse response_;
  grpc::Status status_;
  StepOf<WaitCall> started_{*this, &WaitCall::started};
  StepOf<WaitCall> read_{*this, &WaitCall::read};
  StepOf<WaitCall> finished_{*this, &WaitCall::finished};
  std::unique_ptr<grpc::ClientAsyncReader<api::WaitResponse>> call_;
};

void Follower::follow(std::uint64_t id) {
  const std::lock_guard guard(mutex_);
  pending_.push_back(id);
  plan(Instant{0});
}

void Follower::follow(const std::vector<std::uint64_t>& ids) {
  if (ids.empty()) return;
  const std::lock_guard guard(mutex_);
  pending_.insert(pending_.end(), ids.begin(), ids.end());
  // Asked for because a stream broke: the daemon is likely to be away for a moment.
  backoff_ms_ = next_backoff_ms(backoff_ms_);
  plan(monotonic_now() + Milliseconds(backoff_ms_));
}

void Follower::plan(Instant when) {
  if (planned_ || closing_) return;
  planned_ = true;
  client_.keeper.post_at(when, [this] { open_calls(); });
}

void Follower::open_calls() {
  const bool connected = client_.connect_briefly();
  std::vector<std::uint64_t> hopeless;
  {
    const std::lock_guard guard(mutex_);
    planned_ = false;
    if (closing_ || pending_.empty()) return;
    if (!connected) {
      const Instant now = monotonic_now();
      if (down_since_.ns == 0) down_since_ = now;
      if (now - down_since_ < client_.options.reconnect_timeout) {
        plan(now);  // the attempt to connect has taken its time already
        return;
      }
      hopeless = std::exchange(pending_, {});
    } else if (calls_.size() >= kWaitCallsMax) {
      // Joined: all end, and the last one to end opens one for everything.
      joining_ = true;
      for (WaitCall* call : calls_) call->cancel();
    } else if (!joining_) {
      std::vector<std::uint64_t> ids = std::exchange(pending_, {});
      if (ids.size() > limits::kWaitIdsMax) {
        pending_.assign(ids.begin() + limits::kWaitIdsMax, ids.end());
        ids.resize(limits::kWaitIdsMax);
        plan(Instant{0});
      }
      calls_.insert(new WaitCall(*this, client_, std::move(ids)));
    }
    down_since_ = Instant{0};
  }
  client_.registry.refuse(hopeless, std::make_exception_ptr(Unavailable(client_.unreachable())));
}

void Follower::forget(WaitCall* call) {
  const std::lock_guard guard(mutex_);
  calls_.erase(call);
  ++ending_;
}

void Follower::ended(const std::vector<std::uint64_t>& ids, bool answered, const grpc::Status& status) {
  std::vector<std::uint64_t> left;
  for (const std::uint64_t id : ids) {
    if (client_.registry.is_open(id)) left.push_back(id);
  }
  const bool refused = !may_resume(status);
  if (refused) client_.registry.refuse(left, client_.describe_failure(status));
  const std::lock_guard guard(mutex_);
  --ending_;
  if (answered) backoff_ms_ = 0;
  if (!refused) pending_.insert(pending_.end(), left.begin(), left.end());
  if (joining_ && calls_.empty() && ending_ == 0) {
    joining_ = false;
    plan(Instant{0});
  } else if (!joining_ && !pending_.empty()) {
    backoff_ms_ = next_backoff_ms(backoff_ms_);
    plan(monotonic_now() + Milliseconds(backoff_ms_));
  }
  none_.notify_all();
}

void Follower::close() {
  std::unique_lock lock(mutex_);
  closing_ = true;
  for (WaitCall* call : calls_) call->cancel();
  none_.wait(lock, [&] { return calls_.empty() && ending_ == 0; });
}

}  // namespace futured::client
