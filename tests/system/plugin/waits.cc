// Tasks that wait for jobs, for tests/system/test_waits.py.
#include <futured/task.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

namespace {

using futured::Async;
using futured::AsyncContext;
using futured::ChildOutcome;
using futured::Context;
using futured::SubmitOptions;
using futured::WaitError;
using futured::WaitJobs;

std::vector<std::uint64_t> numbers(const std::string& text) {
  std::istringstream words(text);
  std::vector<std::uint64_t> found;
  for (std::uint64_t number = 0; words >> number;) found.push_back(number);
  return found;
}

std::string told(const ChildOutcome& outcome) {
  std::string text = std::to_string(static_cast<std::uint32_t>(outcome.state));
  for (const std::string& word : {outcome.cause, outcome.error_class, outcome.message}) {
    if (!word.empty()) text += " " + word;
  }
  for (const futured::ChildPart& part : outcome.parts) text += " [" + part.content_type + "]" + part.bytes;
  return text;
}

std::string told(const WaitError& error) { return error.error_class() + ": " + error.what(); }

// Runs until the file is there.
FUTURED_TASK("waits.until", [](Context& context, const std::string& path) -> std::string {
  while (access(path.c_str(), F_OK) != 0) {
    if (!context.wait_for(std::chrono::milliseconds(10))) throw futured::Stopped();
  }
  return path;
});
FUTURED_TASK("waits.async_until", [](AsyncContext& context, std::string path) -> Async<std::string> {
  while (access(path.c_str(), F_OK) != 0) co_await context.sleep(std::chrono::milliseconds(10));
  co_return path;
});

FUTURED_TASK("waits.fails", []() -> std::string { throw futured::TaskError("Broken", "it is broken"); });
FUTURED_TASK("waits.bytes", [](std::size_t bytes) { return std::string(bytes, 'x'); });
FUTURED_TASK("waits.array", [](Context& context) { return context.make_array<double>({100'000}); });

// How each of these jobs ended; or the refusal.
FUTURED_TASK("waits.on", [](Context& context, const std::string& jobs) -> std::string {
  try {
    const std::vector<std::uint64_t> wanted = numbers(jobs);
    context.wait(wanted);
    std::string all;
    for (const std::uint64_t job : wanted) all += (all.empty() ? "" : "; ") + told(context.outcome(job));
    return all;
  } catch (const WaitError& error) {
    return told(error);
  }
});
FUTURED_TASK("waits.async_on", [](AsyncContext& context, std::string jobs) -> Async<std::string> {
  std::string all;
  try {
    const std::vector<std::uint64_t> wanted = numbers(jobs);
    std::vector<std::uint64_t> copy = wanted;
    Async<bool> ended = context.wait(std::move(copy));
    co_await std::move(ended);
    for (const std::uint64_t job : wanted) {
      const ChildOutcome outcome = co_await context.outcome(job);
      all += (all.empty() ? "" : "; ") + told(outcome);
    }
  } catch (const WaitError& error) {
    all = told(error);
  }
  co_return all;
});

// Submits a job of this task with this argument, into this queue; says its number at the gate, and waits for it.
FUTURED_TASK("waits.for_child",
             [](Context& context, const std::string& gate, const std::string& task, const std::string& argument,
                const std::string& queue) -> std::string {
               SubmitOptions options;
               options.queue = queue;
               const std::uint64_t job = context.submit(task, argument, options);
               if (!gate.empty()) std::ofstream(gate) << job << std::endl;
               try {
                 return told(context.result(job));
               } catch (const WaitError& error) {
                 return told(error);
               }
             });
FUTURED_TASK("waits.async_for_child",
             [](AsyncContext& context, std::string gate, std::string task, std::string argument,
                std::string queue) -> Async<std::string> {
               SubmitOptions options;
               options.queue = queue;
               const std::uint64_t job = co_await context.submit(task, argument, options);
               if (!gate.empty()) std::ofstream(gate) << job << std::endl;
               std::string all;
               try {
                 const ChildOutcome outcome = co_await context.result(job);
                 all = told(outcome);
               } catch (const WaitError& error) {
                 all = told(error);
               }
               co_return all;
             });

// Whether the job ended within so many ms; and then waits for it anyway.
FUTURED_TASK("waits.a_while", [](Context& context, std::uint64_t job, std::uint32_t ms, const std::string& gate) {
  WaitJobs options;
  options.timeout = std::chrono::milliseconds(ms);
  const bool ended = context.wait({job}, options);
  std::ofstream(gate) << (ended ? "ended" : "not yet") << std::endl;
  return told(context.result(job));
});
FUTURED_TASK("waits.async_a_while",
             [](AsyncContext& context, std::uint64_t job, std::uint32_t ms, std::string gate) -> Async<std::string> {
               WaitJobs options;
               options.timeout = std::chrono::milliseconds(ms);
               std::vector<std::uint64_t> jobs(1, job);
               Async<bool> waited = context.wait(std::move(jobs), options);
               const bool ended = co_await std::move(waited);
               std::ofstream(gate) << (ended ? "ended" : "not yet") << std::endl;
               const ChildOutcome outcome = co_await context.result(job);
               co_return told(outcome);
             });

// A child that waits for this job, which waits for it: who asks last is told of the cycle.
FUTURED_TASK("waits.in_a_cycle", [](Context& context) {
  const std::uint64_t child = context.submit("waits.on", std::to_string(context.job_id()));
  try {
    return told(context.result(child));
  } catch (const WaitError& error) {
    return told(error);
  }
});

// So deep: each waits for the next, and the last one is told how it was refused, or that it came to the end.
FUTURED_TASK("waits.deep", [](Context& context, std::uint32_t left) -> std::string {
  if (left == 0) return "the end";
  try {
    return context.result(context.submit("waits.deep", left - 1)).value<std::string>();
  } catch (const WaitError& error) {
    return told(error);
  }
});

// Gives up a wait of a coroutine by going on without it.
FUTURED_TASK("waits.async_gives_up", [](AsyncContext& context, std::uint64_t job) -> Async<std::string> {
  {
    WaitJobs options;
    options.timeout = std::chrono::milliseconds(1);
    std::vector<std::uint64_t> jobs(1, job);
    Async<bool> waited = context.wait(std::move(jobs), options);
    (void)co_await std::move(waited);
  }
  const std::uint64_t child = co_await context.submit("waits.bytes", 3);
  const ChildOutcome outcome = co_await context.result(child);
  co_return told(outcome);
});

}  // namespace
