// bench-futured: load for a running daemon through the C++ client. tests/bench/run.py runs it; each call prints one
// JSON object.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
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
  daemon.create_queue("backlog", "fifo", 0);
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

int run(int argc, char** argv) {
  const auto number = [&](int index) { return std::strtoull(argv[index], nullptr, 10); };
  const std::string what = argc > 2 ? argv[1] : "";
  if (what == "commands" && argc == 4) return commands(client::Client::connect(argv[2]), number(3)), 0;
  if (what == "arrays" && argc == 5)
    return arrays(client::Client::connect(argv[2]), number(3), static_cast<int>(number(4))), 0;
  if (what == "enqueue" && argc == 4) return enqueue(client::Client::connect(argv[2]), number(3)), 0;
  if (what == "drain" && argc == 5) return drain(client::Client::connect(argv[2]), number(3), number(4)), 0;
  std::fprintf(stderr,
               "usage: bench-futured commands ADDRESS COUNT | arrays ADDRESS MEBIBYTES ROUNDS | enqueue "
               "ADDRESS COUNT |"
               " drain ADDRESS COUNT LAST_ID\n");
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
