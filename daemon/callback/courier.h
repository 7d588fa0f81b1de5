// Courier: tells receivers of ends. It reads what each is told, sends it, and reports what became of it.
//
// It decides nothing: what is due, and whether a failure is tried again, is the scheduler's (daemon/core/deliveries.h),
// which also bounds how much is under way. A delivery that is not reported, because the daemon ended, is due again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "daemon/callback/transport.h"
#include "daemon/callback/webhooks.h"
#include "daemon/core/effects.h"
#include "daemon/core/event.h"
#include "daemon/store/store.h"

namespace futured::callback {

class Courier {
 public:
  struct Parts {
    std::unique_ptr<StoreReader> reader;  // for this courier alone
    WebhookRules rules;
    std::function<void(event::Delivered)> delivered;  // any thread
  };

  explicit Courier(Parts parts);
  ~Courier();
  Courier(const Courier&) = delete;
  Courier& operator=(const Courier&) = delete;

  // Any thread; never waits. Before start() they are kept.
  void deliver(std::vector<effect::Deliver> deliveries);
  // Starts its thread. `transport` is used until stop().
  void start(Transport& transport);
  // What is under way is given up.
  void stop();

 private:
  void run();
  [[nodiscard]] std::vector<effect::Deliver> take();
  void begin(const effect::Deliver& deliver);
  void post(const DeliveryRecord& record, std::uint32_t attempt, Transport::Done done);

  Parts parts_;
  Transport* transport_ = nullptr;
  Webhooks webhooks_;
  std::mutex mutex_;
  std::vector<effect::Deliver> inbox_;  // guarded by mutex_
  bool stopping_ = false;               // guarded by mutex_
  std::thread thread_;
};

}  // namespace futured::callback
