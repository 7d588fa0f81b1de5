// Stacks: what every thread of a worker is at, told just before the worker is killed because its task ignored a soft
// timeout. docs/formats/stacks.md.
#pragma once

#include <string>

#include "base/result.h"
#include "worker/channel/worker_end.h"

namespace futured::runtime {

// From now on a SIGTERM, while a current run has been asked to stop for its soft timeout, writes the stacks of all
// threads into the spool directory and ends the process. At any other time SIGTERM ends it as ever.
[[nodiscard]] Status watch_for_stacks(const std::string& spool_directory);
// The same in a fork of a process that does.
[[nodiscard]] Status watch_for_stacks_again();

// What the calling thread runs, for a SIGTERM to be about; null: nothing. At most limits::kJobsAtOnceMax threads.
void set_current_run(const channel::WorkerEnd& end, const channel::Run* run);

}  // namespace futured::runtime
