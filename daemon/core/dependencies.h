// Dependencies: which jobs are blocked, by what, and which named events are set. It keeps; Scheduler decides. What it
// costs is one entry for a blocked job and three for each of its open dependencies, whatever their order.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/core/effects.h"
#include "daemon/core/event.h"
#include "daemon/core/rows.h"

namespace futured {

struct NamedEventFigures;

class Dependencies {
 public:
  // Questions about parents have numbers of their own among Effects::batch_queries.
  static constexpr std::uint64_t kAboutParents = std::uint64_t{1} << 63;
  [[nodiscard]] static bool is_about_parents(const BatchQuery& query) { return (query.number & kAboutParents) != 0; }

  void take_up(const Snapshot& snapshot);

  [[nodiscard]] std::size_t blocked_jobs() const { return blocked_.size(); }
  [[nodiscard]] std::size_t open_dependencies() const { return open_; }
  [[nodiscard]] bool is_blocked(JobId job) const { return !blocked_.empty() && blocked_.contains(job); }
  // Of a blocked job.
  [[nodiscard]] bool is_free(JobId job) const { return blocked_.at(job).empty(); }

  void add(JobId job) { blocked_[job]; }
  void add(const DependencyRow& row);
  void close(DependencyKey key, Effects& effects);
  // The job is blocked no more: what is open of it is closed.
  void forget(JobId job, Effects& effects);
  [[nodiscard]] bool has_dependents(JobId job) const { return dependents_.contains(job); }
  // The jobs that it still waits for.
  void for_each_parent(JobId job, const std::function<void(JobId)>& visit) const;
  [[nodiscard]] DependencyCondition condition_of(DependencyKey key) const;

  // Those that wait for the end of a job; it has ended, and they are forgotten here. Ascending.
  [[nodiscard]] std::vector<DependencyKey> take_dependents(JobId parent);

  // Nobody waits for the end of any job.
  [[nodiscard]] bool is_idle() const { return dependents_.empty() && watched_.empty(); }
  void ended(JobId job, JobState state);
  // Ends that dependents have not been told of.
  [[nodiscard]] std::vector<std::pair<JobId, JobState>> take_ended() { return std::exchange(ended_, {}); }
  [[nodiscard]] bool has_ended() const { return !ended_.empty(); }

  // Keeps the states of a submit's parents true, for as long as somebody holds it.
  void watch(const std::shared_ptr<event::Parents>& parents);

  [[nodiscard]] bool is_set(const std::string& event) const;
  [[nodiscard]] bool is_known(const std::string& event) const { return events_.contains(event); }
  [[nodiscard]] std::size_t event_count() const { return events_.size(); }
  // Those that waited for it, ascending: the caller closes each.
  [[nodiscard]] std::vector<DependencyKey> set(const std::string& event, WallTime now, Effects& effects);
  void clear(const std::string& event, WallTime now, Effects& effects);
  [[nodiscard]] std::vector<NamedEventFigures> named_events() const;

  void audit() const;

 private:
  struct NamedEvent {
    bool is_set = false;
    WallTime changed_at;
    std::set<DependencyKey> waiters;
  };
  using Events = std::map<std::string, NamedEvent>;
  struct Edge {
    std::uint32_t number = 0;
    DependencyCondition condition = DependencyCondition::kEnded;
    JobId parent;
    Events::iterator event;  // parent is unset
  };

  void unlist(DependencyKey key, const Edge& edge);
  void drop_if_unused(Events::iterator event);

  std::unordered_map<JobId, std::vector<Edge>> blocked_;  // those that are open, ascending numbers
  std::unordered_map<JobId, std::set<DependencyKey>> dependents_;
  Events events_;
  std::size_t open_ = 0;
  std::vector<std::pair<JobId, JobState>> ended_;
  std::unordered_map<JobId, std::vector<std::weak_ptr<event::Parents>>> watched_;
  std::size_t sweep_at_ = 1024;
};

}  // namespace futured
