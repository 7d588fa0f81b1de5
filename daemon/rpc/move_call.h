// MoveCall: moves many jobs to another queue, a step at a time, and says what became of those that did not go.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/rpc/chosen_jobs.h"
#include "daemon/rpc/front.h"
#include "daemon/rpc/id_set.h"
#include "futured/v1/futured.pb.h"

namespace futured::rpc {

class MoveCall : public std::enable_shared_from_this<MoveCall> {
 public:
  static grpc::ServerUnaryReactor* open(Front& front, grpc::CallbackServerContext* context,
                                        const api::MoveJobsRequest& request, api::MoveJobsResponse* response);
  // The jobs of `ranges`, or, when it is given, those that `chosen` takes.
  MoveCall(Front& front, std::shared_ptr<Answer<api::MoveJobsResponse>> answer, event::MoveJobs step,
           std::vector<JobRange> ranges, std::shared_ptr<ChosenJobs> chosen);

 private:
  void ask_next();
  void find_next();  // a page of what is in the queue
  void move(std::vector<JobId> ids);
  void answered(const Result<effect::Moved>& moved);  // the loop's thread
  void tell(const effect::Moved& moved);
  void give();

  Front& front_;
  const std::shared_ptr<Answer<api::MoveJobsResponse>> answer_;
  const event::MoveJobs step_;  // of each, but for its jobs
  IdSet ids_;
  std::shared_ptr<ChosenJobs> chosen_;  // null: the ids are named; its query moves on while no page is read
  bool is_last_page_ = false;
  api::MoveJobsResponse told_;
};

}  // namespace futured::rpc
