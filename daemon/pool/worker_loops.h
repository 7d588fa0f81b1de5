// WorkerLoops: how the event loops of async workers fare, as they tell it in their channels. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/loop_gauge.h"
#include "base/time.h"

namespace futured::pool {

class WorkerLoops {
 public:
  WorkerLoops();
  ~WorkerLoops();

  // `memory`: the slot's channel; it stays the caller's. One whose worker has no loop is passed over.
  void started(SlotId slot, const std::string& pool, int memory);
  void ended(SlotId slot);

  // By slot. What a worker writes is told as it stands, within bounds.
  [[nodiscard]] std::vector<LoopReading> read(Instant now) const;

 private:
  struct Watched;
  mutable std::mutex mutex_;
  std::map<std::uint32_t, std::unique_ptr<Watched>> watched_;  // by slot
};

}  // namespace futured::pool
