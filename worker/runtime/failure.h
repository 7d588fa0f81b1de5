// Why a call of a task did not succeed, as it is reported.
#pragma once

#include <cstdint>
#include <string>

#include "worker/channel/worker_end.h"

namespace futured::runtime {

struct Failure {
  channel::DoneStatus status;
  std::string error_class;
  std::string message;
  bool no_retry = false;
  std::uint32_t retry_after_ms = 0;
};

}  // namespace futured::runtime
