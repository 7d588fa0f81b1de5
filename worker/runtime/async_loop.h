// AsyncLoop: what coroutine tasks wait for, time and descriptors, on one thread. Asio inside.
#pragma once

#include <functional>
#include <memory>

#include "futured/task.h"
#include "worker/channel/worker_end.h"
#include "worker/runtime/task_context.h"

namespace futured::runtime {

class AsyncLoop {
 public:
  // `figures`: where it tells of itself.
  explicit AsyncLoop(channel::LoopFigures* figures = nullptr);
  ~AsyncLoop();
  AsyncLoop(const AsyncLoop&) = delete;
  AsyncLoop& operator=(const AsyncLoop&) = delete;

  // The context is told the end of the wait by run_some() or sleep(). False: there is nothing to wait for, and an error
  // is in the waiter.
  [[nodiscard]] bool begin(TaskContext& context, sdk::Waiter& waiter);
  // The wait ends soon, whatever it is for.
  void end(sdk::Waiter& waiter);
  void forget(sdk::Waiter& waiter) noexcept;

  // Does some of what is due. False: nothing was.
  bool run_some();
  // Until something is due, or `descriptor` is readable.
  void sleep(int descriptor);
  // The same, at most so long.
  void sleep_for(int descriptor, Duration time);

 private:
  struct Operation;
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

// Calls a coroutine task on a worker that has nothing else to do, and returns or throws as it ends.
void run_alone(channel::WorkerEnd& end, TaskContext& context, const sdk::AsyncTaskFunction& task, Parts arguments,
               ResultWriter& out);

}  // namespace futured::runtime
