// SpoolSweep: removes what workers left in the spool directory for jobs that retention has removed, and counts the
// rest.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/id.h"
#include "base/loop_gauge.h"
#include "base/result.h"
#include "base/time.h"

namespace futured {

class StoreReader;

struct SpoolFigures {
  std::uint64_t files = 0;          // as the last pass over the directory found them
  std::uint64_t bytes = 0;          // likewise, on the disk
  std::uint64_t removed_files = 0;  // since the start
  std::uint64_t removed_bytes = 0;
  bool is_sweeping = false;  // jobs were removed since the last pass began, or there was none yet
  bool is_failing = false;   // the last pass could not remove, or read, something
};

// The job whose file this is: `<job>.<epoch>.<attempt>.<stream>`, and what is half written of it. Unset: of none.
[[nodiscard]] JobId job_of_spool_file(std::string_view name);

// Has a thread of its own, which goes through the directory in small steps: at its start, soon after jobs were removed,
// and now and then. A file goes when its job is gone (StoreReader::gone), whatever it was of: so never one of a job
// that runs, waits for its commit, or can still be read. What a kill leaves is found by the first pass after it.
class SpoolSweep {
 public:
  struct Setup {
    std::string directory;
    std::unique_ptr<StoreReader> reader;
    std::function<void(const std::string&)> log = [](const std::string&) {};
  };

  explicit SpoolSweep(Setup setup);
  ~SpoolSweep();
  SpoolSweep(const SpoolSweep&) = delete;
  SpoolSweep& operator=(const SpoolSweep&) = delete;

  // From any thread.
  void jobs_removed();
  [[nodiscard]] SpoolFigures figures() const;
  [[nodiscard]] std::shared_ptr<const LoopGauge> gauge() const { return gauge_; }

 private:
  struct Pass;

  void run();
  // False: it is over.
  [[nodiscard]] bool step(Pass& pass);
  void look_at(Pass& pass, int folder, const std::vector<std::string>& names);
  void finish(const Pass& pass);

  Setup setup_;
  const std::shared_ptr<LoopGauge> gauge_ = std::make_shared<LoopGauge>("spool");
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  bool wanted_ = true;
  SpoolFigures figures_;
  std::thread thread_;
};

}  // namespace futured
