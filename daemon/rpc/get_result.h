// ResultCall: the outcome of an ended job, then the bytes of its result.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "daemon/rpc/bytes_source.h"
#include "daemon/rpc/streamed_answer.h"
#include "futured/v1/futured.pb.h"

namespace futured::rpc {

class ResultCall final : public StreamedAnswer<api::GetResultResponse>,
                         public std::enable_shared_from_this<ResultCall> {
 public:
  static grpc::ServerWriteReactor<api::GetResultResponse>* open(Front& front, grpc::CallbackServerContext* context,
                                                                const api::GetResultRequest& request);
  ResultCall(Front& front, grpc::CallbackServerContext* context, const api::GetResultRequest& request)
      : StreamedAnswer(front, context), request_(request) {}

 private:
  struct Stretch {
    std::uint32_t part = 0;
    BytesSource source;
    std::uint64_t next = 0;
    std::uint64_t end = 0;
  };

  void read(StoreReader& reader);
  [[nodiscard]] Status prepare(Result<std::optional<JobRecord>> record);
  [[nodiscard]] Status add_stretch(std::uint32_t index, const Part& part);
  void OnWriteDone(bool ok) override;

  const api::GetResultRequest request_;
  std::string result_;  // what the stretches are views into
  std::deque<Stretch> stretches_;
  api::GetResultResponse out_;
};

}  // namespace futured::rpc
