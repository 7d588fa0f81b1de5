// bench-futured: load for a running daemon through the C++ client. tests/bench/run.py runs it; each call prints one
// JSON object.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <numeric>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "futured/client.h"
#include "tests/bench/timing.h"

namespace futured::bench {
namespace {

constexpr std::size_t kPayloadBytes = 100;
constexpr std::uint64_t kTenths = 10;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void all_succeeded(const std::vector<client::Future>& futures) {
  const client::WaitResult end = client::wait(futures);
  for (const client::Future& future : end.done) {
    const client::Outcome outcome = future.outcome();
    if (!outcome.succeeded()) {
      throw std::runtime_error("job " + std::to_string(outcome.id) + " ended otherwise: " + describe(outcome.cause));
    }
  }
}

void commands(const client::Client& daemon, std::uint64_t count) {
  const client::Executor executor = daemon.executor();
  const client::CommandLine command{.argv = {"/bin/true"}};
  std::vector<client::Future> futures;
  const Stopwatch watch;
  for (std::uint64_t i = 0; i < count; ++i) futures.push_back(executor.submit(command));
  all_succeeded(futures);
  print_rate(count, watch.seconds());
}

// So many calls of a task with one argument, submitted at once.
void calls(const client::Client& daemon, const std::string& task, const std::string& argument, std::uint64_t count) {
  const client::Executor executor = daemon.executor();
  static_cast<void>(executor.submit(task, argument).result());  // its worker is there
  std::vector<client::Future> futures;
  const Stopwatch watch;
  for (std::uint64_t i = 0; i < count; ++i) futures.push_back(executor.submit(task, argument));
  all_succeeded(futures);
  print_rate(count, watch.seconds());
}

std::vector<double> numbers_of(std::uint64_t mebibytes, int round) {
  std::vector<double> numbers((mebibytes << 20) / sizeof(double));
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<double>((i + static_cast<std::size_t>(round)) % 1000);
  }
  return numbers;
}

constexpr int kLaterJobs = 25;

// `first` is a job on an array built in a segment that no worker has seen, `later` many on the same array in the same
// worker (the pool has one), `ordinary` begins with the numbers in the client's own memory. Every sum is checked.
void arrays(const client::Client& daemon, std::uint64_t mebibytes, int rounds) {
  const client::Executor executor = daemon.executor();
  const auto sum_of = [&](const client::Segment& array) {
    return std::stod(executor.submit("sum", {client::part_of(array)}).result());
  };
  std::vector<double> first;
  std::vector<double> later;
  std::vector<double> ordinary;
  for (int round = 0; round < rounds; ++round) {
    const std::vector<double> numbers = numbers_of(mebibytes, round);
    const double expected = std::accumulate(numbers.begin(), numbers.end(), 0.0);
    const auto bytes = std::as_bytes(std::span(numbers));
    client::SegmentBuffer built(bytes.size());
    std::copy(bytes.begin(), bytes.end(), built.bytes().begin());

    const Stopwatch fresh;
    const client::Segment array = daemon.put_array<double>(std::move(built));
    const double sum = sum_of(array);
    first.push_back(fresh.seconds());

    bool again_right = true;
    for (int again = 0; again < kLaterJobs; ++again) {
      const Stopwatch warm;
      again_right = sum_of(array) == expected && again_right;
      later.push_back(warm.seconds());
    }

    const Stopwatch whole;
    const client::Segment copied = daemon.put(bytes, "float64", array.shape);
    const double third = sum_of(copied);
    ordinary.push_back(whole.seconds());

    if (sum != expected || !again_right || third != expected) throw std::runtime_error("a sum is wrong");
    daemon.drop(array);
    daemon.drop(copied);
  }
  std::printf("{\"first_ms\": %.3f, \"later_ms\": %.3f, \"ordinary_ms\": %.3f, \"rounds\": %d}\n", median(first) * 1e3,
              median(later) * 1e3, median(ordinary) * 1e3, rounds);
}

client::JobOptions into_backlog() {
  client::JobOptions options;
  options.queue = "backlog";
  options.follow = false;
  return options;
}

// Submits into a paused queue and prints the rate of acknowledged jobs, over all and over the first and last tenth.
void enqueue(const client::Client& daemon, std::uint64_t count) {
  daemon.create_queue("backlog");
  daemon.pause_queue("backlog");
  const client::Executor executor = daemon.executor(into_backlog());
  const std::string payload(kPayloadBytes, 'x');
  std::vector<double> tenths;
  std::uint64_t last_id = 0;
  for (std::uint64_t tenth = 0; tenth < kTenths; ++tenth) {
    const Stopwatch watch;
    client::Future last;
    for (std::uint64_t i = 0; i < count / kTenths; ++i) last = executor.submit("noop", payload);
    daemon.flush();
    tenths.push_back(watch.seconds());
    last_id = last.id();
  }
  double total = 0;
  for (const double seconds : tenths) total += seconds;
  const auto per_tenth = static_cast<double>(count / kTenths);
  std::printf("{\"per_second\": %.1f, \"first_tenth\": %.1f, \"last_tenth\": %.1f, \"last_id\": %llu}\n",
              static_cast<double>(count) / total, per_tenth / tenths.front(), per_tenth / tenths.back(),
              static_cast<unsigned long long>(last_id));
}

// Resumes that queue and waits for its last jobs: order is fifo, so when they have ended all have.
void drain(const client::Client& daemon, std::uint64_t count, std::uint64_t last_id) {
  constexpr std::uint64_t kWatched = 1000;
  std::vector<std::uint64_t> ids;
  for (std::uint64_t id = last_id - std::min(last_id, kWatched) + 1; id <= last_id; ++id) ids.push_back(id);
  const std::vector<client::Future> futures = daemon.futures(ids);
  const Stopwatch watch;
  daemon.resume_queue("backlog");
  all_succeeded(futures);
  print_rate(count, watch.seconds());
}

client::QueueOptions with_limits() {
  constexpr std::uint32_t kEnough = 1'000'000;  // no limit stops a job: what is measured is what they cost
  client::QueueOptions options;
  options.concurrency_max = kEnough;
  options.rate = {.starts = kEnough, .per = client::Milliseconds(1000), .burst = kEnough};
  return options;
}

// No-ops, the same number in each queue, behind two jobs that keep both workers of the default pool: prints how fast
// they are done once those are cancelled. Order is fifo, so a queue is done with its last job.
void drain_queues(const client::Client& daemon, std::uint64_t queues, std::uint64_t count, bool limited) {
  constexpr std::size_t kWorkers = 2;
  const client::Executor first = daemon.executor();
  std::vector<std::uint64_t> holding;
  for (std::size_t i = 0; i < kWorkers; ++i) holding.push_back(first.submit("sleep", "1000").id());
  std::vector<std::uint64_t> last_ids;
  for (std::uint64_t i = 0; i < queues; ++i) {
    client::JobOptions options;
    options.queue = "drained-" + std::to_string(i);
    options.follow = false;
    daemon.create_queue(options.queue, limited ? with_limits() : client::QueueOptions());
    const client::Executor executor = daemon.executor(options);
    client::Future last;
    for (std::uint64_t job = 0; job < count / queues; ++job) last = executor.submit("noop", "");
    daemon.flush();
    last_ids.push_back(last.id());
  }
  const std::vector<client::Future> futures = daemon.futures(last_ids);
  const Stopwatch watch;
  daemon.cancel(holding, {.kill_at_once = true});
  all_succeeded(futures);
  print_rate(count / queues * queues, watch.seconds());
}

double cpu_seconds_of(int pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stat, text);
  std::istringstream rest(text.substr(text.rfind(')') + 1));
  std::string word;
  for (int i = 0; i < 11; ++i) rest >> word;  // up to field 13
  double user = 0;
  double system = 0;
  rest >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// `count` jobs that no worker will take, each with a queue_timeout, due over some seconds: how late each is told to
// have ended, and what the daemon does before the first is due.
void timers(const client::Client& daemon, std::uint64_t count) {
  constexpr std::uint64_t kDifferent = 200;
  constexpr client::Milliseconds kFirst(6'000);
  constexpr client::Milliseconds kStep(20);
  constexpr std::chrono::seconds kIdle(2);
  daemon.create_queue("timers");
  daemon.pause_queue("timers");
  std::vector<client::Future> futures;
  std::map<std::uint64_t, std::int64_t> timeout_us;  // by job
  std::vector<std::pair<std::size_t, std::int64_t>> batches;
  for (std::uint64_t i = 0; i < kDifferent; ++i) {
    client::JobOptions options;
    options.queue = "timers";
    options.timeouts.queue = kFirst + kStep * static_cast<std::int64_t>(i);
    const client::Executor executor = daemon.executor(options);
    for (std::uint64_t j = 0; j < count / kDifferent; ++j) futures.push_back(executor.submit("noop", ""));
    batches.emplace_back(futures.size(), options.timeouts.queue.count() * 1000);
  }
  daemon.flush();
  const int pid = daemon.info().pid;
  const double before = cpu_seconds_of(pid);
  std::this_thread::sleep_for(kIdle);
  const double idle_percent = (cpu_seconds_of(pid) - before) / std::chrono::duration<double>(kIdle).count() * 100;
  static_cast<void>(client::wait(futures));

  std::size_t at = 0;
  for (const auto& [until, timeout] : batches) {
    for (; at < until; ++at) timeout_us[futures[at].id()] = timeout;
  }
  std::vector<double> late_ms;
  client::JobPage page;
  do {
    page = daemon.jobs({.queue = "timers"}, 1000, page.next_page_token);
    for (const client::JobInfo& job : page.jobs) {
      late_ms.push_back(static_cast<double>(job.finished_us - job.submitted_us - timeout_us.at(job.id)) / 1000);
    }
  } while (!page.next_page_token.empty());
  std::sort(late_ms.begin(), late_ms.end());
  if (late_ms.size() != futures.size() || late_ms.front() < 0) throw std::runtime_error("a timer was early, or lost");
  std::printf(
      "{\"timers\": %zu, \"late_p50_ms\": %.3f, \"late_p99_ms\": %.3f, \"late_max_ms\": %.3f, "
      "\"idle_cpu_percent\": %.2f}\n",
      late_ms.size(), late_ms[late_ms.size() / 2], late_ms[late_ms.size() * 99 / 100], late_ms.back(), idle_percent);
}

int run(int argc, char** argv) {
  const auto number = [&](int index) { return std::strtoull(argv[index], nullptr, 10); };
  const std::string what = argc > 2 ? argv[1] : "";
  if (what == "commands" && argc == 4) return commands(client::Client::connect(argv[2]), number(3)), 0;
  if (what == "calls" && argc == 6) return calls(client::Client::connect(argv[2]), argv[3], argv[4], number(5)), 0;
  if (what == "arrays" && argc == 5)
    return arrays(client::Client::connect(argv[2]), number(3), static_cast<int>(number(4))), 0;
  if (what == "enqueue" && argc == 4) return enqueue(client::Client::connect(argv[2]), number(3)), 0;
  if (what == "timers" && argc == 4) return timers(client::Client::connect(argv[2]), number(3)), 0;
  if (what == "drain" && argc == 5) return drain(client::Client::connect(argv[2]), number(3), number(4)), 0;
  if (what == "drain-queues" && argc == 6) {
    const bool limited = std::string_view(argv[5]) == "limited";
    return drain_queues(client::Client::connect(argv[2]), number(3), number(4), limited), 0;
  }
  std::fprintf(
      stderr,
      "usage: bench-futured commands ADDRESS COUNT | calls ADDRESS TASK ARGUMENT COUNT | arrays ADDRESS "
      "MEBIBYTES ROUNDS | enqueue "
      "ADDRESS COUNT |"
      " drain ADDRESS COUNT LAST_ID | timers ADDRESS COUNT | drain-queues ADDRESS QUEUES COUNT plain|limited\n");
  return 2;
}

}  // namespace
}  // namespace futured::bench

int main(int argc, char** argv) {
  try {
    return futured::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench: %s\n", error.what());
    return 1;
  }
}
