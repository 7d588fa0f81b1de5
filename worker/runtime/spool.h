// Where a job's long output lies, and the part of its result that tells of it (docs/formats/command.md).
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/id.h"
#include "base/result.h"
#include "worker/runtime/output_capture.h"

namespace futured::runtime {

// "/spool/42.1.3.stdout": job, epoch, attempt; empty without a spool directory.
[[nodiscard]] std::string spool_path(const std::string& directory, const Fence& fence, std::string_view stream);

// A spool directory for a process that is about to become another user, who may enter neither this one nor what lies
// above it: users/<uid> in it, which belongs to that user alone. The path leads there by a descriptor, which stays open
// as long as the process.
[[nodiscard]] Result<std::string> hand_over_spool(const std::string& directory, uid_t user, gid_t group);

// Adds a finished capture to an encoded result: its bytes, or the end of them and the name of its file.
void append_output(std::string& encoded, std::string_view type, const OutputCapture& capture);

}  // namespace futured::runtime
