// Callbacks between the messages of futured.v1 and the words of the core. No gRPC, no state.
#pragma once

#include <string>

#include "daemon/core/callbacks.h"
#include "daemon/rpc/convert.h"
#include "daemon/store/store.h"
#include "futured/v1/callback.pb.h"

namespace futured::rpc {

// ---- Asked. A refusal names the field, as everywhere. ------------------------------------------------------------

[[nodiscard]] Result<CallbackSpec> to_callback(const api::CallbackSpec& asked, const std::string& field,
                                               const CallbackNames& names);
// All of them, encoded.
[[nodiscard]] Result<std::string> to_callbacks(const api::JobSpec& asked, const CallbackNames& names);

// ---- Told. What a webhook's headers hold is not: it may be a secret. ---------------------------------------------

void to_api(const CallbackSpec& spec, api::CallbackSpec& out);
void to_api(const CallbackRecord& record, api::Callback& out);
void to_completion(const DeliveryRecord& delivery, std::uint32_t attempt, api::Completion& out);
// The same as JSON, as protobuf maps it, with the names of callback.proto.
[[nodiscard]] std::string completion_json(const DeliveryRecord& delivery, std::uint32_t attempt);

}  // namespace futured::rpc
