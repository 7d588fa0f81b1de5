// Coroutine tasks, well and badly behaved, for tests/system/test_async.py.
#include <fcntl.h>
#include <futured/task.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace {

using futured::Async;
using futured::AsyncContext;
using std::chrono::hours;
using std::chrono::milliseconds;

void report(const std::string& gate) { std::ofstream(gate) << getpid() << std::endl; }

// Not inlined: its name is looked for in the stacks.
[[gnu::noinline]] void spins(volatile std::uint64_t& counter, milliseconds time) {
  const auto until = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < until) counter = counter + 1;
}

Async<std::uint64_t> sum_to(AsyncContext& context, std::uint64_t last) {
  if (last == 0) co_return 0;
  if (last % 100 == 0) co_await context.sleep({});
  co_return last + co_await sum_to(context, last - 1);
}

Async<> fails(AsyncContext& context) {
  co_await context.sleep(milliseconds(1));
  throw futured::TaskError("Deep", "from within");
}

}  // namespace

// Its process, when it has been told to go on by the file.
FUTURED_TASK("async.meet", [](AsyncContext& context, std::string gate, std::string go) -> Async<std::int64_t> {
  report(gate);
  while (access(go.c_str(), F_OK) != 0) co_await context.sleep(milliseconds(10));
  co_return static_cast<std::int64_t>(getpid());
});

FUTURED_TASK("async.sum", [](AsyncContext& context, std::uint64_t last) { return sum_to(context, last); });

FUTURED_TASK("async.fails", [](AsyncContext& context) -> Async<> { co_await fails(context); });

// Views into the arguments hold as long as the coroutine.
FUTURED_TASK("async.views",
             [](AsyncContext& context, std::string_view first, futured::Parts rest) -> Async<std::string> {
               co_await context.sleep(milliseconds(20));
               std::string all(first);
               for (const futured::PartView& part : rest) all.append("+").append(part.text());
               co_return all;
             });

// What is written into the FIFO.
FUTURED_TASK("async.read_fifo", [](AsyncContext& context, std::string path, std::string gate) -> Async<std::string> {
  const int fifo = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  report(gate);
  char text[100];
  co_await context.readable(fifo);
  const ssize_t size = read(fifo, text, sizeof text);
  close(fifo);
  co_return std::string(text, size > 0 ? static_cast<std::size_t>(size) : 0);
});

FUTURED_TASK("async.wait_for_file", [](AsyncContext& context) -> Async<> {
  const int file = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
  co_await context.readable(file);
});
FUTURED_TASK("async.wait_for_nothing", [](AsyncContext& context) -> Async<> { co_await context.writable(-1); });

// Heeds its stop by a result.
FUTURED_TASK("async.until_stopped", [](AsyncContext& context, std::string gate) -> Async<std::string> {
  report(gate);
  co_await context.stop();
  co_return std::string("stopped for reason ") + std::to_string(static_cast<int>(context.stop_reason()));
});

// Waits again after it was stopped, and only then ends.
FUTURED_TASK("async.tidy", [](AsyncContext& context, std::string gate, std::string proof) -> Async<> {
  report(gate);
  bool is_stopped = false;
  try {
    co_await context.sleep(hours(1));
  } catch (const futured::Stopped&) {
    is_stopped = true;
  }
  co_await context.sleep(milliseconds(20));
  std::ofstream(proof) << is_stopped << std::endl;
  throw futured::Stopped();
});

// Leaves the reasons of its first two stops.
FUTURED_TASK("async.stops_twice", [](AsyncContext& context, std::string gate, std::string proof) -> Async<> {
  std::string reasons;
  for (int stops = 0; stops < 2; ++stops) {
    report(gate);
    try {
      co_await context.sleep(hours(1));
    } catch (const futured::Stopped&) {
      reasons += std::to_string(static_cast<int>(context.stop_reason())) + " ";
    }
  }
  std::ofstream(proof) << reasons << std::endl;
  throw futured::Stopped();
});

FUTURED_TASK("async.deaf", [](AsyncContext& context, std::string gate) -> Async<> {
  report(gate);
  for (;;) {
    try {
      co_await context.sleep(hours(1));
    } catch (const futured::Stopped&) {
    }
  }
});

FUTURED_TASK("async.hog", [](AsyncContext& context, std::string gate, std::int64_t ms) -> Async<> {
  report(gate);
  co_await context.sleep(milliseconds(1));
  std::uint64_t counter = 0;
  spins(counter, milliseconds(ms));
});

FUTURED_TASK("async.bring_down", [](AsyncContext& context, std::string how) -> Async<> {
  co_await context.sleep(milliseconds(5));
  if (how == "abort") std::abort();
  if (how == "exit") exit(3);
  if (how == "close") {  // all that is no file, and so the event loop's
    for (int descriptor = 3; descriptor < 200; ++descriptor) {
      char what[64] = {};
      const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
      if (readlink(link.c_str(), what, sizeof what - 1) <= 0) continue;
      if (std::string(what) == "anon_inode:[timerfd]") close(descriptor);
    }
    co_await context.sleep(milliseconds(5));
  }
  if (how == "segv") *reinterpret_cast<volatile int*>(8) = 1;
});

// Ends while two of its coroutines wait.
FUTURED_TASK("async.leaves_waits", [](AsyncContext& context) -> Async<std::string> {
  const Async<std::uint64_t> never_begun = sum_to(context, 1000);
  const auto waiting = [](AsyncContext& its) -> Async<> { co_await its.sleep(hours(1)); };
  const Async<> left = waiting(context);
  left.handle().resume();
  co_await context.sleep(milliseconds(5));
  co_return std::string("ended");
});

// So many children, each awaited; their numbers.
FUTURED_TASK("async.submits", [](AsyncContext& context, std::uint64_t count) -> Async<std::string> {
  std::string jobs;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t job = co_await context.submit("echo", i);
    jobs += std::to_string(job) + " ";
  }
  co_return jobs;
});

// The daemon's refusal.
FUTURED_TASK("async.submits_nothing", [](AsyncContext& context) -> Async<std::string> {
  try {
    co_await context.submit("no.such.task");
  } catch (const futured::SubmitError& error) {
    co_return error.error_class();
  }
  co_return std::string("a job");
});

// Submits once the file is there; writes the child's number, or that it was stopped, twice over.
FUTURED_TASK("async.submits_at",
             [](AsyncContext& context, std::string gate, std::string go, std::string proof) -> Async<> {
               report(gate);
               while (access(go.c_str(), F_OK) != 0) co_await context.sleep(milliseconds(10));
               std::string seen;
               for (int i = 0; i < 2; ++i) {
                 try {
                   const std::uint64_t job = co_await context.submit("echo", i);
                   seen += std::to_string(job) + " ";
                 } catch (const futured::Stopped&) {
                   seen += "stopped ";
                 }
               }
               std::ofstream(proof) << seen << std::endl;
             });

// Writes a byte now and then, until it is stopped.
FUTURED_TASK("async.ticks", [](AsyncContext& context, std::string path) -> Async<> {
  std::ofstream file(path);
  for (;;) {
    file << '.' << std::flush;
    co_await context.sleep(milliseconds(10));
  }
});

// Two of its coroutines submit, one of which is left before it is answered.
FUTURED_TASK("async.submits_beside", [](AsyncContext& context) -> Async<std::string> {
  const auto submits = [](AsyncContext& its, std::uint64_t& job) -> Async<> { job = co_await its.submit("echo", 1); };
  std::uint64_t left = 0;
  std::uint64_t beside = 0;
  {
    const Async<> forgotten = submits(context, left);
    forgotten.handle().resume();
  }
  const Async<> second = submits(context, beside);
  second.handle().resume();
  const std::uint64_t third = co_await context.submit("echo", 2);
  while (!second.handle().done()) co_await context.sleep(milliseconds(1));
  co_return std::to_string(left) + " " + std::to_string(static_cast<int>(beside != 0 && third != beside));
});

FUTURED_TASK("async.array", [](AsyncContext& context, std::uint64_t count) -> Async<futured::Array<double>> {
  futured::Array<double> made = context.make_array<double>({count});
  co_await context.sleep(milliseconds(1));
  for (std::size_t i = 0; i < count; ++i) made[i] = 0.5;
  co_return made;
});

FUTURED_TASK("async.stream", [](AsyncContext& context, std::uint64_t lines) -> Async<> {
  for (std::uint64_t line = 0; line < lines; ++line) {
    context.emit(std::to_string(line) + "\n");
    context.progress(line + 1, lines);
    co_await context.sleep(milliseconds(1));
  }
});
