// Network: the one thread on which gRPC answers a client's streams. Internal. gRPC's callback interface keeps two or
// more, which hand the socket to each other (docs/decisions/0012).
#pragma once

#include <grpcpp/grpcpp.h>

#include <thread>

namespace futured::client {

// A step of a call that gRPC takes: what a tag of the completion queue points to. Lives at least until it has been
// taken.
class NetworkStep {
 public:
  // On the network's thread. `ok` as grpc::CompletionQueue::Next() tells it.
  virtual void taken(bool ok) = 0;

 protected:
  ~NetworkStep() = default;
};

// A step that calls a member of the call it belongs to.
template <typename Call>
class StepOf final : public NetworkStep {
 public:
  StepOf(Call& call, void (Call::*step)(bool ok)) : call_(call), step_(step) {}
  void taken(bool ok) override { (call_.*step_)(ok); }
  // What gRPC is given as the tag.
  [[nodiscard]] void* tag() { return static_cast<NetworkStep*>(this); }

 private:
  Call& call_;
  void (Call::*const step_)(bool ok);
};

class Network {
 public:
  Network()
      : thread_([this] {
          void* tag = nullptr;
          bool ok = false;
          while (queue_.Next(&tag, &ok)) static_cast<NetworkStep*>(tag)->taken(ok);
        }) {}
  // Every call on it has ended by then.
  ~Network() {
    queue_.Shutdown();
    thread_.join();
  }
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  [[nodiscard]] grpc::CompletionQueue* queue() { return &queue_; }

 private:
  grpc::CompletionQueue queue_;
  std::thread thread_;
};

}  // namespace futured::client
