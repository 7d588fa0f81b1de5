// Tasks that submit jobs, for tests/system/test_children.py.
#include <futured/task.h>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <string>
#include <tuple>
#include <vector>

namespace {

using futured::Context;
using futured::Output;
using futured::SubmitError;
using futured::SubmitOptions;

std::string told(const std::vector<std::uint64_t>& jobs) {
  std::string text;
  for (const std::uint64_t job : jobs) text += (text.empty() ? "" : " ") + std::to_string(job);
  return text;
}

// So many children that echo their number among them; their numbers as jobs.
FUTURED_TASK("children.many", [](Context& context, std::uint64_t count) {
  std::vector<std::uint64_t> jobs;
  for (std::uint64_t i = 0; i < count; ++i) jobs.push_back(context.submit("echo", i));
  return told(jobs);
});

// The same; tells the gate its first child's number, and waits for a line of `go` before each further one.
FUTURED_TASK("children.one_by_one",
             [](Context& context, const std::string& gate, const std::string& go, std::uint64_t count) {
               std::vector<std::uint64_t> jobs;
               for (std::uint64_t i = 0; i < count; ++i) {
                 std::string line;
                 if (i > 0) std::getline(std::ifstream(go), line);
                 jobs.push_back(context.submit("echo", i));
                 if (i == 0) std::ofstream(gate) << jobs.front() << std::endl;
               }
               return told(jobs);
             });

// Submits itself until it is refused; that refusal, or its child's number.
FUTURED_TASK("children.deeper", [](Context& context) -> std::string {
  try {
    return std::to_string(context.submit("children.deeper"));
  } catch (const SubmitError& error) {
    return error.error_class() + ": " + error.what();
  }
});

// A child of this task with these options; its number.
FUTURED_TASK("children.with", [](Context& context, const std::string& task, const std::string& queue,
                                 std::int32_t priority, const std::string& name) {
  SubmitOptions options;
  options.queue = queue;
  options.priority = priority;
  options.name = name;
  options.max_attempts = 3;
  options.run_timeout = std::chrono::seconds(20);
  return std::to_string(context.submit(task, std::vector<Output>{{"text/x-test", "as it is"}}, options));
});

// A child, with this key if it is not empty; the first attempt fails after it.
FUTURED_TASK("children.keyed", [](Context& context, const std::string& key) {
  SubmitOptions options;
  options.key = key;
  const std::uint64_t job = context.submit("echo", std::tuple("of an attempt", 1), options);
  context.emit(std::to_string(job) + "\n");
  if (context.attempt() == 1) throw futured::TaskError("First", "the first attempt fails");
  return std::to_string(job);
});

// A child with so many bytes as its argument.
FUTURED_TASK("children.bytes", [](Context& context, std::size_t bytes) {
  return std::to_string(context.submit("echo", std::string(bytes, 'x')));
});

// Submits children until it is asked to stop, and says so at the gate.
FUTURED_TASK("children.for_ever", [](Context& context, const std::string& gate) {
  std::ofstream(gate) << context.submit("echo", 0) << std::endl;
  for (;;) context.submit("echo", 1);
});

// How long this attempt may run, in ms; -1: for ever.
FUTURED_TASK("children.time_left", [](Context& context) -> std::int64_t {
  const auto deadline = context.deadline();
  if (!deadline) return -1;
  return std::chrono::duration_cast<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now()).count();
});

}  // namespace
