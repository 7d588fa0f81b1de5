// Built-in tasks that keep a core or the memory busy: sum, sum_squares, spin.
#include <futured/task.h>

#include <algorithm>
#include <cstdint>
#include <ctime>

namespace {

using futured::Array;
using futured::Context;

constexpr double kSpinMsMax = 24.0 * 3600 * 1000;

// Sixteen accumulators: floating-point addition is not associative, so without them the compiler may not use vectors,
// and each addition would wait for the one before. With them the loop runs at the speed of the memory. Rounding differs
// from a sum in order, and is on the whole smaller.
double sum_of(std::span<const double> values) {
  constexpr std::size_t kLanes = 16;
  double lanes[kLanes] = {};
  const std::size_t whole = values.size() - values.size() % kLanes;
  const double* at = values.data();
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += at[i + lane];
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  for (const double value : values.subspan(whole)) sum += value;
  return sum;
}

std::int64_t cpu_ns_of_thread() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

// sum ARRAY: of a float64 array of any shape.
FUTURED_TASK("sum", [](Context& context, Array<const double> values) {
  constexpr std::size_t kBetweenLooks = std::size_t{1} << 20;  // elements; a few milliseconds
  double sum = 0;
  for (std::size_t begin = 0; begin < values.size(); begin += kBetweenLooks) {
    context.throw_if_stopped();
    sum += sum_of(values.elements().subspan(begin, std::min(kBetweenLooks, values.size() - begin)));
  }
  return sum;
});

// sum_squares N: 0² + 1² + … + (N-1)², modulo 2⁶⁴, one addition at a time.
FUTURED_TASK("sum_squares", [](Context& context, std::uint64_t n) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < n; ++i) {
    sum += i * i;
    asm volatile("" : "+r"(sum));  // the compiler knows the closed formula
    if (i % (std::uint64_t{1} << 22) == 0) context.throw_if_stopped();
  }
  return sum;
});

// spin MILLISECONDS: of processor time. Deaf to its stop, as code in a library would be: it has to be killed.
FUTURED_TASK("spin", [](double milliseconds) {
  if (!(milliseconds >= 0 && milliseconds <= kSpinMsMax)) {
    throw futured::BadArgument("argument 1 is not a number of milliseconds between 0 and a day");
  }
  const std::int64_t until = cpu_ns_of_thread() + static_cast<std::int64_t>(milliseconds * 1e6);
  std::uint64_t rounds = 0;
  while (cpu_ns_of_thread() < until) {
    for (int i = 0; i < 10'000; ++i) asm volatile("" : "+r"(rounds));
    ++rounds;
  }
  return rounds;
});

}  // namespace
