// AsyncLoop: what coroutine tasks wait for, time and descriptors, on one thread. Asio inside.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "futured/task.h"
#include "worker/channel/worker_end.h"
#include "worker/runtime/task_context.h"

namespace futured::runtime {

class AsyncLoop {
 public:
  // `figures`: where it tells of itself. Such a loop, of a worker of mode async, is made before there are threads, and
  // knows its own descriptors.
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

  // False: somebody has closed its descriptors, and nothing that it is asked would ever end. Some 0.3 us.
  [[nodiscard]] bool is_sound() const;

  // Does some of what is due. False: nothing was.
  bool run_some();
  // Runs of which a submit has no answer yet; they are looked at until it has, or they are forgotten.
  void add_caller(TaskContext& context) { callers_.push_back(&context); }
  void forget_caller(const TaskContext& context) { std::erase(callers_, &context); }
  // True: some answer is there, and run_some() goes on with who waited for it.
  [[nodiscard]] bool look_for_replies();

  // Until something is due, or `descriptor` is readable; or, while a submit has no answer, for a beat.
  void sleep(int descriptor);
  // The same, at most so long.
  void sleep_for(int descriptor, Duration time);

 private:
  struct Operation;
  struct Inside;
  std::unique_ptr<Inside> inside_;
  struct Own {
    int descriptor = -1;
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
  };
  std::vector<Own> own_;
  std::vector<TaskContext*> callers_;
  Instant beat_at_;  // of the callers
};

// Calls a coroutine task on a worker that has nothing else to do, and returns or throws as it ends.
void run_alone(channel::WorkerEnd& end, TaskContext& context, const sdk::AsyncTaskFunction& task, Parts arguments,
               ResultWriter& out);

}  // namespace futured::runtime
