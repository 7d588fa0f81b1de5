// WatchCall: changes as they come, from a point on.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "daemon/rpc/job_filter.h"
#include "daemon/rpc/streamed_answer.h"
#include "futured/v1/futured.pb.h"

namespace futured::rpc {

// What of the log is nobody's business but the client's: it has a place in the log, and nothing is kept for it. So a
// client that reads slowly costs nothing; it falls behind, and is told of the gap.
class WatchCall final : public StreamedAnswer<api::WatchResponse>,
                        public EventListener,
                        public std::enable_shared_from_this<WatchCall> {
 public:
  static grpc::ServerWriteReactor<api::WatchResponse>* open(Front& front, grpc::CallbackServerContext* context,
                                                            const api::WatchRequest& request);

  struct Wanted {
    JobChoice jobs;
    bool progress = false;
    bool heartbeats = false;
    bool queues = false;
    bool workers = false;

    [[nodiscard]] bool takes(const effect::Change& change) const;
  };
  struct Place {
    std::uint32_t epoch = 0;
    std::uint64_t sequence = 0;
    bool is_start = false;  // the first event that is kept
  };
  WatchCall(Front& front, grpc::CallbackServerContext* context, Wanted wanted, Place asked)
      : StreamedAnswer(front, context), wanted_(std::move(wanted)), asked_(asked) {}

  // The loop's thread.
  void appended() override;

 private:
  void start();
  void find_place();

  // In the sender's role.
  void send_next();
  void end_now(const Status& status);
  void fill(const EventLog::Page& page);

  void OnWriteDone(bool ok) override;
  void interrupted() override;

  const Wanted wanted_;
  const Place asked_;

  // The sender's role.
  api::WatchResponse out_;
  std::uint64_t after_ = 0;       // number of the last event looked at
  std::uint64_t told_ = 0;        // what the client knows of that
  std::uint64_t began_at_ = 0;    // number of the last event when the watch began
  bool is_caught_up_ = false;     // and the client knows it
  bool is_first_ = true;          // the first message says where the watch begins
  bool gap_ = false;              // not told yet
  std::optional<Error> refusal_;  // a place that this log cannot have given out

  std::mutex mutex_;  // guards all below
  bool resting_ = false;
  bool again_ = false;  // something came since the log was read
  bool over_ = false;   // end() was called
};

}  // namespace futured::rpc
