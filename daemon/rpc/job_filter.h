// JobFilter as a request has it, checked: what List and Watch ask of a job.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/loop/sinks.h"
#include "daemon/rpc/convert.h"
#include "futured/v1/futured.pb.h"

namespace futured::rpc {

// The part that both serve; empty is any.
struct JobChoice {
  std::vector<JobState> states;
  std::vector<JobRange> ids;
  std::optional<std::uint32_t> owner;
  std::string queue;
  std::string task;
  std::string name;
  std::vector<CauseKind> causes;

  [[nodiscard]] bool takes(JobId job, JobState state, std::uint32_t owned_by) const;
  [[nodiscard]] bool takes(const JobSpec& spec) const;
  // `cause`: of the job's end; null: none.
  [[nodiscard]] bool takes(const Cause* cause) const;
};

// Refuses what neither serves, by name. Fields that only one of them serves are the caller's.
[[nodiscard]] Result<JobChoice> read_filter(const api::JobFilter& filter);

}  // namespace futured::rpc
