// UploadCall: a stream of bytes from afar that becomes a segment.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "daemon/rpc/front.h"
#include "daemon/rpc/uploaded_array.h"
#include "futured/v1/futured.pb.h"

namespace futured::rpc {

// gRPC owns it through `self_` until OnDone. One message is read at a time, and the next only once its bytes lie in the
// segment's memory: a client that is faster than that waits. The mover's thread does the work.
class UploadCall final : public grpc::ServerReadReactor<api::UploadRequest>,
                         public OpenCall,
                         public std::enable_shared_from_this<UploadCall> {
 public:
  static grpc::ServerReadReactor<api::UploadRequest>* open(Front& front, grpc::CallbackServerContext* context,
                                                           api::Segment* response);
  UploadCall(Front& front, grpc::CallbackServerContext* context, api::Segment* response)
      : front_(front), context_(context), response_(response), who_(front.who(*context)) {}

  void stop(const Error& why) override;

 private:
  void OnReadDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  [[nodiscard]] Status check();
  [[nodiscard]] Status begin();
  void take();
  void finish();
  void store(Segment segment, std::string content_type);
  [[nodiscard]] bool is_interrupted() const;
  void end(const Status& status);

  Front& front_;
  grpc::CallbackServerContext* const context_;
  api::Segment* const response_;
  const Principal who_;
  api::UploadRequest in_;
  SegmentRoom room_;
  std::optional<UploadedArray> array_;  // nothing: the first message has not come

  std::shared_ptr<UploadCall> self_;
  mutable std::mutex mutex_;  // guards all below
  bool done_ = false;
  bool cancelled_ = false;
  std::optional<Error> fault_;
};

}  // namespace futured::rpc
