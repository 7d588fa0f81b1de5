// History: one random life of everything, drawn from a seed: clients, clocks, workers, disks and crashes.
#pragma once

#include <cstdint>

namespace futured::simulation {

struct HistoryOptions {
  std::uint64_t seed = 1;
  bool verbose = false;  // tells each action
};

struct HistoryFigures {
  std::uint64_t jobs = 0;
  std::uint64_t attempts = 0;
  std::uint64_t daemons = 0;
  std::uint64_t crashes = 0;  // of workers
  std::uint64_t spilled = 0;  // most jobs that lay on disk only at one time
};

// Throws Violation when a promise was broken, or when not everything came to its end.
HistoryFigures run_history(const HistoryOptions& options);

}  // namespace futured::simulation
