// Dependencies: which jobs are blocked, by what, and which named events are set. It keeps; Scheduler decides. What it
// costs is one entry for a blocked job and three for each of its open dependencies, whatever their order; and of each
// batch that is waited for two bits a job.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
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
  // And so have those about batches that were waited for before a restart: the first job.
  static constexpr std::uint64_t kAboutBatches = std::uint64_t{1} << 62;
  [[nodiscard]] static bool is_about_batches(const BatchQuery& query) {
    return (query.number & (kAboutParents | kAboutBatches)) == kAboutBatches;
  }

  void take_up(const Snapshot& snapshot);
  // How far they are was not stored.
  void ask_for_batches(Effects& effects) const;

  [[nodiscard]] std::size_t blocked_jobs() const { return blocked_.size(); }
  [[nodiscard]] std::size_t open_dependencies() const { return open_; }
  [[nodiscard]] bool is_blocked(JobId job) const { return !blocked_.empty() && blocked_.contains(job); }
  // Of a blocked job.
  [[nodiscard]] bool is_free(JobId job) const { return blocked_.at(job).empty(); }

  void add(JobId job) { blocked_[job]; }
  void add(const DependencyRow& row);
  [[nodiscard]] bool is_open(DependencyKey key) const { return find(key) != nullptr; }
  [[nodiscard]] std::uint32_t group_of(DependencyKey key) const { return find(key)->any_of; }  // it is open
  // It holds: with it, the others of its group are of no interest any more.
  void close(DependencyKey key, Effects& effects);
  // It never will hold. False: nothing else of its group may, and it stays open.
  [[nodiscard]] bool give_way(DependencyKey key, Effects& effects);
  // The job is blocked no more: what is open of it is closed.
  void forget(JobId job, Effects& effects);
  [[nodiscard]] bool has_dependents(JobId job) const {
    return dependents_.contains(job) || (!batches_.empty() && !batches_with(job).empty());
  }
  // The jobs that it still waits for.
  void for_each_parent(JobId job, const std::function<void(JobId)>& visit) const;
  [[nodiscard]] DependencyCondition condition_of(DependencyKey key) const;  // it is open

  // Those that wait for the end of a job; it has ended, and they are forgotten here. Ascending.
  [[nodiscard]] std::vector<DependencyKey> take_dependents(JobId parent);

  // Nobody waits for the end of any job.
  [[nodiscard]] bool is_idle() const {
    return dependents_.empty() && watched_.empty() && batches_.empty() && watched_batches_.empty();
  }
  void ended(JobId job, JobState state);
  // Ends that dependents have not been told of.
  [[nodiscard]] std::vector<std::pair<JobId, JobState>> take_ended() { return std::exchange(ended_, {}); }
  [[nodiscard]] bool has_ended() const { return !ended_.empty(); }

  // A batch that jobs wait for: how its jobs have ended.
  struct AwaitedBatch {
    std::uint32_t count = 0;
    std::vector<bool> ended;
    std::uint32_t open = 0;
    std::uint32_t failed = 0;
    bool is_counted = false;  // else those that ended before a restart are not among `ended` yet
    std::set<DependencyKey> waiters;

    // Whether a dependency of this condition holds, or never will; empty: that is not known yet.
    [[nodiscard]] std::optional<bool> holds(DependencyCondition condition) const;
  };
  // Of batches that are waited for, the first jobs of those that this job is of.
  [[nodiscard]] std::vector<JobId> batches_with(JobId job) const;
  [[nodiscard]] const AwaitedBatch* batch(JobId first) const;
  [[nodiscard]] std::size_t awaited_batches() const { return batches_.size(); }
  void mark(JobId first, JobId job, JobState state);
  void count(JobId first, const BatchAnswer& answer);
  // What a submit knows of a batch that it is to wait for, if nobody waits for that already; dropped again if nobody
  // does.
  void know_batch(JobId first, const event::Parents::OfBatch& known);
  void drop_batch_if_unused(JobId first);

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
    JobId parent;  // of a batch, the first job
    std::uint32_t any_of = 0;
    bool is_of_batch = false;
    Events::iterator event;  // parent is unset
  };

  [[nodiscard]] const Edge* find(DependencyKey key) const;
  void remove(DependencyKey key, DependencyState state, Effects& effects);
  void unlist(DependencyKey key, const Edge& edge);
  void drop_if_unused(Events::iterator event);

  std::unordered_map<JobId, std::vector<Edge>> blocked_;  // those that are open, ascending numbers
  std::unordered_map<JobId, std::set<DependencyKey>> dependents_;
  Events events_;
  std::size_t open_ = 0;
  std::vector<std::pair<JobId, JobState>> ended_;
  std::unordered_map<JobId, std::vector<std::weak_ptr<event::Parents>>> watched_;
  std::map<JobId, AwaitedBatch> batches_;                                // by first job
  std::multimap<JobId, std::weak_ptr<event::Parents>> watched_batches_;  // likewise
  std::size_t sweep_at_ = 1024;
};

}  // namespace futured
