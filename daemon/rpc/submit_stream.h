// SubmitStream: batches in, receipts and outcomes out, over one stream. The hot path.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "daemon/rpc/front.h"
#include "daemon/rpc/inbox.h"
#include "daemon/rpc/submit.h"
#include "futured/v1/futured.pb.h"

namespace futured::rpc {

// One call. gRPC owns it through `self_` until OnDone; the loop shares it until its batches have ended or are
// forgotten.
//
// Reads: one at a time; none while the loop asked for a pause. Writes: one at a time. Who finds no write under way
// takes the writer's role (`writing_`), sends everything that waits, and gives the role back when nothing is left, so
// that a busy stream batches by itself.
class SubmitStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                           public OutcomeSink,
                           public OpenCall,
                           public std::enable_shared_from_this<SubmitStream> {
 public:
  static SubmitStream* open(Front& front, grpc::CallbackServerContext* context);
  SubmitStream(Front& front, grpc::CallbackServerContext* context);

  // The loop's thread.
  void ended(const std::shared_ptr<const Batch>& batch, std::vector<EndedJob> jobs) override;
  void resume() override;
  // Any thread.
  void stop(const Error& why) override;

 private:
  struct PendingReceipt {
    std::uint64_t client_ref = 0;
    bool deliver = false;
    bool has_segments = false;
    bool resumes_reading = false;  // no batch was read since, for want of room
    std::optional<api::Receipt> answer;
  };
  using Lock = std::unique_lock<std::mutex>;

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // Whether the next message may be read; if not, the reader's role was given back.
  [[nodiscard]] bool take_message();
  void take_spec();
  [[nodiscard]] bool take_batch();
  [[nodiscard]] bool hand_over(CheckedBatch batch, PayloadHold hold);
  [[nodiscard]] bool refuse_batch(const Error& error, bool names_field);
  void answered(std::uint64_t number, const Result<Accepted>& accepted);
  void add_receipt(std::uint64_t number, api::Receipt receipt, Lock& lock);

  void pause(Lock lock);
  void start_read(Lock& lock);
  void kick(Lock& lock);
  void write_next();
  [[nodiscard]] bool take_waiting();
  void cut(const Error& why, Lock& lock);
  void finish_if_over(Lock lock);

  Front& front_;
  grpc::CallbackServerContext* const context_;
  const Principal who_;
  std::shared_ptr<SubmitStream> self_;

  // The reader's role: whoever handles OnReadDone.
  grpc::ByteBuffer in_;
  api::SubmitStreamRequest request_;
  JobSpec spec_;
  Start start_;
  CacheArguments cache_;
  bool durable_segments_ = false;
  std::optional<Error> spec_error_;  // of the last message that had one

  // The writer's role.
  grpc::ByteBuffer out_;
  api::SubmitStreamResponse response_;
  std::vector<api::Receipt> receipts_;
  std::deque<Delivery> sending_;
  std::vector<Delivery> sent_;

  std::mutex mutex_;  // guards all below
  bool reading_ = false;
  bool paused_ = false;
  std::uint64_t resumes_ = 0;
  bool reads_done_ = false;
  bool writing_ = false;
  bool cancelled_ = false;
  bool finished_ = false;
  bool done_ = false;
  std::optional<Error> fault_;          // why the server ends the call
  std::deque<PendingReceipt> pending_;  // receipts come in the order of the messages
  std::uint64_t first_pending_ = 0;     // number of pending_.front()
  std::uint64_t owed_outcomes_ = 0;
  Inbox inbox_;
};

}  // namespace futured::rpc
