#include "daemon/rpc/submit.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/core/callbacks.h"
#include "daemon/rpc/submit_keys.h"

namespace futured::rpc {

namespace {

class SegmentKeeper final : public OutcomeSink {
 public:
  SegmentKeeper(SegmentHold segments, std::weak_ptr<OutcomeSink> inner)
      : segments_(std::move(segments)), inner_(std::move(inner)) {}

  void ended(const std::shared_ptr<const Batch>& batch, std::vector<EndedJob> jobs) override {
    if (const auto inner = inner_.lock()) inner->ended(batch, std::move(jobs));
  }
  void accepted(JobRange jobs) override {
    segments_.need({jobs.first, jobs.end});
    if (const auto inner = inner_.lock()) inner->accepted(jobs);
  }
  void resume() override {
    if (const auto inner = inner_.lock()) inner->resume();
  }

 private:
  const SegmentHold segments_;
  const std::weak_ptr<OutcomeSink> inner_;
};

bool has_whole_batch(const JobSpec& spec) {
  const auto callbacks = decode_callbacks(spec.callbacks);
  return callbacks.ok() && std::ranges::any_of(*callbacks, &CallbackSpec::whole_batch);
}

}  // namespace

Result<CheckedBatch> check_batch(SegmentTable& segments, Uploads& uploads, Principal who, const JobSpec& spec,
                                 const AskedBatch& asked) {
  if (asked.packed != nullptr && !asked.items.empty()) return invalid("packed", "refused beside items");
  CheckedBatch batch;
  const bool commands = spec.task.empty();
  auto payloads = asked.packed != nullptr
                      ? to_payloads(*asked.packed, commands)
                      : to_payloads(asked.items, commands, [&](SegmentId id) -> Result<std::uint64_t> {
                          const auto share = segments.take_share(id, who.uid, batch.segments);
                          if (!share.ok()) return share.error();
                          uploads.touch(id, monotonic_now());
                          return share->bytes;
                        });
  if (!payloads.ok()) return payloads.error();
  auto keys = to_keys(spec, *payloads, asked.items, asked.idempotency_key);
  if (!keys.ok()) return keys.error();
  batch.submit.keys = std::move(*keys);
  batch.submit.key_is_of_batch = !asked.idempotency_key.empty();
  if (!batch.submit.keys.empty() && !batch.submit.key_is_of_batch && has_whole_batch(spec)) {
    return invalid("spec.callbacks",
                   "one for the whole batch is refused beside keys of items, some of which may be jobs "
                   "of an earlier batch; give the batch one key");
  }
  auto digests = to_cache_digests(asked.cache, *payloads);
  if (!digests.ok()) return digests.error();
  batch.submit.cache_digests = std::move(digests->digests);
  batch.submit.cache_remarks = std::move(digests->remarks);
  batch.submit.who = who;
  batch.submit.spec = spec;
  batch.submit.start_at = asked.start.at;
  batch.submit.start_after = asked.start.after;
  batch.submit.dependencies = asked.start.dependencies;
  auto dependencies = to_dependencies(asked.items, asked.start.dependencies.size());
  if (!dependencies.ok()) return dependencies.error();
  batch.submit.item_dependencies = *std::move(dependencies);
  batch.submit.has_segments = payloads->has_segments;
  batch.submit.bytes = std::move(payloads->bytes);
  batch.submit.ends = std::move(payloads->ends);
  return batch;
}

bool has_large_payload(const event::Submit& submit) {
  std::uint32_t begin = 0;
  return std::ranges::any_of(
      submit.ends, [&](std::uint32_t end) { return end - std::exchange(begin, end) > limits::kStoredInlineBytesMax; });
}

void keep_payloads(KeeperThread& keeper, CheckedBatch batch, BatchKept then) {
  // std::function wants a copyable callable.
  auto shared = std::make_shared<CheckedBatch>(std::move(batch));
  const bool asked = keeper.ask([shared, then](PayloadKeeper& payloads) {
    std::vector<std::string_view> all;
    std::uint32_t begin = 0;
    for (const std::uint32_t end : shared->submit.ends) {
      all.push_back(std::string_view(*shared->submit.bytes).substr(begin, end - begin));
      begin = end;
    }
    auto kept = payloads.keep(all);
    if (!kept.ok()) kept = kept.error().in("cannot keep a large payload on the daemon's disk");
    then(std::move(*shared), std::move(kept));
  });
  if (!asked) then(std::move(*shared), Error{ErrorCode::kResourceExhausted, "too many large payloads wait; try again"});
}

std::shared_ptr<OutcomeSink> sink_of(SegmentHold segments, std::shared_ptr<OutcomeSink> sink) {
  if (segments.empty()) return sink;
  return std::make_shared<SegmentKeeper>(std::move(segments), sink);
}

}  // namespace futured::rpc
