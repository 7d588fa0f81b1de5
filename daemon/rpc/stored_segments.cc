#include "daemon/rpc/stored_segments.h"

#include <map>
#include <memory>
#include <utility>

#include "base/payload.h"
#include "base/stored_segment.h"
#include "segment/memory.h"

namespace futured::rpc {

namespace {

constexpr std::string_view kDigestPrefix = "sha256:";

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Each segment once, however many payloads name it.
class SegmentStorer {
 public:
  SegmentStorer(std::uint32_t who, SegmentTable& segments, PayloadKeeper& keeper)
      : who_(who), segments_(segments), keeper_(keeper) {}

  Result<SegmentId> store(SegmentId id) {
    if (is_stored(id)) return id;
    if (const auto known = stored_.find(id); known != stored_.end()) return known->second;
    auto opened = segments_.open(id, who_);
    if (!opened.ok()) return opened.error();
    const auto segment = adopt_segment(std::move(opened->descriptor));
    if (!segment.ok()) return segment.error();
    const auto memory = map_segment(*segment);
    if (!memory.ok()) return memory.error();
    auto kept = keeper_.keep_segment(text_of(memory->bytes()), !segment->immutable);
    if (!kept.ok()) return kept.error();
    if (segment->immutable) segments_.store_as(kept->id, id);  // else its bytes may be others tomorrow
    hold_ = both(std::move(hold_), std::move(kept->hold));
    stored_.emplace(id, kept->id);
    return kept->id;
  }
  [[nodiscard]] PayloadHold hold() const { return hold_; }

 private:
  const std::uint32_t who_;
  SegmentTable& segments_;
  PayloadKeeper& keeper_;
  std::map<SegmentId, SegmentId> stored_;
  PayloadHold hold_;
};

Status append_stored(std::string_view payload, SegmentStorer& storer, std::string& out) {
  if (!names_segment(payload)) {
    out += payload;
    return {};
  }
  auto parts = decode_parts(payload);
  if (!parts.ok()) return parts.error();
  for (Part& part : *parts) {
    if (part.kind == PartKind::kSegment) {
      const auto stored = storer.store(part.segment);
      if (!stored.ok()) return stored.error().in("segment " + std::to_string(part.segment.value));
      part.segment = *stored;
    }
    append_part(out, part);
  }
  return {};
}

}  // namespace

std::optional<Digest> digest_of(std::string_view text) {
  if (!text.starts_with(kDigestPrefix)) return std::nullopt;
  return Digest::from_hex(text.substr(kDigestPrefix.size()));
}

std::string digest_text(const Digest& digest) { return std::string(kDigestPrefix) + digest.hex(); }

Result<PayloadHold> store_segments(event::Submit& submit, SegmentTable& segments, PayloadKeeper& keeper) {
  SegmentStorer storer(submit.who.uid, segments, keeper);
  auto bytes = std::make_shared<std::string>();
  bytes->reserve(submit.bytes->size());
  std::uint32_t begin = 0;
  for (std::uint32_t& end : submit.ends) {
    const auto payload = std::string_view(*submit.bytes).substr(begin, end - begin);
    begin = end;
    if (const Status stored = append_stored(payload, storer, *bytes); !stored.ok()) return stored.error();
    if (bytes->size() > UINT32_MAX) return Error{ErrorCode::kInvalidArgument, "items: the batch is over 4 GiB"};
    end = static_cast<std::uint32_t>(bytes->size());
  }
  submit.bytes = std::move(bytes);
  submit.has_segments = false;
  return storer.hold();
}

Result<Fd> fetch_segment(SegmentTable& segments, PayloadKeeper& keeper, SegmentId id) {
  auto there = segments.open_stored(id);
  if (there.ok() || there.error().code != ErrorCode::kUnavailable) return there;
  const auto bytes = keeper.segment_bytes(id);
  if (!bytes.ok()) return bytes.error();
  auto writer = SegmentWriter::create("futured-stored", *bytes);
  if (!writer.ok()) return writer.error();
  if (const Status read = keeper.fetch_segment(id, writer->bytes()); !read.ok()) return read.error();
  auto segment = std::move(*writer).seal();
  if (!segment.ok()) return segment.error();
  segments.keep_stored(id, std::move(*segment));
  return segments.open_stored(id);
}

void fetch_segments(SegmentTable& segments, KeeperThread& keeper, std::string payload, Descriptors then) {
  const bool asked = keeper.ask([&segments, payload = std::move(payload), then](PayloadKeeper& payloads) {
    const auto parts = decode_parts(payload);
    if (!parts.ok()) return then(parts.error());
    std::vector<Fd> descriptors;
    for (const Part& part : *parts) {
      if (part.kind == PartKind::kLost) return then(Error{ErrorCode::kDataLoss, std::string(part.bytes)});
      if (part.kind != PartKind::kSegment) continue;
      if (is_stored(part.segment)) {
        auto fetched = fetch_segment(segments, payloads, part.segment);
        if (!fetched.ok()) return then(fetched.error());
        descriptors.push_back(std::move(*fetched));
      } else {
        auto opened = segments.open(part.segment, 0);
        if (!opened.ok()) return then(opened.error());
        descriptors.push_back(std::move(opened->descriptor));
      }
    }
    then(std::move(descriptors));
  });
  if (!asked) then(Error{ErrorCode::kResourceExhausted, "too many large payloads wait"});
}

Result<SentContent> store_upload(SentContents& sent, PayloadKeeper& keeper, const Segment& segment,
                                 SentContent content) {
  const auto memory = map_segment(segment);
  if (!memory.ok()) return memory.error();
  const auto kept = keeper.keep_segment(text_of(memory->bytes()), !segment.immutable);
  if (!kept.ok()) return kept.error().in("cannot keep the upload on the daemon's disk");
  content.digest.bytes = kept->digest;
  return sent.hold(content, monotonic_now());
}

PayloadHold both(PayloadHold one, PayloadHold other) {
  if (!one) return other;
  if (!other) return one;
  return std::make_shared<const std::pair<PayloadHold, PayloadHold>>(std::move(one), std::move(other));
}

}  // namespace futured::rpc
