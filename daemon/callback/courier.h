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

#include "base/loop_gauge.h"
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

  // Turns lag from deliver() on; what receivers send does not tell since when it is there. Each request under way has a
  // connection, or will have, and a timer.
  [[nodiscard]] std::shared_ptr<const LoopGauge> gauge() const { return gauge_; }

 private:
  void run();
  void turn();
  [[nodiscard]] std::vector<effect::Deliver> take();
  void begin(const effect::Deliver& deliver);
  void post(const DeliveryRecord& record, std::uint32_t attempt, Transport::Done done);

  Parts parts_;
  Transport* transport_ = nullptr;
  Webhooks webhooks_;
  std::mutex mutex_;
  std::vector<effect::Deliver> inbox_;  // guarded by mutex_
  Instant since_;                       // guarded by mutex_: since when the first of them waits
  bool stopping_ = false;               // guarded by mutex_
  const std::shared_ptr<LoopGauge> gauge_ = std::make_shared<LoopGauge>("courier", std::vector<std::string>{"wake-up"});
  std::thread thread_;
};

}  // namespace futured::callback
