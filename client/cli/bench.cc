// fut bench: what this daemon does on this machine, in figures.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/time.h"
#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  std::uint64_t jobs = 100'000;
  std::uint64_t singles = 1'000;
  std::size_t payload_bytes = 100;
  std::string task = "noop";
};

struct Throughput {
  double accepted_seconds = 0;  // until the last was acknowledged
  double done_seconds = 0;      // until the last result was here
  double cpu_seconds = 0;       // of this process
};

double own_cpu_seconds() {
  rusage used = {};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

double seconds_since(Instant begin) { return static_cast<double>((monotonic_now() - begin).count()) / 1e9; }

Throughput measure_throughput(const client::Client& client, const Options& options) {
  const client::Executor executor = client.executor();
  const std::string payload(options.payload_bytes, 'x');
  std::vector<client::Future> futures;
  futures.reserve(options.jobs);
  Throughput measured;
  const double cpu_before = own_cpu_seconds();
  const Instant begin = monotonic_now();
  for (std::uint64_t i = 0; i < options.jobs; ++i) futures.push_back(executor.submit(options.task, payload));
  client.flush();
  measured.accepted_seconds = seconds_since(begin);
  for (const client::Future& future : futures) static_cast<void>(future.result());
  measured.done_seconds = seconds_since(begin);
  measured.cpu_seconds = own_cpu_seconds() - cpu_before;
  return measured;
}

// Microseconds from submit to result, sorted.
std::vector<double> measure_latency(const client::Client& client, const Options& options) {
  const client::Executor executor = client.executor();
  const std::string payload(options.payload_bytes, 'x');
  std::vector<double> times;
  for (std::uint64_t i = 0; i < options.singles; ++i) {
    const Instant begin = monotonic_now();
    static_cast<void>(executor.submit(options.task, payload).result());
    times.push_back(seconds_since(begin) * 1e6);
  }
  std::sort(times.begin(), times.end());
  return times;
}

double quantile(const std::vector<double>& sorted, double q) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(q * static_cast<double>(sorted.size())))];
}

int bench_noop(const Options& options, const Globals& globals) {
  require_utf8("--task", options.task);
  const client::Client client = connect(globals);
  const bool durable = client.info().durable;
  static_cast<void>(client.executor().submit(options.task, "").result());  // workers are warm from here on
  const Throughput throughput = measure_throughput(client, options);
  const std::vector<double> latency = measure_latency(client, options);
  const double jobs = static_cast<double>(options.jobs);
  if (globals.json) {
    print_json({{"bench", "noop_throughput"},
                {"jobs", options.jobs},
                {"payload_bytes", options.payload_bytes},
                {"durable", durable},
                {"seconds", throughput.done_seconds},
                {"accepted_per_second", jobs / throughput.accepted_seconds},
                {"jobs_per_second", jobs / throughput.done_seconds},
                {"client_cpu_us_per_job", throughput.cpu_seconds * 1e6 / jobs}});
    print_json({{"bench", "noop_latency"},
                {"jobs", options.singles},
                {"durable", durable},
                {"p50_us", quantile(latency, 0.5)},
                {"p90_us", quantile(latency, 0.9)},
                {"p99_us", quantile(latency, 0.99)}});
    return kOk;
  }
  char text[512];
  std::snprintf(text, sizeof text,
                "%s no-op jobs, payload %zu B, one client\n"
                "  %llu at once: %.0f jobs/s, results collected (accepted at %.0f/s; %.2f us of client CPU a job)\n"
                "  one at a time, submit to result: p50 %.0f us, p90 %.0f us, p99 %.0f us (%llu jobs)\n",
                durable ? "durable" : "volatile", options.payload_bytes, static_cast<unsigned long long>(options.jobs),
                jobs / throughput.done_seconds, jobs / throughput.accepted_seconds, throughput.cpu_seconds * 1e6 / jobs,
                quantile(latency, 0.5), quantile(latency, 0.9), quantile(latency, 0.99),
                static_cast<unsigned long long>(options.singles));
  print(text);
  return kOk;
}

}  // namespace

void add_bench(CLI::App& app, Globals& globals) {
  CLI::App& bench = *app.add_subcommand("bench", "Measure this daemon on this machine");
  bench.require_subcommand(1);
  bench.fallthrough();
  const auto options = std::make_shared<Options>();
  CLI::App& noop = *bench.add_subcommand("noop", "Throughput and latency of jobs that do nothing");
  noop.add_option("-n,--jobs", options->jobs, "Jobs at once (default: 100000)")->check(at_least_one());
  noop.add_option("--singles", options->singles, "Jobs one at a time (default: 1000)");
  noop.add_option("--payload", options->payload_bytes, "Bytes of payload (default: 100)");
  noop.add_option("--task", options->task, "Task to call (default: noop)");
  noop.callback(
      [&globals, options] { globals.action = [&globals, options] { return bench_noop(*options, globals); }; });
  constexpr const char* kExamples =
      "Examples:\n  fut bench noop -n 1000000\n  fut bench noop --json\n  fut bench cheatsheet --quick\n";
  bench.footer(kExamples);
  noop.footer(kExamples);
  add_cheatsheet(bench, globals);
}

}  // namespace futured::cli
