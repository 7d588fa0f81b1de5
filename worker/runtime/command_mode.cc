#include "worker/runtime/command_mode.h"

#include <signal.h>
#include <unistd.h>

#include <csignal>

#include "worker/runtime/command_run.h"

namespace futured::runtime {

namespace {

volatile std::sig_atomic_t g_end_after_this = 0;

// Idle: nothing to lose. Else the command is told, and the worker ends with it.
void on_terminate(int) {
  if (!terminate_current_command()) _exit(0);
  g_end_after_this = 1;
}

void run_one(channel::WorkerEnd& end, const CommandOptions& options, channel::Run& run, OutOfMemoryWatch& memory,
             const OwnLimits& limits, bool& is_orphaned) {
  CommandRun command(end, options, memory, limits, run);
  const CommandOutcome outcome = command.execute();
  is_orphaned = command.is_orphaned();
  if (is_orphaned) return;
  channel::Outcome report;
  report.status = outcome.status;
  report.cpu_ns = outcome.usage.cpu_ns;
  report.peak_rss_bytes = outcome.usage.peak_rss_bytes;
  report.exit_code = outcome.exit_code;
  report.signal = outcome.signal;
  report.no_retry = outcome.no_retry;
  report.stacks_kept = outcome.stacks_kept;
  report.error_class = outcome.error_class;
  report.error_message = outcome.error_message;
  report.result = outcome.result;
  end.done(run, report);
}

void report_unreadable(channel::WorkerEnd& end, channel::Run& run) {
  channel::Outcome report;
  report.status = channel::DoneStatus::kWorkerError;
  report.error_class = "PayloadUnreadable";
  report.error_message = "the job's payload or its segments did not reach the worker";
  end.done(run, report);
}

}  // namespace

int run_command_worker(channel::WorkerEnd& end, const CommandOptions& options) {
  struct sigaction terminate {};
  terminate.sa_handler = on_terminate;
  sigaction(SIGTERM, &terminate, nullptr);

  OutOfMemoryWatch memory(options.memory_kills);
  const OwnLimits limits;
  channel::Run run;
  while (g_end_after_this == 0) {
    switch (end.next(run)) {
      case channel::Intake::kEnded:
        return 0;
      case channel::Intake::kBroken:
        return 1;
      case channel::Intake::kStop:  // not asked for
      case channel::Intake::kNothing:
        continue;
      case channel::Intake::kRun:
        break;
    }
    bool is_orphaned = false;
    switch (end.take(run)) {
      case channel::Take::kRevoked:
        continue;
      case channel::Take::kUnreadable:
        report_unreadable(end, run);
        continue;
      case channel::Take::kTaken:
        run_one(end, options, run, memory, limits, is_orphaned);
    }
    if (is_orphaned) return 0;
  }
  return 0;
}

}  // namespace futured::runtime
