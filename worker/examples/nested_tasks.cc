// Tasks that wait for the jobs they submit: a recursion that a pool of any size comes to the end of, since who waits
// lends its slot.
#include <futured/task.h>

#include <chrono>
#include <cstdint>
#include <tuple>
#include <vector>

// fib N: the N-th Fibonacci number, by two jobs for the two before it.
FUTURED_TASK("fib", [](futured::Context& context, std::uint32_t n) -> std::uint64_t {
  if (n < 2) return n;
  const std::uint64_t one = context.submit("fib", n - 1);
  const std::uint64_t other = context.submit("fib", n - 2);
  context.wait({one, other});
  return context.outcome(one).value<std::uint64_t>() + context.outcome(other).value<std::uint64_t>();
});

// awaited_fib N: the same as a coroutine, for pools of mode async.
FUTURED_TASK("awaited_fib", [](futured::AsyncContext& context, std::uint32_t n) -> futured::Async<std::uint64_t> {
  if (n < 2) co_return n;
  const std::uint64_t one = co_await context.submit("awaited_fib", n - 1);
  const std::uint64_t other = co_await context.submit("awaited_fib", n - 2);
  const futured::ChildOutcome first = co_await context.result(one);
  const futured::ChildOutcome second = co_await context.result(other);
  co_return first.value<std::uint64_t>() + second.value<std::uint64_t>();
});

// total FROM UNTIL: the sum of the numbers from FROM to UNTIL - 1, by halves; what has not come after a minute is given
// up.
FUTURED_TASK("total", [](futured::Context& context, std::uint64_t from, std::uint64_t until) -> std::uint64_t {
  if (until - from <= 4) {
    std::uint64_t sum = 0;
    for (std::uint64_t i = from; i < until; ++i) sum += i;
    return sum;
  }
  const std::uint64_t middle = from + (until - from) / 2;
  const std::vector<std::uint64_t> halves = {context.submit("total", std::tuple(from, middle)),
                                             context.submit("total", std::tuple(middle, until))};
  if (!context.wait(halves, {.timeout = std::chrono::minutes(1)})) {
    throw futured::TaskError("TooSlow", "the halves have not come");
  }
  std::uint64_t sum = 0;
  for (const std::uint64_t half : halves) sum += context.outcome(half).value<std::uint64_t>();
  return sum;
});

// endless: asks for another of its kind and waits for it. One of them is refused its child, and all above it fail.
FUTURED_TASK("endless", [](futured::Context& context) -> std::uint64_t {
  return context.result(context.submit("endless")).value<std::uint64_t>();
});

// end_of JOB: waits for it.
FUTURED_TASK("end_of", [](futured::Context& context, std::uint64_t job) -> std::uint64_t {
  context.wait({job});
  return job;
});

// circle: waits for a job that waits for this one. Who asks last is told of it.
FUTURED_TASK("circle", [](futured::Context& context) -> std::uint64_t {
  return context.result(context.submit("end_of", context.job_id())).value<std::uint64_t>();
});
