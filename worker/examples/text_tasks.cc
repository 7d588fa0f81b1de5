// A plugin of tasks: build it as a shared object and name it in the pool's settings, or try it with
//   futured-zygote --mode process --plugin ./libtext_tasks.so
// It includes futured/task.h and links to nothing of futured.
#include <futured/task.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <tuple>

namespace {

// Scalars and text are converted: `fut call greet World 3`.
FUTURED_TASK("greet", [](std::string_view name, int times) {
  if (times < 0)
    throw futured::TaskError("NegativeCount", "cannot greet fewer than 0 times", futured::Retry::kPointless);
  std::string text;
  for (int i = 0; i < times; ++i) text += "Hello, " + std::string(name) + "!\n";
  return text;
});

// Bytes are a view into the payload, however long: nothing was copied to get here.
FUTURED_TASK("byte_histogram",
             [](std::span<const std::byte> bytes) {
               auto counts = futured::Array<std::uint64_t>::zeros({256});
               for (const std::byte byte : bytes) ++counts[static_cast<std::size_t>(byte)];
               return counts;
             },
             {.version = "1"});

// An array in shared memory, and one as the result: make_array's memory is handed on as it is.
FUTURED_TASK("scale", [](futured::Context& context, futured::Array<const double> values, double factor) {
  auto scaled = context.make_array<double>(values.shape());
  std::transform(values.begin(), values.end(), scaled.begin(), [&](double value) { return value * factor; });
  return scaled;
});

// A task that runs for a while: says how far it is, streams what it has, and stops when it is asked to.
FUTURED_TASK("count_down", [](futured::Context& context, std::uint32_t from) {
  for (std::uint32_t left = from; left > 0; --left) {
    context.emit(std::to_string(left) + "\n");
    context.progress(from - left, from);
    if (!context.wait_for(std::chrono::milliseconds(10))) throw futured::Stopped();
  }
  return "lift-off on attempt " + std::to_string(context.attempt());
});

// Hands its work on: a job for each name, whose numbers are the result. `fut call greet_each Ann Bob`.
FUTURED_TASK("greet_each", [](futured::Context& context, futured::Parts names) {
  std::string jobs;
  for (const futured::PartView& name : names) {
    const std::uint64_t job = context.submit("greet", std::tuple(name.text(), 1), {.name = "greeting"});
    jobs += std::to_string(job) + "\n";
  }
  return jobs;
});

}  // namespace
