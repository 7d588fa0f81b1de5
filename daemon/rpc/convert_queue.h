// Queues between the messages of futured.v1 and the words of the core. No gRPC, no state.
#pragma once

#include <vector>

#include "base/result.h"
#include "daemon/core/queue_options.h"
#include "daemon/core/scheduler.h"
#include "daemon/rpc/convert.h"
#include "futured/v1/futured.pb.h"

namespace futured::rpc {

// A refusal names the field: "options.rate.rate: -1 is negative".
[[nodiscard]] Result<QueueOptions> to_queue_options(const api::QueueOptions& options);
[[nodiscard]] Result<Discipline> to_discipline(api::QueueDiscipline discipline);
// The fields that a change names. Refused: one that there is not or that never changes, and an option that is set and
// not named.
[[nodiscard]] Result<std::vector<QueueField>> to_queue_fields(
    const google::protobuf::RepeatedPtrField<std::string>& fields, const api::QueueOptions& options);

void to_api(const QueueRow& row, api::Queue& out);  // no figures
void to_api(const QueueFigures& figures, api::Queue& out);

}  // namespace futured::rpc
