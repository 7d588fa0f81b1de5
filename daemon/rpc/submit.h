// What a batch needs on its way from a request to the loop.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "daemon/rpc/cache_key.h"
#include "daemon/rpc/front.h"
#include "daemon/rpc/uploads.h"

namespace futured::rpc {

// A batch that may be handed to the loop, with shares in the segments that it names.
struct CheckedBatch {
  event::Submit submit;
  SegmentHold segments;
  PayloadHold stored;       // of files that its payloads name by digest
  bool is_durable = false;  // its segments are to be on disk before it is accepted
};

struct AskedBatch {
  const google::protobuf::RepeatedPtrField<api::Item>& items;
  const api::PackedItems* packed = nullptr;  // null: none
  const std::string& idempotency_key;
  Start start = {};
  CacheArguments cache = {};
  bool durable_segments = false;
  SentContents* sent = nullptr;  // null: nothing can be named by its digest
};

[[nodiscard]] Result<CheckedBatch> check_batch(SegmentTable& segments, Uploads& uploads, Principal who,
                                               const JobSpec& spec, const AskedBatch& asked);

// Some of its payloads have, or may have, parts that are yet to be files.
[[nodiscard]] bool wants_files(const CheckedBatch& batch);
// Puts those on disk, on the keeper's thread, and then gives the batch to `then`, with what keeps them there until the
// batch is accepted, or the error. kResourceExhausted: the disk is full, and nothing of the batch is left on it.
using BatchKept = std::function<void(CheckedBatch, Result<PayloadHold>)>;
void keep_payloads(KeeperThread& keeper, SegmentTable& segments, CheckedBatch batch, BatchKept then);

// What a receipt (Out: SubmitResponse or Receipt) tells of a batch's jobs.
template <typename Out>
void to_api(const Accepted& accepted, Out& out) {
  const std::vector<JobId>& ids = accepted.ids;
  out.set_first_id(ids.empty() ? accepted.first.value : ids.front().value);
  out.set_count(ids.empty() ? accepted.count : static_cast<std::uint32_t>(ids.size()));
  for (const std::uint32_t item : accepted.old_items) out.add_old_items(item);
  for (std::size_t i = 1; i < ids.size(); ++i) {
    if (ids[i].value == ids[0].value + i) continue;
    for (const JobId id : ids) out.add_ids(id.value);
    return;
  }
}

// The sink to submit a batch with: `sink` itself, or, for a batch that names segments, one that tells `sink` the same
// and keeps their shares until the last job has ended, whatever becomes of `sink`.
// What is durable needs the spawner's memory no more than the daemon's.
enum class Lasting { kInMemory, kOnDisk };
[[nodiscard]] std::shared_ptr<OutcomeSink> sink_of(SegmentHold segments, std::shared_ptr<OutcomeSink> sink,
                                                   Lasting lasting = Lasting::kInMemory);

}  // namespace futured::rpc
