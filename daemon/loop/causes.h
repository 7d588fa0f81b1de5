// Why an attempt ended, in the core's words: from what its worker said, or from how its worker ended.
#pragma once

#include "daemon/core/types.h"
#include "daemon/pool/local_pools.h"

namespace futured {

// Whether a cause has anything to tell: most jobs end well and were not measured.
[[nodiscard]] bool tells(const channel::Done& done);
// Another attempt would end the same way.
[[nodiscard]] bool is_final(channel::DoneStatus status);

[[nodiscard]] Cause cause_of(const channel::Done& done);
[[nodiscard]] Cause cause_of(const pool::WorkerEnded& end);

}  // namespace futured
