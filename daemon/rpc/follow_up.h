// The payload of a job that follows another one.
#pragma once

#include <string>

#include "base/result.h"
#include "daemon/pool/segment_table.h"

namespace futured::rpc {

// A result as the payload of the job that follows. A command's output becomes plain parts, whether it lies in the
// result or in a file of `spool_directory`; refused when it is larger than a payload may be, or when some of it was not
// kept.
[[nodiscard]] Result<std::string> follow_up_payload(const std::string& result, SegmentTable& segments,
                                                    const std::string& spool_directory);

}  // namespace futured::rpc
