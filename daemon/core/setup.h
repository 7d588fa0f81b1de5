// What a Scheduler is made with: pools, queues, bounds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "daemon/core/event.h"
#include "daemon/core/result_cache.h"
#include "daemon/core/types.h"
#include "daemon/core/zone.h"

namespace futured {

struct PoolSetup {
  std::string name;
  bool commands = false;
  std::uint32_t slots = 1;                 // with all the workers that it may have
  std::vector<std::string> tasks;          // as far as they are known; event::PoolReady replaces them
  std::uint32_t workers_min = UINT32_MAX;  // it keeps so many, or all; the others come under load and go when idle
  std::uint32_t slots_per_worker = 1;      // consecutive slots; divides `slots`
  std::uint32_t runs_per_slot = 1;         // jobs at once
  Duration idle{0};                        // a worker beyond those that are kept goes after so long without a job
  std::uint64_t memory_bytes_max = 0;      // of a worker with all that it starts; 0: no limit
  std::uint32_t spare_slots = 0;           // beyond those, for workers in the place of those whose jobs wait for others
  std::vector<std::string> versions = {};  // of the tasks, in their order; empty: they tell none
};

struct QueueSetup {
  std::string name;
  Discipline discipline = Discipline::kFifo;
};

struct SchedulerSetup {
  Epoch epoch;                  // of this daemon
  std::uint64_t seed = 1;       // of the jitter
  std::uint32_t admin_uid = 0;  // besides root, may do anything
  std::vector<PoolSetup> pools;
  std::vector<QueueSetup> queues;                                 // created when missing; "default" always exists
  std::size_t window_bytes = 0;                                   // 0: limits::kWindowBytesMax
  std::map<std::string, std::shared_ptr<const Zone>> zones = {};  // of the snapshot's schedules
  CacheBounds cache = {};
};

}  // namespace futured
