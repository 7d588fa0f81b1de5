#include "daemon/rpc/submit.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "base/stored_segment.h"
#include "daemon/core/callbacks.h"
#include "daemon/rpc/stored_segments.h"
#include "daemon/rpc/submit_keys.h"

namespace futured::rpc {

namespace {

class SegmentKeeper final : public OutcomeSink {
 public:
  SegmentKeeper(SegmentHold segments, std::weak_ptr<OutcomeSink> inner, Lasting lasting)
      : segments_(std::move(segments)), inner_(std::move(inner)), lasting_(lasting) {}

  void ended(const std::shared_ptr<const Batch>& batch, std::vector<EndedJob> jobs) override {
    if (const auto inner = inner_.lock()) inner->ended(batch, std::move(jobs));
  }
  void accepted(JobRange jobs) override {
    if (lasting_ == Lasting::kInMemory) segments_.need({jobs.first, jobs.end});
    if (const auto inner = inner_.lock()) inner->accepted(jobs);
  }
  void resume() override {
    if (const auto inner = inner_.lock()) inner->resume();
  }

 private:
  const SegmentHold segments_;
  const std::weak_ptr<OutcomeSink> inner_;
  const Lasting lasting_;
};

// The uploads of a user that he names, each kept on disk until the batch has its answer.
class SentFinder {
 public:
  SentFinder(SentContents* sent, Principal who, CheckedBatch& batch) : sent_(sent), who_(who), batch_(batch) {}

  Result<NamedContent> operator()(const std::string& text) {
    const auto digest = digest_of(text);
    if (!digest) return Error{ErrorCode::kInvalidArgument, "it is not \"sha256:\" and 64 hexadecimal digits"};
    const auto found = sent_ != nullptr ? sent_->find(who_.uid, *digest, monotonic_now()) : std::nullopt;
    if (!found) {
      return Error{
          ErrorCode::kNotFound,
          text + " is no content that you have sent; fut upload, or Segments.Upload with durable set, sends one"};
    }
    return keep(*found);
  }
  Result<NamedContent> operator()(SegmentId id) {
    const auto found = sent_ != nullptr ? sent_->find(who_.uid, id, monotonic_now()) : std::nullopt;
    if (!found) {
      return Error{ErrorCode::kNotFound,
                   "segment " + std::to_string(id.value) + " is no durable upload of yours; upload it again"};
    }
    return keep(*found);
  }

 private:
  Result<NamedContent> keep(const SentContent& content) {
    if (!kept_.contains(content.id)) {
      auto hold = sent_->keep(content.id);
      if (!hold.ok()) return hold.error();
      batch_.stored = both(std::move(batch_.stored), *std::move(hold));
      kept_.insert(content.id);
    }
    return NamedContent{content.id, content.bytes, content.content_type};
  }

  SentContents* const sent_;
  const Principal who_;
  CheckedBatch& batch_;
  std::set<SegmentId> kept_;
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
  SentFinder sent(asked.sent, who, batch);
  const auto segment_bytes = [&](SegmentId id) -> Result<std::uint64_t> {
    if (is_stored(id)) {
      const auto found = sent(id);
      return found.ok() ? Result<std::uint64_t>(found->bytes) : found.error();
    }
    const auto share = segments.take_share(id, who.uid, batch.segments);
    if (!share.ok()) return share.error();
    uploads.touch(id, monotonic_now());
    return share->bytes;
  };
  const auto find_content = [&](const std::string& digest) { return sent(digest); };
  auto payloads = asked.packed != nullptr ? to_payloads(*asked.packed, commands)
                                          : to_payloads(asked.items, commands, segment_bytes, find_content);
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
  batch.is_durable = payloads->has_segments && asked.durable_segments;
  batch.submit.bytes = std::move(payloads->bytes);
  batch.submit.ends = std::move(payloads->ends);
  return batch;
}

bool wants_files(const CheckedBatch& batch) {
  if (batch.is_durable) return true;
  std::uint32_t begin = 0;
  return std::ranges::any_of(batch.submit.ends, [&](std::uint32_t end) {
    return end - std::exchange(begin, end) > limits::kStoredInlineBytesMax;
  });
}

void keep_payloads(KeeperThread& keeper, SegmentTable& segments, CheckedBatch batch, BatchKept then) {
  // std::function wants a copyable callable.
  auto shared = std::make_shared<CheckedBatch>(std::move(batch));
  const bool asked = keeper.ask([shared, &segments, then](PayloadKeeper& payloads) {
    if (shared->is_durable) {
      auto stored = store_segments(shared->submit, segments, payloads);
      if (!stored.ok())
        return then(std::move(*shared), stored.error().in("cannot keep a segment on the daemon's disk"));
      shared->stored = both(std::move(shared->stored), *std::move(stored));
    }
    std::vector<std::string_view> all;
    std::uint32_t begin = 0;
    for (const std::uint32_t end : shared->submit.ends) {
      all.push_back(std::string_view(*shared->submit.bytes).substr(begin, end - begin));
      begin = end;
    }
    auto kept = payloads.keep(all);
    if (kept.ok()) {
      kept = both(*std::move(kept), std::move(shared->stored));
    } else {
      shared->stored = nullptr;  // what was new goes before the refusal is told
      kept = kept.error().in("cannot keep a large payload on the daemon's disk");
    }
    then(std::move(*shared), std::move(kept));
  });
  if (!asked) then(std::move(*shared), Error{ErrorCode::kResourceExhausted, "too many large payloads wait; try again"});
}

std::shared_ptr<OutcomeSink> sink_of(SegmentHold segments, std::shared_ptr<OutcomeSink> sink, Lasting lasting) {
  if (segments.empty()) return sink;
  return std::make_shared<SegmentKeeper>(std::move(segments), sink, lasting);
}

}  // namespace futured::rpc
