// futured_simulation: random histories of the scheduler against a model.
//
//   --first N --histories N   seeds N, N+1, …        (default: 1, 1000)
//   --fresh                   begin at a seed drawn from the system
//   --seconds N               go on with further seeds for so long
//   --seed N                  this one only, telling each action
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#include <unistd.h>

#include "base/time.h"
#include "tests/simulation/history.h"
#include "tests/simulation/random.h"

namespace {

using futured::simulation::HistoryFigures;
using futured::simulation::HistoryOptions;

// Ready to be written from a signal handler.
char replay[512];

void tell_replay(int signal) {
  (void)!write(STDERR_FILENO, replay, std::strlen(replay));
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

bool run(const char* program, const HistoryOptions& options, HistoryFigures& sum) {
  const unsigned long long seed = options.seed;
  std::snprintf(replay, sizeof replay, "FAILED with seed %llu\nreplay: %s --seed %llu\n", seed, program, seed);
  try {
    const HistoryFigures one = futured::simulation::run_history(options);
    sum.jobs += one.jobs;
    sum.attempts += one.attempts;
    sum.daemons += one.daemons;
    sum.crashes += one.crashes;
    sum.spilled = std::max(sum.spilled, one.spilled);
    return true;
  } catch (const std::exception& broken) {
    std::fprintf(stderr, "%s\n%s", broken.what(), replay);
    return false;
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t first = 1;
  std::uint64_t histories = 1000;
  std::int64_t seconds = 0;
  HistoryOptions options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--fresh") {
      first = std::random_device{}() * std::uint64_t{1'000'000};
      continue;
    }
    if (i + 1 == argc) {
      std::fprintf(stderr, "%s needs a number\n", flag.c_str());
      return 2;
    }
    const std::uint64_t value = std::strtoull(argv[++i], nullptr, 10);
    if (flag == "--first") {
      first = value;
    } else if (flag == "--histories") {
      histories = value;
    } else if (flag == "--seconds") {
      seconds = static_cast<std::int64_t>(value);
    } else if (flag == "--seed") {
      first = value;
      histories = 1;
      options.verbose = true;
    } else {
      std::fprintf(stderr, "unknown flag %s\n", flag.c_str());
      return 2;
    }
  }
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) std::signal(signal, tell_replay);

  const futured::Instant until = futured::monotonic_now() + std::chrono::seconds(seconds);
  HistoryFigures sum;
  std::uint64_t done = 0;
  for (; done < histories || futured::monotonic_now() < until; ++done) {
    options.seed = first + done;
    if (!run(argv[0], options, sum)) return 1;
  }
  std::printf(
      "%llu histories from seed %llu held: %llu jobs, %llu attempts, %llu lives of the daemon, %llu dead "
      "workers, at most %llu jobs queued at once\n",
      static_cast<unsigned long long>(done), static_cast<unsigned long long>(first),
      static_cast<unsigned long long>(sum.jobs), static_cast<unsigned long long>(sum.attempts),
      static_cast<unsigned long long>(sum.daemons), static_cast<unsigned long long>(sum.crashes),
      static_cast<unsigned long long>(sum.spilled));
  return 0;
}
