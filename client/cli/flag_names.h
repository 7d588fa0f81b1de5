// The daemon's refusals in the words of the command line.
#pragma once

#include <string>

namespace futured::cli {

// A refusal begins with a field of the API: "spec.timeouts.run_ms: …" becomes "--timeout: …". A message that begins
// otherwise, or with a field that fut has no word for, stays as it is.
[[nodiscard]] std::string with_flag_names(const std::string& message);

}  // namespace futured::cli
