// JobsService: service Jobs of futured.v1.
#pragma once

#include <grpcpp/grpcpp.h>

#include "daemon/rpc/front.h"
#include "futured/v1/futured.grpc.pb.h"

namespace futured::rpc {

// SubmitStream takes and gives bytes, so that it parses and serialises where and when it likes; the rest are messages.
using JobsMethods = api::Jobs::WithCallbackMethod_Submit<
    api::Jobs::WithRawCallbackMethod_SubmitStream<api::Jobs::WithCallbackMethod_Get<api::Jobs::WithCallbackMethod_Find<
        api::Jobs::WithCallbackMethod_List<api::Jobs::WithCallbackMethod_Wait<api::Jobs::WithCallbackMethod_Watch<
            api::Jobs::WithCallbackMethod_Cancel<api::Jobs::WithCallbackMethod_Retry<
                api::Jobs::WithCallbackMethod_GetResult<api::Jobs::WithCallbackMethod_ReadOutput<
                    api::Jobs::WithCallbackMethod_Why<api::Jobs::Service>>>>>>>>>>>>;

class JobsService final : public JobsMethods {
 public:
  explicit JobsService(Front& front) : front_(front) {}

  using Context = grpc::CallbackServerContext;
  grpc::ServerUnaryReactor* Submit(Context* context, const api::SubmitRequest* request,
                                   api::SubmitResponse* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* SubmitStream(Context* context) override;
  grpc::ServerUnaryReactor* Get(Context* context, const api::GetJobRequest* request, api::Job* response) override;
  grpc::ServerUnaryReactor* Find(Context* context, const api::FindJobsRequest* request,
                                 api::FindJobsResponse* response) override;
  grpc::ServerUnaryReactor* List(Context* context, const api::ListJobsRequest* request,
                                 api::ListJobsResponse* response) override;
  grpc::ServerWriteReactor<api::WaitResponse>* Wait(Context* context, const api::WaitRequest* request) override;
  grpc::ServerWriteReactor<api::WatchResponse>* Watch(Context* context, const api::WatchRequest* request) override;
  grpc::ServerUnaryReactor* Cancel(Context* context, const api::CancelRequest* request,
                                   api::CancelResponse* response) override;
  grpc::ServerUnaryReactor* Retry(Context* context, const api::RetryRequest* request,
                                  api::RetryResponse* response) override;
  grpc::ServerWriteReactor<api::GetResultResponse>* GetResult(Context* context,
                                                              const api::GetResultRequest* request) override;
  grpc::ServerWriteReactor<api::ReadOutputResponse>* ReadOutput(Context* context,
                                                                const api::ReadOutputRequest* request) override;
  grpc::ServerUnaryReactor* Why(Context* context, const api::WhyRequest* request, api::WhyResponse* response) override;

 private:
  Front& front_;
};

}  // namespace futured::rpc
