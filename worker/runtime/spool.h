// Where a job's long output lies, and the part of its result that tells of it (docs/formats/command.md).
#pragma once

#include <string>
#include <string_view>

#include "base/id.h"
#include "worker/runtime/output_capture.h"

namespace futured::runtime {

// "/spool/42.1.3.stdout": job, epoch, attempt; empty without a spool directory.
[[nodiscard]] std::string spool_path(const std::string& directory, const Fence& fence, std::string_view stream);

// Adds a finished capture to an encoded result: its bytes, or the end of them and the name of its file.
void append_output(std::string& encoded, std::string_view type, const OutputCapture& capture);

}  // namespace futured::runtime
