// Front: what every service works with, and how a unary call is answered from another thread.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "base/loop_gauge.h"
#include "daemon/loop/loop.h"
#include "daemon/pool/segment_table.h"
#include "daemon/rpc/callers.h"
#include "daemon/rpc/convert.h"
#include "daemon/rpc/open_calls.h"
#include "daemon/rpc/pump.h"
#include "daemon/rpc/server.h"
#include "daemon/rpc/uploads.h"
#include "daemon/store/store_thread.h"

namespace futured::rpc {

struct Front {
  ServerSetup setup;
  Loop& loop;
  ReaderThread& reader;
  KeeperThread& keeper;
  SegmentTable& segments;
  Callers& callers;
  OpenCalls calls;
  WallTime started_at = wall_now();
  std::vector<std::shared_ptr<const LoopGauge>> gauges;  // of every loop of the daemon; fixed when calls come
  std::shared_ptr<const pool::WorkerLoops> worker_loops;
  std::atomic<std::size_t> inbox_bytes{0};  // outcomes that wait for clients, of all calls
  std::atomic<std::uint64_t> streams{0};
  std::atomic<std::uint64_t> waits{0};
  Uploads uploads;
  // Last: what they run uses the rest. The mover copies, allocates and decompresses what is uploaded and downloaded,
  // which would hold up the answers that the pump sends.
  Pump mover;
  Pump pump;

  [[nodiscard]] Principal who(const grpc::CallbackServerContext& context) const { return callers.who(context.peer()); }
  [[nodiscard]] bool is_admin(Principal who) const { return who.uid == 0 || who.uid == setup.admin_uid; }
};

[[nodiscard]] grpc::Status to_status(const Error& error);
[[nodiscard]] Error stopping_error();
[[nodiscard]] Error busy_error();
// Adds the advice that goes with RESOURCE_EXHAUSTED.
void add_retry_after(grpc::CallbackServerContext& context, const Error& error);

// Ends a call with an error at any moment, also while the client does not read: gRPC's own way of finishing would wait
// for what is being written.
void cut_call(grpc::CallbackServerContext& context, const Error& why);

// A call that is refused or answered at once.
[[nodiscard]] grpc::ServerUnaryReactor* answer_now(grpc::CallbackServerContext* context, const Status& status);
// Null: this server knows every field that the request has set.
[[nodiscard]] grpc::ServerUnaryReactor* refuse_unknown(grpc::CallbackServerContext* context,
                                                       const google::protobuf::Message& request);
[[nodiscard]] grpc::ServerUnaryReactor* refuse_call(grpc::CallbackServerContext* context, const char* call);

// The answer that a unary call owes. Given once, by whoever comes first; one that is lost is UNAVAILABLE.
template <typename Response>
class Answer final : public OpenCall {
 public:
  static std::shared_ptr<Answer> open(Front& front, grpc::CallbackServerContext* context, Response* response) {
    auto answer = std::make_shared<Answer>(front, context, response);
    if (!front.calls.add(answer)) answer->finish(stopping_error());
    return answer;
  }

  Answer(Front& front, grpc::CallbackServerContext* context, Response* response)
      : front_(front), context_(context), reactor_(context->DefaultReactor()), response_(response) {}
  ~Answer() override {
    if (!given_.load()) refuse(stopping_error());
  }

  [[nodiscard]] grpc::ServerUnaryReactor* reactor() const { return reactor_; }

  // `fill` is called with the response, unless the call has been answered. Not on the loop's thread: it sends.
  template <typename Fill>
  void give(Fill fill) {
    if (given_.exchange(true)) return;
    front_.calls.remove(this);
    fill(*response_);
    reactor_->Finish(grpc::Status::OK);
  }
  void refuse(const Error& error) {
    if (given_.exchange(true)) return;
    front_.calls.remove(this);
    finish_with(error);
  }
  void stop(const Error& why) override { refuse(why); }

 private:
  void finish(const Error& error) {
    given_.store(true);
    finish_with(error);
  }
  void finish_with(const Error& error) {
    add_retry_after(*context_, error);
    reactor_->Finish(to_status(error));
  }

  Front& front_;
  grpc::CallbackServerContext* const context_;
  grpc::ServerUnaryReactor* const reactor_;
  Response* const response_;
  std::atomic<bool> given_{false};
};

// Asks the store on the reader's thread. What the reader has no room for is refused.
template <typename Response, typename Question>
void ask_reader(Front& front, const std::shared_ptr<Answer<Response>>& answer, Question question) {
  if (!front.reader.ask(std::move(question))) answer->refuse(busy_error());
}

}  // namespace futured::rpc
