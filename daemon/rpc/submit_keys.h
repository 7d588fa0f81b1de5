// Idempotency keys of a batch, as they come in a request.
#pragma once

#include <string>
#include <vector>

#include "daemon/core/event.h"
#include "daemon/rpc/convert.h"

namespace futured::rpc {

// The keys of a batch whose payloads are checked, with the fingerprints of what they stand for. None: no key is given.
// A fingerprint covers task, queue and payloads; of a segment its size alone, for a client that begins anew has to hand
// it in again. Options may differ: the first submit's hold.
[[nodiscard]] Result<std::vector<event::SubmitKey>> to_keys(const JobSpec& spec, const Payloads& payloads,
                                                            const google::protobuf::RepeatedPtrField<api::Item>& items,
                                                            const std::string& batch_key);

}  // namespace futured::rpc
