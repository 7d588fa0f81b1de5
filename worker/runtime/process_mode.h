// The worker of a process pool: runs one task at a time, in the order of the offers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "segment/mapping_cache.h"
#include "worker/channel/worker_end.h"
#include "worker/runtime/failure.h"
#include "worker/runtime/task_context.h"
#include "worker/sdk/registry.h"

namespace futured::runtime {

class ProcessWorker {
 public:
  // `spool_directory`: where long output goes; empty: memory is all there is.
  ProcessWorker(channel::WorkerEnd& end, std::span<const sdk::RegisteredTask> tasks, std::string spool_directory = {})
      : end_(end), tasks_(tasks), spool_directory_(std::move(spool_directory)) {}

  // Works until the lifeline closes (0) or the channel breaks (1): the exit status of the worker process. Between two
  // short jobs no system call is made, as long as offers are there. A task that closes the channel's descriptors breaks
  // it.
  [[nodiscard]] int work();

  // Takes and runs one offer, ends what the task left running, and reports it.
  void run_one(channel::Run& run);

  [[nodiscard]] std::uint64_t jobs_run() const { return jobs_run_; }

 private:
  [[nodiscard]] channel::Intake wait(channel::Run& run);
  [[nodiscard]] std::optional<Failure> execute(channel::Run& run, TaskContext& context);
  [[nodiscard]] std::optional<Failure> call(const sdk::TaskFunction& task, TaskContext& context, Parts arguments,
                                            ResultWriter& out);
  [[nodiscard]] std::optional<Failure> resolve(channel::Run& run);
  void measure(channel::Outcome& outcome, Duration took);
  static void end_what_it_left(Duration took);

  channel::WorkerEnd& end_;
  std::span<const sdk::RegisteredTask> tasks_;
  const std::string spool_directory_;
  MappingCache mappings_;
  std::vector<PartView> parts_;  // of the current run
  ResultEncoder result_;
  std::uint64_t jobs_run_ = 0;

  std::uint64_t cpu_ns_seen_ = 0;      // of this process at the last measurement
  Duration unmeasured_ = Duration(0);  // time of jobs since then that were too short to measure
};

// The name of a type as C++ writes it.
[[nodiscard]] std::string demangled(const char* name);

}  // namespace futured::runtime
