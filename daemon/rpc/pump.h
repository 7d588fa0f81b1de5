// Pump: the thread that serialises and sends what the loop has to say, so that the loop never does.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace futured::rpc {

class Pump {
 public:
  Pump();
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;
  ~Pump();  // after everything that was posted

  // Any thread. In order. What is posted is bounded by who posts: a call has at most one task waiting for each thing
  // that it can do next.
  void post(std::function<void()> task);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::function<void()>> waiting_;  // guarded by mutex_
  bool stopping_ = false;                       // guarded by mutex_
  std::thread thread_;
};

}  // namespace futured::rpc
