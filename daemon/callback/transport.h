// Transport: what the courier leaves to those who know the public API: its messages, gRPC, and making a job.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "daemon/store/store.h"

namespace futured::callback {

class Transport {
 public:
  // Called once, on any thread: an error is why the receiver was not told.
  using Done = std::function<void(const Status&)>;

  virtual ~Transport() = default;
  // What a webhook's receiver is sent: the message futured.v1.Completion as JSON.
  [[nodiscard]] virtual std::string completion_json(const DeliveryRecord& delivery, std::uint32_t attempt) = 0;
  virtual void call_listener(const DeliveryRecord& delivery, std::uint32_t attempt, Done done) = 0;
  // Submits the job that this delivery is. When it is accepted the loop knows, and `refused` is not called.
  virtual void submit_job(const DeliveryRecord& delivery, std::uint32_t attempt, Done refused) = 0;
};

}  // namespace futured::callback
