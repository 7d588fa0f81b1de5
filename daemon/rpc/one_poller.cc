#include "daemon/rpc/one_poller.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>

namespace futured::rpc {

namespace {

// A thread that is alone finds out after this time; one that is taken for alone by mistake goes on polling.
constexpr auto kAloneAfter = std::chrono::milliseconds(20);

}  // namespace

class OnePoller::Impl {
 public:
  Impl() { call_a_thread(); }
  ~Impl() {
    std::unique_lock lock(mutex_);
    leaving_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return ended_ == calls_.size(); });
  }

 private:
  struct Call {
    grpc::ClientContext context;
    grpc::Slice nothing;
    grpc::ByteBuffer request{&nothing, 1};
    grpc::ByteBuffer response;
  };

  // A call that fails at once: its end is told on one of the threads.
  void call_a_thread() {
    Call* call = nullptr;
    {
      const std::lock_guard guard(mutex_);
      call = &calls_.emplace_back();
    }
    stub_.UnaryCall(&call->context, "/", {}, &call->request, &call->response, [this](const grpc::Status&) { wait(); });
  }

  // On one of gRPC's threads: it stays here once another one is seen to answer.
  void wait() {
    std::unique_lock lock(mutex_);
    const std::size_t mine = ++came_;
    changed_.notify_all();
    if (!leaving_ && !found_) {
      lock.unlock();
      call_a_thread();
      lock.lock();
      found_ = !changed_.wait_for(lock, kAloneAfter, [&] { return leaving_ || came_ > mine; });
      if (!found_) changed_.wait(lock, [this] { return leaving_; });
    }
    ++ended_;
    changed_.notify_all();
  }

  // Without credentials there is no channel: every call on it fails.
  grpc::GenericStub stub_{grpc::CreateChannel("", nullptr)};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Call> calls_;
  std::size_t came_ = 0;   // calls whose end was told
  std::size_t ended_ = 0;  // of these, what has returned
  bool found_ = false;     // the last thread: it is alone
  bool leaving_ = false;
};

OnePoller::OnePoller() : impl_(std::make_unique<Impl>()) {}
OnePoller::~OnePoller() = default;

}  // namespace futured::rpc
