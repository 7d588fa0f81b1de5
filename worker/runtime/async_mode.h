// The worker of an async pool: runs coroutine tasks, thousands at once, on its one thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <unordered_map>

#include "segment/mapping_cache.h"
#include "worker/channel/worker_end.h"
#include "worker/runtime/async_loop.h"
#include "worker/runtime/zygote.h"
#include "worker/sdk/registry.h"

namespace futured::runtime {

class AsyncWorker {
 public:
  AsyncWorker(channel::WorkerEnd& end, std::span<const sdk::RegisteredTask> tasks, std::string spool_directory);
  ~AsyncWorker();
  AsyncWorker(const AsyncWorker&) = delete;
  AsyncWorker& operator=(const AsyncWorker&) = delete;

  // Works until the lifeline closes (0) or the channel breaks (1): the exit status of the worker process.
  [[nodiscard]] int work();

  // Takes what is offered, hands on stops, goes on with what is due; and never sleeps. kNothing: there was nothing.
  [[nodiscard]] channel::Intake work_some();

  [[nodiscard]] std::size_t jobs() const { return jobs_.size(); }

 private:
  struct Job;

  [[nodiscard]] channel::Intake take_in();
  void begin(channel::Run& run);
  void begin(Job& job, channel::Take take);
  [[nodiscard]] Async<> run_chunk(Job& job, const sdk::RegisteredTask& task);
  void call(Job& job, const sdk::RegisteredTask& task);
  template <typename Work>
  void at_work(Job& job, const Work& work);
  void finish(Job& job);
  [[noreturn]] void end_for(Job& job);
  void note_slow(const Job& job, Instant began, Duration took);
  void let_mappings_go();

  channel::WorkerEnd& end_;
  std::span<const sdk::RegisteredTask> tasks_;
  const std::string spool_directory_;
  MappingCache mappings_;
  AsyncLoop loop_;
  channel::LoopFigures& figures_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Job>> jobs_;  // by number
  std::uint64_t jobs_run_ = 0;
};

[[nodiscard]] int run_async_worker(channel::WorkerEnd& end, std::span<const sdk::RegisteredTask> tasks,
                                   const ZygoteOptions& options);

}  // namespace futured::runtime
