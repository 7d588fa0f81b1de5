// The daemon's log: one line an event, to standard error (the journal, or the user daemon's log file).
#pragma once

#include <string>
#include <string_view>

namespace futured::ops {

// Before the first line. `level`: trace, debug, info, warn, error or off.
void start_log(const std::string& level);

// From any thread.
void log_info(std::string_view line);
void log_warning(std::string_view line);
void log_error(std::string_view line);

}  // namespace futured::ops
