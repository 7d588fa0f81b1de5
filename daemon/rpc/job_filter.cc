#include "daemon/rpc/job_filter.h"

#include <algorithm>
#include <utility>

#include "daemon/rpc/id_set.h"

namespace futured::rpc {

bool JobChoice::takes(JobId job, JobState state, std::uint32_t owned_by) const {
  if (!states.empty() && std::ranges::find(states, state) == states.end()) return false;
  if (!ids.empty() && std::ranges::none_of(ids, [&](const JobRange& range) { return range.contains(job); })) {
    return false;
  }
  return !owner || *owner == owned_by;
}

bool JobChoice::takes(const JobSpec& spec) const {
  return (queue.empty() || queue == spec.queue) && (task.empty() || task == spec.task) &&
         (name.empty() || name == spec.name);
}

bool JobChoice::takes(const Cause* cause) const {
  return causes.empty() || (cause != nullptr && std::ranges::find(causes, cause->kind) != causes.end());
}

Result<JobChoice> read_filter(const api::JobFilter& filter) {
  if (!filter.labels().empty()) return unbuilt("filter.labels");
  JobChoice choice;
  for (int i = 0; i < filter.states_size(); ++i) {
    const auto state = from_api(filter.states(i), "filter.states[" + std::to_string(i) + "]");
    if (!state.ok()) return state.error();
    choice.states.push_back(*state);
  }
  struct {
    const std::string& name;
    const char* field;
    std::string* into;
  } const names[] = {
      {filter.queue(), "filter.queue", &choice.queue},
      {filter.task(), "filter.task", &choice.task},
      {filter.name(), "filter.name", &choice.name},
  };
  for (const auto& name : names) {
    if (name.name.empty()) continue;
    if (const Status sound = check_name(name.name, name.field); !sound.ok()) return sound.error();
    *name.into = name.name;
  }
  auto ids = to_ranges(filter.ids(), UINT64_MAX / 2);
  if (!ids.ok()) return ids.error().in("filter");
  choice.ids = std::move(*ids);
  if (filter.has_owner_uid()) choice.owner = filter.owner_uid();
  for (int i = 0; i < filter.causes_size(); ++i) {
    const std::vector<CauseKind> kinds = from_api(filter.causes(i));
    if (kinds.empty()) {
      return invalid("filter.causes[" + std::to_string(i) + "]", std::to_string(static_cast<int>(filter.causes(i))) +
                                                                     " is no cause that a job of this server ends by");
    }
    choice.causes.insert(choice.causes.end(), kinds.begin(), kinds.end());
  }
  return choice;
}

}  // namespace futured::rpc
