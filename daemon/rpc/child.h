// Jobs that tasks submit, on their way to the loop.
#pragma once

#include <string_view>

#include "base/result.h"
#include "daemon/core/event.h"

namespace futured::rpc {

// What a client's submit of one such job is checked to be, and its key if it has one; whose it is, is the caller's to
// say. `request` is sound (base/child.h). A refusal begins with the field of the API that it is about.
[[nodiscard]] Result<event::Submit> to_submit(std::string_view request);

}  // namespace futured::rpc
