// The worker of a process pool, and each thread of a thread pool's: runs one task at a time, in the order of the
// offers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/pool_terms.h"
#include "segment/mapping_cache.h"
#include "worker/channel/worker_end.h"
#include "worker/runtime/failure.h"
#include "worker/runtime/leak_audit.h"
#include "worker/runtime/task_context.h"
#include "worker/runtime/work_directory.h"
#include "worker/sdk/registry.h"

namespace futured::runtime {

class ProcessWorker {
 public:
  // `spool_directory`: where long output goes; empty: memory is all there is.
  ProcessWorker(channel::WorkerEnd& end, std::span<const sdk::RegisteredTask> tasks, std::string spool_directory = {},
                const PoolTerms& terms = {}, WorkDirectory* directory = nullptr)
      : end_(end),
        tasks_(tasks),
        spool_directory_(std::move(spool_directory)),
        jobs_max_(terms.jobs_per_worker_max),
        rss_bytes_max_(terms.rss_bytes_max),
        is_thread_(terms.mode == PoolMode::kThread),
        audit_(terms),
        directory_(directory) {}

  // Works until the lifeline closes or the worker is to be replaced (0), or the channel breaks (1): the exit status of
  // the worker process. Short jobs that follow one another make no system call each. A task that closes the channel's
  // descriptors breaks it.
  [[nodiscard]] int work();

  // Takes and runs one offer, ends what the task left running, and reports it.
  void run_one(channel::Run& run);

  [[nodiscard]] std::uint64_t jobs_run() const { return jobs_run_; }

 private:
  [[nodiscard]] channel::Intake wait(channel::Run& run);
  [[nodiscard]] std::optional<Failure> execute(channel::Run& run, TaskContext& context);
  [[nodiscard]] std::optional<Failure> call(const sdk::RegisteredTask& task, TaskContext& context, Parts arguments,
                                            ResultWriter& out);
  // Between two jobs: it has run as many as it may, has grown too large, or was left changed.
  [[nodiscard]] bool is_worn_out();
  void measure(channel::Outcome& outcome, Duration took);
  void end_what_it_left(Duration took);

  channel::WorkerEnd& end_;
  std::span<const sdk::RegisteredTask> tasks_;
  const std::string spool_directory_;
  MappingCache mappings_;
  std::vector<PartView> parts_;  // of the current run
  ResultEncoder result_;
  std::uint64_t jobs_run_ = 0;

  const std::uint64_t jobs_max_;       // 0: no bound
  const std::uint64_t rss_bytes_max_;  // 0: no bound
  Duration unweighed_{0};              // time of jobs since it was last looked how large this process is
  const bool is_thread_;               // others run jobs in this process at the same time
  LeakAudit audit_;
  WorkDirectory* const directory_;  // null: wherever the worker is
  bool is_homeless_ = false;        // it could not be had: the next worker makes it anew

  std::uint64_t cpu_ns_seen_ = 0;      // of this process at the last measurement
  Duration unmeasured_ = Duration(0);  // time of jobs since then that were too short to measure
};

// From now on a fork of this process that comes back from a task ends: the channel is the worker's, and two writers
// would ruin it.
void watch_forks();
// This is such a fork.
[[nodiscard]] bool is_fork_of_task();
// This is a fork that was made to run a task: what it forks itself is such a fork.
void be_no_fork_of_task();

}  // namespace futured::runtime
