// How a job has ended, for a task that waited for it.
#pragma once

#include <string>

#include "base/result.h"
#include "daemon/core/types.h"
#include "daemon/store/store.h"

namespace futured::rpc {

// Encoded (base/wait_call.h). Refused: there is no such job, it is another user's, it has not ended, or its result is
// not for a task: over limits::kWaitResultBytesMax, or in segments.
[[nodiscard]] Result<std::string> waited_outcome(StoreReader& reader, JobId job, Principal who,
                                                 std::uint32_t admin_uid);

}  // namespace futured::rpc
