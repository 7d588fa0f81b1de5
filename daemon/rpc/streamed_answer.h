// StreamedAnswer: a call that is answered by messages one after another.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "daemon/rpc/front.h"

namespace futured::rpc {

// gRPC owns it through `self_` until OnDone. Exactly one thing is under way at any time: a question, a write, or
// waiting for the loop; whoever answers it goes on with the next, and the last one calls end().
template <typename Response>
class StreamedAnswer : public grpc::ServerWriteReactor<Response>, public OpenCall {
 public:
  void stop(const Error& why) override {
    {
      const std::lock_guard lock(mutex_);
      if (done_ || fault_) return;
      fault_ = why;
      cut_call(*context_, why);
    }
    interrupted();
  }

 protected:
  StreamedAnswer(Front& front, grpc::CallbackServerContext* context) : front_(front), context_(context) {}

  // False: the daemon is stopping, and the call has been ended.
  [[nodiscard]] bool begin(std::shared_ptr<StreamedAnswer> self) {
    self_ = std::move(self);
    if (front_.calls.add(self_)) return true;
    end(stopping_error());
    return false;
  }
  // Once, with nothing under way.
  void end(const Status& status) {
    std::optional<Error> fault;
    {
      const std::lock_guard lock(mutex_);
      fault = fault_;
    }
    if (!fault && !status.ok()) fault = status.error();
    if (fault) add_retry_after(*context_, *fault);
    this->Finish(fault ? to_status(*fault) : grpc::Status::OK);
  }
  [[nodiscard]] bool is_interrupted() const {
    const std::lock_guard lock(mutex_);
    return cancelled_ || fault_.has_value();
  }
  // The client went away, or the daemon stops: whoever waits for the loop must not wait on.
  virtual void interrupted() {}
  // gRPC is done with it; what the loop holds may be given up.
  virtual void released() {}

  Front& front_;
  grpc::CallbackServerContext* const context_;

 private:
  void OnCancel() final {
    {
      const std::lock_guard lock(mutex_);
      cancelled_ = true;
    }
    interrupted();
  }
  void OnDone() final {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    released();
    front_.calls.remove(this);
    self_.reset();
  }

  std::shared_ptr<StreamedAnswer> self_;
  mutable std::mutex mutex_;
  bool done_ = false;
  bool cancelled_ = false;
  std::optional<Error> fault_;
};

}  // namespace futured::rpc
