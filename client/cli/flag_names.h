// The daemon's refusals in the words of the command line.
#pragma once

#include <functional>
#include <string>

namespace futured::cli {

// A refusal begins with a field of the API: "spec.timeouts.run_ms: …" becomes "--timeout: …". A message that begins
// otherwise, or with a field that fut has no word for, stays as it is. Where several flags may be meant, only those for
// which `is_given` are named, if it is given and there are any.
[[nodiscard]] std::string with_flag_names(const std::string& message,
                                          const std::function<bool(const std::string&)>& is_given = {});

}  // namespace futured::cli
