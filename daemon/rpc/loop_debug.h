// What a loop's gauge reads, as a message.
#pragma once

#include "base/loop_gauge.h"
#include "futured/v1/futured.pb.h"

namespace futured::rpc {

namespace api = futured::v1;

void to_api(const LoopReading& reading, api::LoopDebug& out);

}  // namespace futured::rpc
