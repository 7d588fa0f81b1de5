#include "worker/runtime/async_mode.h"

#include <unistd.h>

#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "worker/runtime/call_task.h"
#include "worker/runtime/chunk.h"
#include "worker/runtime/lifeline.h"
#include "worker/runtime/process_mode.h"
#include "worker/runtime/stacks.h"

namespace futured::runtime {

namespace {

using channel::Intake;

constexpr int kTakesMax = 64;  // between two turns of the loop
// A coroutine that keeps the thread longer is told so: all others stand still meanwhile.
constexpr Duration kHeldUp = std::chrono::milliseconds(100);

}  // namespace

struct AsyncWorker::Job final : Resumer {
  Job(AsyncWorker& whose, channel::Run taken)
      : worker(whose), run(std::move(taken)), context(whose.end_, run, whose.jobs_run_, whose.spool_directory_) {
    context.share_thread();
    context.run_on(whose.loop_, *this);
    result.begin(context);
  }
  void resume(std::coroutine_handle<> coroutine) override {
    worker.at_work(*this, [&] { coroutine.resume(); });
  }
  [[nodiscard]] bool is_over() const { return !body || body->handle().done(); }

  AsyncWorker& worker;
  channel::Run run;
  TaskContext context;
  ResultEncoder result;
  std::vector<PartView> parts;
  std::optional<Failure> failure;
  Duration at_work{0};
  bool is_told_slow = false;
  std::optional<Async<>> body;  // last: it uses all the others
};

AsyncWorker::AsyncWorker(channel::WorkerEnd& end, std::span<const sdk::RegisteredTask> tasks,
                         std::string spool_directory)
    : end_(end),
      tasks_(tasks),
      spool_directory_(std::move(spool_directory)),
      loop_(&end.loop_figures()),
      figures_(end.loop_figures()) {
  figures_.lag_ns.store(-1, std::memory_order_relaxed);
  figures_.lag_max_ns.store(-1, std::memory_order_relaxed);
  end_.hand_out_stops();
}

AsyncWorker::~AsyncWorker() = default;

int AsyncWorker::work() {
  while (!has_lifeline_closed()) {
    switch (work_some()) {
      case Intake::kEnded:
        return 0;
      case Intake::kBroken:
        return 1;
      case Intake::kRun:
      case Intake::kStop:
        continue;
      case Intake::kNothing:
        break;
    }
    if (!end_.arm()) continue;
    if (jobs_.empty() && mappings_.size() > 0) {
      let_mappings_go();
    } else if (!loop_.look_for_replies()) {  // what came before the channel was armed wakes nobody
      loop_.sleep(end_.wake_fd());
    }
    end_.disarm();
  }
  return 0;
}

// A worker with nothing to do gives back the memory that it only keeps for speed.
void AsyncWorker::let_mappings_go() {
  const Instant began = monotonic_now();
  const Duration patience = std::chrono::milliseconds(limits::kMappingIdleMs);
  loop_.sleep_for(end_.wake_fd(), patience);
  if (monotonic_now() - began >= patience) mappings_.drop_idle(Instant::never());
}

Intake AsyncWorker::work_some() {
  figures_.turns.fetch_add(1, std::memory_order_relaxed);
  const Intake got = take_in();
  if (got == Intake::kEnded || got == Intake::kBroken) return got;
  (void)loop_.look_for_replies();
  return loop_.run_some() ? Intake::kRun : got;
}

Intake AsyncWorker::take_in() {
  Intake last = Intake::kNothing;
  for (int takes = 0; takes < kTakesMax; ++takes) {
    channel::Run run;
    const Intake got = end_.try_next(run);
    if (got == Intake::kNothing) break;
    last = got;
    if (got == Intake::kRun) {
      begin(run);
    } else if (got == Intake::kStop) {
      const auto job = jobs_.find(run.fence.job.value);
      if (job != jobs_.end() && job->second->run.fence == run.fence) job->second->context.stop(run.stop);
    } else {
      break;
    }
  }
  return last;
}

void AsyncWorker::begin(channel::Run& run) {
  const channel::Take take = end_.take(run);
  if (take == channel::Take::kRevoked) return;
  end_.detach(run);
  auto made = std::make_unique<Job>(*this, std::move(run));
  Job& job = *made;
  ++jobs_run_;
  jobs_[job.run.fence.job.value] = std::move(made);
  at_work(job, [&] { begin(job, take); });
}

void AsyncWorker::begin(Job& job, channel::Take take) {
  if (take == channel::Take::kUnreadable) {
    job.failure = unreadable_payload();
  } else if (job.run.task >= tasks_.size()) {
    job.failure = unknown_task(job.run.task);
  } else {
    job.failure = resolve(job.run, mappings_, job.parts);
  }
  if (!job.failure) call(job, tasks_[job.run.task]);
}

// A task that is no coroutine runs here and now, and the others wait for it.
void AsyncWorker::call(Job& job, const sdk::RegisteredTask& task) {
  try {
    if (is_chunk(job.parts)) {
      job.body.emplace(run_chunk(job, task));
    } else if (task.coroutine) {
      job.body.emplace(task.coroutine(job.context, job.parts, job.result));
    } else {
      return task.function(job.context, job.parts, job.result);
    }
  } catch (...) {
    job.failure = failure_of_exception(job.context);
    return;
  }
  job.body->handle().resume();
}

Async<> AsyncWorker::run_chunk(Job& job, const sdk::RegisteredTask& task) {
  ChunkRun calls(job.parts.front(), job.context);
  while (const auto arguments = calls.next()) {
    std::optional<Failure> failure;
    try {
      if (task.coroutine) {
        co_await task.coroutine(job.context, *arguments, calls.result());
      } else {
        task.function(job.context, *arguments, calls.result());
      }
    } catch (...) {
      failure = failure_of_exception(job.context);
    }
    calls.ended(failure);
  }
  job.failure = calls.finish(job.result);
}

// Everything that runs code of the job, and nothing else. The job is gone afterwards when it has ended.
template <typename Work>
void AsyncWorker::at_work(Job& job, const Work& work) {
  end_.note_running(&job.run);
  set_current_run(end_, &job.run);
  set_busy(true);
  const Instant began = monotonic_now();
  figures_.began_at_ns.store(began.ns, std::memory_order_relaxed);
  work();
  if (is_fork_of_task()) _exit(1);  // a child that came back from the task
  if (!loop_.is_sound()) end_for(job);
  const Duration took = monotonic_now() - began;
  figures_.began_at_ns.store(0, std::memory_order_relaxed);
  if (took.count() >= limits::kSlowStepNs) note_slow(job, began, took);
  set_busy(false);
  set_current_run(end_, nullptr);
  end_.note_running(nullptr);
  job.at_work += took;
  if (took >= kHeldUp && !std::exchange(job.is_told_slow, true)) {
    job.context.log(LogLevel::kWarning,
                    "held up all jobs of its worker for " + std::to_string(took.count() / 1'000'000) + " ms");
  }
  if (job.is_over()) finish(job);
}

// While the job is still the one at work: so it alone is charged.
void AsyncWorker::end_for(Job& job) {
  constexpr const char* kWhy = "closed descriptors of its worker's event loop; the worker ends";
  job.context.log(LogLevel::kError, kWhy);
  std::fprintf(stderr, "futured worker: job %llu %s\n", static_cast<unsigned long long>(job.run.fence.job.value), kWhy);
  _exit(1);
}

void AsyncWorker::note_slow(const Job& job, Instant began, Duration took) {
  const std::uint64_t count = figures_.slow_count.load(std::memory_order_relaxed);
  auto& slow = figures_.slow[count % limits::kSlowStepsKept];
  slow.job.store(job.run.fence.job.value, std::memory_order_relaxed);
  slow.began_at_ns.store(began.ns, std::memory_order_relaxed);
  slow.took_ns.store(took.count(), std::memory_order_relaxed);
  figures_.slow_count.store(count + 1, std::memory_order_release);
}

void AsyncWorker::finish(Job& job) {
  if (!job.failure) {
    try {
      if (job.body) job.body->handle().promise().take();
      job.result.finish();
    } catch (...) {
      job.failure = failure_of_exception(job.context);
    }
  }
  channel::Outcome outcome;
  outcome.started_at = job.run.taken_at;
  outcome.finished_at = monotonic_now();
  outcome.cpu_ns = static_cast<std::uint64_t>(job.at_work.count());
  if (job.failure) {
    tell(*job.failure, outcome);
    job.result.discard();
  }
  job.context.streams().append_to(job.result.encoded());
  outcome.result = job.result.encoded();
  outcome.descriptors = job.result.descriptors();
  end_.done(job.run, outcome);
  jobs_.erase(job.run.fence.job.value);
}

int run_async_worker(channel::WorkerEnd& end, std::span<const sdk::RegisteredTask> tasks,
                     const ZygoteOptions& options) {
  Status ready = watch_lifeline(end.lifeline_fd());
  if (ready) ready = watch_for_stacks(options.spool_directory);
  if (!ready) {
    std::fprintf(stderr, "futured worker: %s\n", ready.error().message.c_str());
    return 1;
  }
  watch_forks();
  AsyncWorker worker(end, tasks, options.spool_directory);
  return worker.work();
}

}  // namespace futured::runtime
