#include "worker/runtime/process_mode.h"

#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "base/limits.h"
#include "worker/runtime/async_loop.h"
#include "worker/runtime/call_task.h"
#include "worker/runtime/chunk.h"
#include "worker/runtime/descendants.h"
#include "worker/runtime/lifeline.h"
#include "worker/runtime/proc_reader.h"
#include "worker/runtime/stacks.h"

namespace futured::runtime {

namespace {

using channel::DoneStatus;
using channel::Intake;

// A job that took less is not worth the system calls that measure it.
constexpr Duration kMeasuredMin = std::chrono::milliseconds(1);
// A job that took less has left no process: it takes some 15 us to make even one that shares our memory (vfork), 100 to
// copy ours (fork), and 250 to start a program (posix_spawn, popen). Looking is a system call, up to 1 us on a virtual
// machine: nothing beside a job of this length, and too much beside one of a fraction of it.
constexpr Duration kForkMin = std::chrono::microseconds(10);

std::atomic<bool> is_forked_from_task{false};

// How long jobs run between two looks at the size of the process.
constexpr Duration kWeighedEvery = std::chrono::milliseconds(1);

std::uint64_t resident_bytes() {
  char buffer[128];
  std::string_view text = read_proc("/proc/self/statm", buffer);
  (void)take_number(text);  // its address space
  static const auto page_bytes = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  return static_cast<std::uint64_t>(std::max(0, take_number(text).value)) * page_bytes;
}

}  // namespace

void watch_forks() {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { is_forked_from_task.store(true); });
  static_cast<void>(registered);
}

bool is_fork_of_task() { return is_forked_from_task.load(std::memory_order_relaxed); }

void be_no_fork_of_task() { is_forked_from_task.store(false); }

int ProcessWorker::work() {
  watch_forks();
  channel::Run run;
  while (!has_lifeline_closed()) {
    switch (wait(run)) {
      case Intake::kRun:
        run_one(run);
        if (!is_worn_out()) break;
        end_.settle();
        return 0;
      case Intake::kEnded:
        return 0;
      case Intake::kBroken:
        return 1;
      case Intake::kStop:  // not asked for
      case Intake::kNothing:
        break;
    }
  }
  return 0;
}

// A worker with nothing to do gives back the memory that it only keeps for speed.
Intake ProcessWorker::wait(channel::Run& run) {
  const Intake intake = end_.try_next(run);
  if (intake != Intake::kNothing || !end_.arm()) return intake;
  pollfd wake{end_.wake_fd(), POLLIN, 0};
  const int patience_ms = mappings_.size() == 0 ? -1 : static_cast<int>(limits::kMappingIdleMs);
  const int ready = poll(&wake, 1, patience_ms);
  end_.disarm();
  // A task has closed what was not its own. Nothing would wake us any more, not even the end of the lifeline.
  if (ready > 0 && (wake.revents & POLLNVAL) != 0) return Intake::kBroken;
  if (ready == 0) mappings_.drop_idle(Instant::never());
  return Intake::kNothing;
}

void ProcessWorker::run_one(channel::Run& run) {
  audit_.begin();
  const channel::Take take = end_.take(run);
  if (take == channel::Take::kRevoked) return;
  set_busy(true);
  set_current_run(end_, &run);
  TaskContext context(end_, run, jobs_run_, spool_directory_);
  result_.begin(context);
  std::optional<Failure> failure;
  if (take == channel::Take::kUnreadable) {
    failure = unreadable_payload();
  } else if (const Status in = directory_ != nullptr ? directory_->enter(run.fence) : Status(); !in) {
    failure = {DoneStatus::kWorkerError, "WorkDirectory", in.error().message};
    is_homeless_ = true;
  } else {
    failure = execute(run, context);
  }
  if (is_fork_of_task()) _exit(1);  // a child that came back from the task
  ++jobs_run_;

  channel::Outcome outcome;
  outcome.started_at = run.taken_at;
  outcome.finished_at = monotonic_now();
  const Duration took = outcome.finished_at - outcome.started_at;
  measure(outcome, took);
  end_what_it_left(took);
  if (directory_ != nullptr) directory_->leave();
  if (failure) {
    tell(*failure, outcome);
    result_.discard();
  }
  unweighed_ += took;
  run.descriptors.clear();  // what was not mapped
  const bool holds_descriptors = !result_.descriptors().empty() || context.streams().has_file();
  if (const auto left = audit_.look({took, end_.has_more(run), holds_descriptors})) {
    context.log(LogLevel::kWarning, *left);
  }
  context.streams().append_to(result_.encoded());
  outcome.result = result_.encoded();
  outcome.descriptors = result_.descriptors();
  set_current_run(end_, nullptr);
  // Views into the payload end with the run.
  parts_.clear();
  end_.done(run, outcome);
  result_.discard();
  set_busy(false);
}

std::optional<Failure> ProcessWorker::execute(channel::Run& run, TaskContext& context) {
  if (run.task >= tasks_.size()) return unknown_task(run.task);
  if (auto failure = resolve(run, mappings_, parts_)) return failure;
  const sdk::RegisteredTask& task = tasks_[run.task];
  if (!is_chunk(parts_)) return call(task, context, parts_, result_);
  return run_chunk(
      parts_.front(), context, [&](Parts arguments, ResultWriter& out) { return call(task, context, arguments, out); },
      result_);
}

std::optional<Failure> ProcessWorker::call(const sdk::RegisteredTask& task, TaskContext& context, Parts arguments,
                                           ResultWriter& out) {
  try {
    if (task.function) {
      task.function(context, arguments, out);
    } else {
      run_alone(end_, context, task.coroutine, arguments, out);
    }
    result_.finish();
    return std::nullopt;
  } catch (...) {
    return failure_of_exception(context);
  }
}

bool ProcessWorker::is_worn_out() {
  if (jobs_max_ != 0 && jobs_run_ >= jobs_max_) return true;
  if (audit_.is_to_be_replaced() || is_homeless_) return true;
  if (rss_bytes_max_ == 0 || unweighed_ < kWeighedEvery) return false;
  unweighed_ = Duration(0);
  return resident_bytes() > rss_bytes_max_;
}

void ProcessWorker::measure(channel::Outcome& outcome, Duration took) {
  if (took < kMeasuredMin) {
    unmeasured_ += took;
    return;
  }
  rusage usage{};
  if (getrusage(is_thread_ ? RUSAGE_THREAD : RUSAGE_SELF, &usage) != 0) return;
  Usage all;
  all.add(usage);
  // What the short jobs before it used is not known; at most all of their time.
  const std::uint64_t others = static_cast<std::uint64_t>(unmeasured_.count());
  const std::uint64_t since = all.cpu_ns - std::min(all.cpu_ns, cpu_ns_seen_);
  outcome.cpu_ns = since - std::min(since, others);
  if (!is_thread_) outcome.peak_rss_bytes = all.peak_rss_bytes;  // memory is the process's, whoever filled it
  cpu_ns_seen_ = all.cpu_ns;
  unmeasured_ = Duration(0);
}

// The report makes the job terminal, and a terminal job has nothing left of its tree, however the task ended. One
// system call when there is nothing.
void ProcessWorker::end_what_it_left(Duration took) {
  if (took < kForkMin || is_thread_) return;
  Usage unused;  // a job's figures are those of the worker itself
  end_descendants(unused);
}

}  // namespace futured::runtime
