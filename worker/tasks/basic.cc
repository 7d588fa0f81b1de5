// Built-in tasks for trying futured out: noop, echo, sleep, count, fail, fail_until, crash.
#include <futured/task.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>

namespace {

using futured::Async;
using futured::AsyncContext;
using futured::Context;
using futured::Output;
using futured::Parts;
using futured::PartView;

constexpr double kSleepSecondsMax = 366.0 * 24 * 3600;

// Nothing at all, whatever it is given: what a job itself costs.
FUTURED_TASK("noop", [](Parts) {});

// Its arguments, as they are.
FUTURED_TASK("echo", [](Parts parts) {
  std::vector<Output> outputs;
  for (const PartView& part : parts) outputs.push_back({std::string(part.content_type), std::string(part.text())});
  return outputs;
});

// sleep SECONDS: ends at once when it is asked to stop.
FUTURED_TASK("sleep", [](AsyncContext& context, double seconds) -> Async<> {
  if (!(seconds >= 0 && seconds <= kSleepSecondsMax)) {
    throw futured::BadArgument("argument 1 is not a number of seconds between 0 and a year");
  }
  const std::chrono::duration<double> time(seconds);
  co_await context.sleep(std::chrono::duration_cast<std::chrono::nanoseconds>(time));
});

// count N SECONDS: emits the numbers 1 to N, one a line, each after so many seconds; reports its progress; returns N.
FUTURED_TASK("count", [](AsyncContext& context, std::uint32_t last, double seconds) -> Async<std::uint32_t> {
  if (!(seconds >= 0 && seconds <= kSleepSecondsMax)) {
    throw futured::BadArgument("argument 2 is not a number of seconds between 0 and a year");
  }
  const auto time = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
  for (std::uint32_t number = 1; number <= last; ++number) {
    try {
      co_await context.sleep(time);
    } catch (const futured::Stopped&) {
      context.log(futured::LogLevel::kWarning, "stopped before " + std::to_string(number));
      throw;
    }
    context.emit(std::to_string(number) + "\n");
    context.progress(number, last, "counted to " + std::to_string(number));
  }
  co_return last;
});

// fail MESSAGE: always fails.
FUTURED_TASK("fail", [](const std::string& message) { throw futured::TaskError("Failed", message); });

// fail_until N: fails on every attempt before the Nth, which succeeds with its number.
FUTURED_TASK("fail_until", [](Context& context, std::uint32_t attempt) {
  if (context.attempt() < attempt) {
    throw futured::TaskError("Failed", "attempt " + std::to_string(context.attempt()) + " fails, attempt " +
                                           std::to_string(attempt) + " would not");
  }
  return context.attempt();
});

// crash [abort|segv|kill|exit]: takes its worker down.
FUTURED_TASK("crash", [](Parts parts) {
  const std::string_view how = parts.empty() ? "abort" : parts[0].text();
  if (how == "segv") std::raise(SIGSEGV);
  if (how == "kill") std::raise(SIGKILL);
  if (how == "exit") std::exit(3);
  if (how == "abort") std::abort();
  throw futured::BadArgument("argument 1 is none of abort, segv, kill, exit");
});

}  // namespace
