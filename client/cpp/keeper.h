// Keeper: one thread that does what is due later or may take long: reconnecting, opening waits. Internal.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "base/time.h"

namespace futured::client {

class Keeper {
 public:
  Keeper();
  ~Keeper();  // runs nothing more, and returns when the last errand has ended
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  void post(std::function<void()> errand) { post_at(Instant{0}, std::move(errand)); }
  void post_at(Instant when, std::function<void()> errand);
  void stop();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::multimap<Instant, std::function<void()>> errands_;  // few: one per broken stream
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace futured::client
