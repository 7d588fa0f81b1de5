// WaitCall: tells how jobs end, of those that have ended before the call and of those that end during it, each once.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "daemon/rpc/front.h"
#include "daemon/rpc/id_set.h"
#include "daemon/rpc/inbox.h"
#include "futured/v1/futured.pb.h"

namespace futured::rpc {

// One call. First the loop is asked to tell what ends from now on, then the store is swept for what has ended before;
// what comes twice is told once.
//
// Who finds nobody at work (`busy_`) does all there is to do and then gives the role back; a message being sent keeps
// it. Outcomes of a wait that answers at its end are kept as messages, up to limits::kHeldOutcomesBytesMax; beyond that
// they are sent as they come.
class WaitCall final : public grpc::ServerWriteReactor<api::WaitResponse>,
                       public OutcomeSink,
                       public OpenCall,
                       public std::enable_shared_from_this<WaitCall> {
 public:
  static grpc::ServerWriteReactor<api::WaitResponse>* open(Front& front, grpc::CallbackServerContext* context,
                                                           const api::WaitRequest& request);
  WaitCall(Front& front, grpc::CallbackServerContext* context, const api::WaitRequest& request,
           std::vector<JobRange> ranges);

  // The loop's thread.
  void ended(const std::shared_ptr<const Batch>& batch, std::vector<EndedJob> jobs) override;
  // Any thread.
  void stop(const Error& why) override;

 private:
  using Lock = std::unique_lock<std::mutex>;
  // What the store answered to one step of the sweep.
  struct Swept {
    std::vector<JobId> asked;
    std::vector<OutcomeRow> found;
  };

  void start(std::int64_t timeout_ms);
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void kick(Lock& lock);
  void swept(std::vector<JobId> asked, Result<EndingsPage> found);

  // In the worker's role.
  void work();
  void add_deliveries(std::deque<Delivery> deliveries);
  void add_swept(Swept swept);
  void add_unknown(JobId id);
  void count(JobId id, const Ending& ending, OutcomePacker& packer);
  api::WaitResponse& message();
  void sweep();
  [[nodiscard]] bool is_satisfied() const;
  [[nodiscard]] bool sends_as_it_comes() const;
  [[nodiscard]] bool send_or_rest();

  void cut(const Error& why, Lock& lock);
  void finish(Lock lock);

  Front& front_;
  grpc::CallbackServerContext* const context_;
  const api::WaitMode mode_;
  const ResultWanted wanted_;
  const std::vector<JobRange> ranges_;
  std::shared_ptr<WaitCall> self_;
  grpc::Alarm alarm_;
  bool alarm_set_ = false;

  // The worker's role.
  IdSet open_;
  std::deque<api::WaitResponse> messages_;  // not sent yet; the last one is filled
  std::size_t last_bytes_ = 0;              // about how many are in it
  std::size_t held_bytes_ = 0;              // in all of them
  std::uint64_t ended_ = 0;
  bool failed_ = false;
  bool end_told_ = false;
  api::WaitResponse out_;

  std::mutex mutex_;  // guards all below
  bool watching_ = false;
  bool sweeping_ = false;  // the store is being asked
  bool swept_all_ = false;
  bool timed_out_ = false;
  bool busy_ = false;
  bool again_ = false;  // something came while somebody was at work
  bool cancelled_ = false;
  bool finished_ = false;
  bool done_ = false;
  std::optional<Error> fault_;
  std::deque<Swept> answers_;
  std::vector<JobId> left_;  // of the last step: those that it did not come to
  Inbox inbox_;
};

}  // namespace futured::rpc
