// CancelCall: cancels many jobs, a bounded number at a time, and says what becomes of each.
#pragma once

#include <memory>
#include <vector>

#include "daemon/rpc/chosen_jobs.h"
#include "daemon/rpc/front.h"
#include "daemon/rpc/id_set.h"
#include "futured/v1/futured.pb.h"

namespace futured::rpc {

class CancelCall : public std::enable_shared_from_this<CancelCall> {
 public:
  static grpc::ServerUnaryReactor* open(Front& front, grpc::CallbackServerContext* context,
                                        const api::CancelRequest& request, api::CancelResponse* response);
  // The jobs of `ranges`, or, when it is given, those that `chosen` takes.
  CancelCall(Front& front, std::shared_ptr<Answer<api::CancelResponse>> answer, const api::CancelRequest& request,
             std::vector<JobRange> ranges, std::shared_ptr<ChosenJobs> chosen);

 private:
  struct Entry {
    JobId id;
    api::CancelDisposition disposition = api::CANCEL_DISPOSITION_UNSPECIFIED;
    JobState state = JobState::kQueued;
  };

  void ask_next();
  void find_next();  // a page of what the filter takes
  void cancel(const std::vector<JobId>& ids);
  // The loop's thread, from here on.
  void answered(std::size_t index, const Result<JobState>& state);
  void settle(Entry& entry, api::CancelDisposition disposition, JobState state);
  void go_on();

  Front& front_;
  const std::shared_ptr<Answer<api::CancelResponse>> answer_;
  event::Cancel cancel_;  // of each job
  IdSet ids_;
  std::shared_ptr<ChosenJobs> chosen_;  // null: the ids are named; its query moves on while no page is read
  bool is_last_page_ = false;
  std::vector<Entry> entries_;  // under way
  std::size_t unsettled_ = 0;
  api::CancelResponse told_;
  std::optional<Error> refusal_;  // the first one
};

}  // namespace futured::rpc
