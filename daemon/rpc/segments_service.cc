#include "daemon/rpc/segments_service.h"

#include <optional>
#include <utility>
#include <vector>

#include "base/stored_segment.h"
#include "daemon/rpc/download_call.h"
#include "daemon/rpc/stored_segments.h"
#include "daemon/rpc/upload_call.h"
#include "segment/array_type.h"

namespace futured::rpc {

void to_api(const SegmentFacts& facts, api::Segment& out) {
  out.set_id(facts.id.value);
  out.set_bytes(facts.bytes);
  out.set_owner_uid(facts.owner == kAnyOwner ? 0 : facts.owner);
  const auto array = parse_array_type(facts.content_type);
  if (!array.ok()) return;
  out.mutable_array()->set_dtype(array->dtype);
  for (const std::uint64_t along : array->shape) out.mutable_array()->add_shape(static_cast<std::int64_t>(along));
}

void to_api(const SentContent& content, api::Segment& out) {
  to_api(SegmentFacts{content.id, content.bytes, content.content_type, content.owner}, out);
  out.set_digest(digest_text(content.digest));
  out.set_durable(true);
}

namespace {

// What it leaves for lack of room there goes with the next start.
void drop_files(Front& front, std::vector<Digest> digests) {
  if (digests.empty()) return;
  (void)front.keeper.ask([digests = std::move(digests)](PayloadKeeper& keeper) {
    for (const Digest& digest : digests) keeper.drop_unused(digest);
  });
}

// Nothing: this user has sent no such thing.
std::optional<SentContent> find_sent(Front& front, Principal who, SegmentId id) {
  return front.setup.sent ? front.setup.sent->find(who.uid, id, monotonic_now()) : std::nullopt;
}

Result<SentContent> find_sent(Front& front, Principal who, const std::string& text) {
  const auto digest = digest_of(text);
  if (!digest) return invalid("digest", "it is not \"sha256:\" and 64 hexadecimal digits");
  const auto found = front.setup.sent ? front.setup.sent->find(who.uid, *digest, monotonic_now()) : std::nullopt;
  if (found) return *found;
  return Error{ErrorCode::kNotFound,
               "digest: " + text +
                   " is no content that you have sent; fut upload, or Segments.Upload with durable set, sends one"};
}

}  // namespace

Status release_sent(Front& front, std::uint32_t who, SegmentId id) {
  if (!front.setup.sent) return Error{ErrorCode::kNotFound, "this daemon keeps no files"};
  const auto released = front.setup.sent->release(who, id);
  if (!released.ok()) return released.error();
  drop_files(front, {*released});
  return {};
}

void forget_unused_sent(Front& front) {
  if (front.setup.sent) drop_files(front, front.setup.sent->forget_unused(monotonic_now()));
}

grpc::ServerUnaryReactor* SegmentsService::Get(Context* context, const api::GetSegmentRequest* request,
                                               api::Segment* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  const Principal who = front_.who(*context);
  if (!request->digest().empty()) {
    if (request->id() != 0) return answer_now(context, invalid("digest", "refused beside id: one or the other"));
    const auto sent = find_sent(front_, who, request->digest());
    if (!sent.ok()) return answer_now(context, sent.error());
    to_api(*sent, *response);
    return answer_now(context, {});
  }
  const SegmentId id{request->id()};
  if (const auto sent = is_stored(id) ? find_sent(front_, who, id) : std::nullopt) {
    to_api(*sent, *response);
    return answer_now(context, {});
  }
  const auto opened = front_.segments.open(id, who.uid);
  if (!opened.ok()) return answer_now(context, opened.error());
  front_.uploads.touch(opened->facts.id, monotonic_now());
  to_api(opened->facts, *response);
  return answer_now(context, {});
}

grpc::ServerUnaryReactor* SegmentsService::List(Context* context, const api::ListSegmentsRequest* request,
                                                api::ListSegmentsResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  const Principal who = front_.who(*context);
  front_.uploads.forget_unused(monotonic_now());
  forget_unused_sent(front_);
  for (const SegmentFacts& facts : front_.segments.list()) {
    if (front_.is_admin(who) || facts.owner == who.uid || facts.owner == kAnyOwner) {
      to_api(facts, *response->add_segments());
    }
  }
  for (const SentContent& sent : front_.setup.sent ? front_.setup.sent->list() : std::vector<SentContent>()) {
    if (front_.is_admin(who) || sent.owner == who.uid) to_api(sent, *response->add_segments());
  }
  const SegmentTable::Usage usage = front_.segments.usage();
  response->set_bytes(usage.bytes + usage.result_bytes);
  response->set_bytes_max(front_.segments.quotas().bytes + front_.segments.quotas().result_bytes);
  return answer_now(context, {});
}

grpc::ServerUnaryReactor* SegmentsService::Release(Context* context, const api::ReleaseSegmentRequest* request,
                                                   api::ReleaseSegmentResponse*) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  const std::uint32_t who = front_.who(*context).uid;
  const SegmentId id{request->id()};
  return answer_now(context, is_stored(id) ? release_sent(front_, who, id) : front_.uploads.release(who, id));
}

grpc::ServerReadReactor<api::UploadRequest>* SegmentsService::Upload(Context* context, api::Segment* response) {
  return UploadCall::open(front_, context, response);
}

grpc::ServerWriteReactor<api::DownloadResponse>* SegmentsService::Download(Context* context,
                                                                           const api::DownloadRequest* request) {
  return DownloadCall::open(front_, context, *request);
}

}  // namespace futured::rpc
