#include "daemon/ops/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace futured::ops {

void start_log(const std::string& level) {
  auto logger = spdlog::stderr_logger_mt("futured");
  logger->set_level(spdlog::level::from_str(level == "warn" ? "warning" : level));
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

void log_info(std::string_view line) { spdlog::info("{}", line); }
void log_warning(std::string_view line) { spdlog::warn("{}", line); }
void log_error(std::string_view line) { spdlog::error("{}", line); }

}  // namespace futured::ops
