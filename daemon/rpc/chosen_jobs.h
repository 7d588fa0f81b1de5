// ChosenJobs: the jobs that a filter chooses, as a list, a cancel or a retry asks for them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "daemon/rpc/job_filter.h"
#include "daemon/rpc/job_view.h"

namespace futured::rpc {

// What the store looks for, and what is asked of each job that it finds.
struct ChosenJobs {
  JobQuery query;
  JobChoice choice;
  std::string pool;  // that the job goes to; empty: any
  std::int64_t after_us = 0;
  std::int64_t before_us = 0;
  JobId retry_of;
  bool reads_newer = false;  // jobs behind the last one chosen are read, too
  JobId batch;               // unset: any; else `choice` is narrowed to it where the store is read

  [[nodiscard]] bool takes(const JobView& view) const;
};

[[nodiscard]] Result<ChosenJobs> choose_jobs(const api::JobFilter& filter, bool oldest_first = false);

// For a call that changes what it chooses. Refuses a filter that chooses nothing by name; of a caller who may not
// change other users' jobs it leaves only their own.
[[nodiscard]] Result<ChosenJobs> choose_to_change(const api::JobFilter& filter, const Front& front, Principal who);

// Only these states: all of them when the filter names none. Refuses others, with the name of the field.
[[nodiscard]] Status narrow_states(ChosenJobs& chosen, const std::vector<JobState>& allowed, const char* why);

// The same of its batch alone, if it names one; asks the store which jobs those are.
[[nodiscard]] Result<std::shared_ptr<const ChosenJobs>> within_batch(std::shared_ptr<const ChosenJobs> chosen,
                                                                     StoreReader& reader);

struct ChosenPage {
  std::vector<JobView> jobs;
  std::vector<JobId> retried;     // that any job of these rows retries, whether or not the filter takes it
  std::uint64_t next_before = 0;  // goes into the query for the next page; 0: that was all
};

// One page of a bounded number of rows. `done` is called on the reader's thread, or at once where it has no room.
void read_chosen(Front& front, const std::shared_ptr<const ChosenJobs>& chosen,
                 std::function<void(Result<ChosenPage>)> done);

}  // namespace futured::rpc
