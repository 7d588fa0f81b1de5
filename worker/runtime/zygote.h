// The zygote: loads a pool's tasks once and forks its workers. docs/formats/zygote.md.
#pragma once

#include <string>

#include "base/pool_terms.h"
#include "worker/channel/zygote.h"

namespace futured::runtime {

struct ZygoteOptions {
  PoolTerms terms;
  std::string spool_directory;  // where long output goes
};

// Serves the spawner on descriptor zygote::kControlFd until it hangs up. Returns the exit status; in a worker, which is
// a fork, it does not return. One thread, unless a plugin started more.
[[nodiscard]] int run_zygote(const ZygoteOptions& options);

// The whole of main(): reads the command line and runs the zygote. For executables that have tasks of their own.
[[nodiscard]] int zygote_main(int argc, char** argv);

}  // namespace futured::runtime
