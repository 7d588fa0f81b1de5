#include "daemon/rpc/segments_service.h"

#include "daemon/rpc/download_call.h"
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

grpc::ServerUnaryReactor* SegmentsService::Get(Context* context, const api::GetSegmentRequest* request,
                                               api::Segment* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  if (!request->digest().empty()) return answer_now(context, unbuilt("digest"));
  const auto opened = front_.segments.open(SegmentId{request->id()}, front_.who(*context).uid);
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
  for (const SegmentFacts& facts : front_.segments.list()) {
    if (front_.is_admin(who) || facts.owner == who.uid || facts.owner == kAnyOwner) {
      to_api(facts, *response->add_segments());
    }
  }
  const SegmentTable::Usage usage = front_.segments.usage();
  response->set_bytes(usage.bytes + usage.result_bytes);
  response->set_bytes_max(front_.segments.quotas().bytes + front_.segments.quotas().result_bytes);
  return answer_now(context, {});
}

grpc::ServerUnaryReactor* SegmentsService::Release(Context* context, const api::ReleaseSegmentRequest* request,
                                                   api::ReleaseSegmentResponse*) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  return answer_now(context, front_.uploads.release(front_.who(*context).uid, SegmentId{request->id()}));
}

grpc::ServerReadReactor<api::UploadRequest>* SegmentsService::Upload(Context* context, api::Segment* response) {
  return UploadCall::open(front_, context, response);
}

grpc::ServerWriteReactor<api::DownloadResponse>* SegmentsService::Download(Context* context,
                                                                           const api::DownloadRequest* request) {
  return DownloadCall::open(front_, context, *request);
}

}  // namespace futured::rpc
