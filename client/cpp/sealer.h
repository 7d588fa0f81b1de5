// Sealer: unmaps and seals the segments a client has handed over, a moment later. Internal.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "segment/memory.h"

namespace futured::client {

// To unmap a large segment takes about as long as a worker takes to map it, and the two disturb each other: the same
// pages' counters are written by both. A segment is mostly handed over to be worked on at once, so its writer waits
// until the first pass over it is likely done.
class Sealer {
 public:
  static constexpr std::chrono::milliseconds kDelay{50};
  static constexpr std::size_t kWaitingMax = 8;  // beyond that the oldest does not wait: memory dropped is given back

  Sealer() = default;
  ~Sealer();  // finishes what waits
  Sealer(const Sealer&) = delete;
  Sealer& operator=(const Sealer&) = delete;

  void finish_later(SegmentWriter::Rest rest);

 private:
  struct Waiting {
    std::chrono::steady_clock::time_point due;
    SegmentWriter::Rest rest;
  };
  void run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Waiting> waiting_;  // in the order they fall due
  bool stopping_ = false;
  std::thread thread_;  // started with the first
};

}  // namespace futured::client
