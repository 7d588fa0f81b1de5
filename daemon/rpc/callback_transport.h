// CallbackTransport: what the courier leaves to this folder: completions as messages, calls of listeners, jobs that are
// deliveries.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>

#include "daemon/callback/transport.h"
#include "daemon/rpc/front.h"
#include "futured/v1/callback.grpc.pb.h"

namespace futured::rpc {

class CallbackTransport final : public callback::Transport {
 public:
  explicit CallbackTransport(Front& front) : front_(front) {}
  ~CallbackTransport() override { stop(); }

  [[nodiscard]] std::string completion_json(const DeliveryRecord& delivery, std::uint32_t attempt) override;
  void call_listener(const DeliveryRecord& delivery, std::uint32_t attempt, Done done) override;
  void submit_job(const DeliveryRecord& delivery, std::uint32_t attempt, Done refused) override;

  // Ends the calls that are open and waits until they have ended. On none of gRPC's threads; no call follows.
  void stop();

 private:
  using Stub = api::CompletionListener::Stub;
  struct Listener {
    std::string address;
    std::string tls_name;
    std::shared_ptr<Stub> stub;
  };
  struct Call;

  [[nodiscard]] Result<std::shared_ptr<Stub>> stub_for(const std::string& address, const std::string& tls_name);
  [[nodiscard]] Result<event::Submit> job_for(const DeliveryRecord& delivery, std::uint32_t attempt,
                                              SegmentHold& segments);

  Front& front_;
  std::deque<Listener> listeners_;  // the courier's thread only; the last used in front
  std::mutex mutex_;
  std::condition_variable ended_;
  std::unordered_set<Call*> calls_;  // guarded by mutex_
};

}  // namespace futured::rpc
