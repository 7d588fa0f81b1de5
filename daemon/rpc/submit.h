// What a batch needs on its way from a request to the loop.
#pragma once

#include <memory>
#include <utility>

#include "daemon/rpc/front.h"

namespace futured::rpc {

// A batch that may be handed to the loop, with shares in the segments that it names.
struct CheckedBatch {
  event::Submit submit;
  SegmentHold segments;
};

struct AskedBatch {
  const google::protobuf::RepeatedPtrField<api::Item>& items;
  const api::PackedItems* packed = nullptr;  // null: none
  const std::string& idempotency_key;
};

[[nodiscard]] Result<CheckedBatch> check_batch(SegmentTable& segments, Principal who, const JobSpec& spec,
                                               const AskedBatch& asked);

// The sink to submit a batch with: `sink` itself, or, for a batch that names segments, one that tells `sink` the same
// and keeps their shares until the last job has ended, whatever becomes of `sink`.
[[nodiscard]] std::shared_ptr<OutcomeSink> sink_of(SegmentHold segments, std::shared_ptr<OutcomeSink> sink);

}  // namespace futured::rpc
