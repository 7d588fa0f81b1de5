#include "daemon/rpc/jobs_service.h"

#include <utility>

#include "daemon/rpc/cancel_call.h"
#include "daemon/rpc/get_result.h"
#include "daemon/rpc/job_view.h"
#include "daemon/rpc/list_call.h"
#include "daemon/rpc/no_job.h"
#include "daemon/rpc/read_output.h"
#include "daemon/rpc/refused_stream.h"
#include "daemon/rpc/retry_call.h"
#include "daemon/rpc/submit.h"
#include "daemon/rpc/submit_stream.h"
#include "daemon/rpc/unknown_fields.h"
#include "daemon/rpc/wait.h"
#include "daemon/rpc/watch.h"
#include "daemon/rpc/why.h"

namespace futured::rpc {

grpc::ServerUnaryReactor* JobsService::Submit(Context* context, const api::SubmitRequest* request,
                                              api::SubmitResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  const auto spec = to_spec(request->spec(), front_.setup.callback_names);
  if (!spec.ok()) return answer_now(context, spec.error());
  const auto start = to_start(request->spec());
  if (!start.ok()) return answer_now(context, start.error());
  const auto cache = to_cache_arguments(request->spec());
  if (!cache.ok()) return answer_now(context, cache.error());
  if (front_.loop.store_is_failing()) return answer_now(context, store_failing_error());
  if (front_.loop.is_full()) {
    return answer_now(context, Error{ErrorCode::kResourceExhausted, "too many jobs wait to be accepted; try again"});
  }
  auto batch =
      check_batch(front_.segments, front_.uploads, front_.who(*context), *spec,
                  {request->items(), request->has_packed() ? &request->packed() : nullptr, request->idempotency_key(),
                   *start, *cache, request->spec().durable_segments(), front_.setup.sent.get()});
  if (!batch.ok()) return answer_now(context, batch.error());
  auto answer = Answer<api::SubmitResponse>::open(front_, context, response);
  const auto hand_over = [&front = front_, answer](CheckedBatch checked, Result<PayloadHold> kept) {
    if (!kept.ok()) return answer->refuse(kept.error());
    const bool is_volatile = checked.submit.has_segments;
    const Lasting lasting = checked.is_durable ? Lasting::kOnDisk : Lasting::kInMemory;
    front.loop.submit(std::move(checked.submit), sink_of(std::move(checked.segments), nullptr, lasting),
                      [&front, answer, is_volatile, hold = *std::move(kept)](const Result<Accepted>& accepted) mutable {
                        hold = nullptr;  // what is refused is gone from the disk before that is told
                        front.pump.post([answer, accepted, is_volatile] {
                          if (!accepted.ok()) return answer->refuse(accepted.error());
                          answer->give([&](api::SubmitResponse& out) {
                            to_api(*accepted, out);
                            out.set_volatile_payload(is_volatile);
                          });
                        });
                      });
  };
  if (wants_files(*batch)) {
    keep_payloads(front_.keeper, front_.segments, *std::move(batch), hand_over);
  } else {
    PayloadHold stored = std::move(batch->stored);
    hand_over(*std::move(batch), std::move(stored));
  }
  return answer->reactor();
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* JobsService::SubmitStream(Context* context) {
  return SubmitStream::open(front_, context);
}

grpc::ServerUnaryReactor* JobsService::Get(Context* context, const api::GetJobRequest* request, api::Job* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::Job>::open(front_, context, response);
  const JobId id{request->id()};
  ask_reader(front_, answer, [&front = front_, answer, id, details = request->details()](StoreReader& reader) {
    auto record = reader.get(id, true);
    if (!record.ok()) return answer->refuse(record.error());
    if (!*record) return answer->refuse(no_job(id, reader));
    std::vector<JobRecord> records;
    records.push_back(std::move(**record));
    add_live(front, std::move(records), [answer, details](const Result<std::vector<JobView>>& views) {
      if (!views.ok()) return answer->refuse(views.error());
      answer->give([&](api::Job& job) {
        to_api(views->front(), details, job);
        job.set_owner(UserNames().of(job.owner_uid()));
      });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* JobsService::Find(Context* context, const api::FindJobsRequest* request,
                                            api::FindJobsResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  if (const Status sound = check_name(request->idempotency_key(), "idempotency_key"); !sound.ok()) {
    return answer_now(context, sound.error());
  }
  auto answer = Answer<api::FindJobsResponse>::open(front_, context, response);
  const KeyQuery key{front_.who(*context).uid, request->idempotency_key()};
  ask_reader(front_, answer, [answer, key](StoreReader& reader) {
    const auto row = reader.find_key(key);
    if (!row.ok()) return answer->refuse(row.error());
    if (!*row) return answer->refuse({ErrorCode::kNotFound, "no job of yours has the key \"" + key.key + "\""});
    answer->give([&](api::FindJobsResponse& out) {
      out.set_first_id((*row)->first.value);
      out.set_count((*row)->count);
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* JobsService::List(Context* context, const api::ListJobsRequest* request,
                                            api::ListJobsResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  return open_list(front_, context, *request, response);
}

grpc::ServerWriteReactor<api::WaitResponse>* JobsService::Wait(Context* context, const api::WaitRequest* request) {
  if (const Status known = check_known(*request); !known.ok()) {
    return new RefusedStream<api::WaitResponse>(*context, known.error());
  }
  return WaitCall::open(front_, context, *request);
}

grpc::ServerWriteReactor<api::WatchResponse>* JobsService::Watch(Context* context, const api::WatchRequest* request) {
  if (const Status known = check_known(*request); !known.ok()) {
    return new RefusedStream<api::WatchResponse>(*context, known.error());
  }
  return WatchCall::open(front_, context, *request);
}

grpc::ServerUnaryReactor* JobsService::Cancel(Context* context, const api::CancelRequest* request,
                                              api::CancelResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  return CancelCall::open(front_, context, *request, response);
}

grpc::ServerUnaryReactor* JobsService::Retry(Context* context, const api::RetryRequest* request,
                                             api::RetryResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  return RetryCall::open(front_, context, *request, response);
}

grpc::ServerWriteReactor<api::GetResultResponse>* JobsService::GetResult(Context* context,
                                                                         const api::GetResultRequest* request) {
  if (const Status known = check_known(*request); !known.ok()) {
    return new RefusedStream<api::GetResultResponse>(*context, known.error());
  }
  return ResultCall::open(front_, context, *request);
}

grpc::ServerWriteReactor<api::ReadOutputResponse>* JobsService::ReadOutput(Context* context,
                                                                           const api::ReadOutputRequest* request) {
  if (const Status known = check_known(*request); !known.ok()) {
    return new RefusedStream<api::ReadOutputResponse>(*context, known.error());
  }
  return OutputCall::open(front_, context, *request);
}

grpc::ServerUnaryReactor* JobsService::Why(Context* context, const api::WhyRequest* request,
                                           api::WhyResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  return open_why(front_, context, *request, response);
}

}  // namespace futured::rpc
