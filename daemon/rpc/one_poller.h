// OnePoller: leaves one thread to gRPC's callback interface, so that nothing is handed from one thread to another.
//
// gRPC keeps two to sixteen threads for callbacks; whichever sees an event wakes another one to look for the next, and
// on few cores that wake-up costs as much as the answer (docs/decisions/0012). No callback of this daemon blocks, so
// one thread is enough. There is no option for it: the others are kept waiting in a callback of their own.
#pragma once

#include <memory>

namespace futured::rpc {

class OnePoller {
 public:
  // Returns at once; the threads are put aside one by one, until a last one is seen to be alone.
  OnePoller();
  // Lets them go, and waits until they have gone. On none of gRPC's threads.
  ~OnePoller();
  OnePoller(const OnePoller&) = delete;
  OnePoller& operator=(const OnePoller&) = delete;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace futured::rpc
