// RetryCall: submits ended jobs anew, a bounded number at a time.
#pragma once

#include <memory>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "daemon/rpc/chosen_jobs.h"
#include "daemon/rpc/front.h"
#include "daemon/rpc/id_set.h"
#include "futured/v1/futured.pb.h"

namespace futured::rpc {

class RetryCall : public std::enable_shared_from_this<RetryCall> {
 public:
  static grpc::ServerUnaryReactor* open(Front& front, grpc::CallbackServerContext* context,
                                        const api::RetryRequest& request, api::RetryResponse* response);
  RetryCall(Front& front, std::shared_ptr<Answer<api::RetryResponse>> answer, Principal who,
            std::vector<JobRange> ranges, std::shared_ptr<ChosenJobs> chosen)
      : front_(front), answer_(std::move(answer)), who_(who), ids_(std::move(ranges)), chosen_(std::move(chosen)) {}

 private:
  // First the ids that the filter takes, page by page; then as if they had been named.
  void find_next();
  [[nodiscard]] Status found(ChosenPage page);
  void ask_next();
  void read(StoreReader& reader, const std::vector<JobId>& ids);
  // The job as a new submit, or why it cannot be retried.
  [[nodiscard]] Result<event::Submit> renew(JobId id, Result<std::optional<JobRecord>> record, SegmentHold& segments,
                                            PayloadHold& stored) const;
  void settle(std::size_t index, const Result<Accepted>& accepted);
  // The reader took no more questions: `ids` and all that follow are not retried.
  void refuse_rest(std::vector<JobId> ids, const Error& error);
  void give();

  Front& front_;
  const std::shared_ptr<Answer<api::RetryResponse>> answer_;
  const Principal who_;
  IdSet ids_;
  std::shared_ptr<ChosenJobs> chosen_;  // null: the ids are named; its query moves on while no page is read
  std::vector<JobId> found_;
  std::unordered_set<std::uint64_t> retried_;  // by a job that was looked at
  std::mutex mutex_;                           // guards all below
  api::RetryResponse told_;
  std::size_t unsettled_ = 0;
  bool made_jobs_ = false;
};

}  // namespace futured::rpc
