// bench-limits: what this machine can do at all. tests/bench/run.py runs it beside futured and the peers.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/bench/limits/limits.h"

int main(int argc, char** argv) {
  using namespace futured::bench;
  const auto number = [&](int index) { return index < argc ? std::strtoull(argv[index], nullptr, 10) : 0; };
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "commits" && argc == 5) return measure_commits(argv[2], number(3), number(4)), 0;
  if (what == "single-commits" && argc == 4) return measure_single_commits(argv[2], number(3)), 0;
  if (what == "ring" && argc == 3) return measure_ring(number(2)), 0;
  if (what == "spawn" && argc == 3) return measure_spawn(number(2)), 0;
  if (what == "fork" && argc == 3) return measure_fork(number(2)), 0;
  if (what == "compute" && argc == 5 && number(4) != 0) {
    return measure_compute(number(2), number(3), static_cast<int>(number(4))), 0;
  }
  if (what == "array" && argc == 4) return measure_array(number(2), static_cast<int>(number(3))), 0;
  std::fprintf(
      stderr,
      "usage: bench-limits commits FOLDER ROWS ROWS_PER_COMMIT | single-commits FOLDER COMMITS | ring MESSAGES |"
      " spawn COMMANDS | fork FORKS | compute CALLS N PROCESSES | array MEBIBYTES ROUNDS\n");
  return 2;
}
