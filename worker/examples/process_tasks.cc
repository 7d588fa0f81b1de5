// Tasks that show what belongs to a worker's process: what a job leaves behind in it, and its memory.
#include <futured/task.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace {

// A thread-local variable outlives the job. Who must find it as it was made takes a pool of mode `fresh`.
FUTURED_TASK("visits", [](futured::Context& context) {
  thread_local int visits = 0;
  ++visits;
  return "visit " + std::to_string(visits) + ", jobs before: " + std::to_string(context.jobs_run_before());
});

// hoard MEBIBYTES SECONDS: holds so much memory for so long; returns how much it was.
FUTURED_TASK("hoard", [](futured::Context& context, std::uint32_t mebibytes, double seconds) {
  if (!(seconds >= 0 && seconds <= 3600)) {
    throw futured::BadArgument("argument 2 is not a number of seconds between 0 and 3600");
  }
  const std::vector<char> memory(std::size_t{mebibytes} << 20, 'x');
  const std::chrono::duration<double> time(seconds);
  if (!context.wait_for(std::chrono::duration_cast<std::chrono::nanoseconds>(time))) throw futured::Stopped();
  return static_cast<std::uint64_t>(std::count(memory.begin(), memory.end(), 'x')) >> 20;
});

}  // namespace
