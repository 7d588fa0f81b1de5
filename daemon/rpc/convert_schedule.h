// Between a Schedule of futured.v1 and the words of the core. No gRPC, no state.
#pragma once

#include "base/result.h"
#include "daemon/core/event.h"
#include "daemon/core/scheduler.h"
#include "daemon/rpc/convert.h"
#include "futured/v1/futured.pb.h"

namespace futured::rpc {

// All but who asks and the zone, which a disk has.
[[nodiscard]] Result<event::PutSchedule> to_put(const api::Schedule& asked, const CallbackNames& names);

void to_api(const ScheduleView& view, api::Schedule& out);

}  // namespace futured::rpc
