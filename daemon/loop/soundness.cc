#include "daemon/loop/soundness.h"

#include <unordered_map>
#include <unordered_set>

namespace futured {

namespace {

Error damaged(const std::string& what) {
  return {ErrorCode::kDataLoss, "the database is damaged: " + what + "; restore it from a backup"};
}

class Specs {
 public:
  explicit Specs(const std::vector<SpecRow>& rows) {
    for (const SpecRow& row : rows) rows_.emplace(row.id, &row.spec);
  }
  [[nodiscard]] Status check(const StoredJob& job, const HasQueue& has_queue) const {
    if (is_terminal(job.state)) return {};
    const auto spec = rows_.find(job.spec);
    if (spec == rows_.end()) return damaged("job " + std::to_string(job.id.value) + " has lost its options");
    if (has_queue(spec->second->queue)) return {};
    return damaged("job " + std::to_string(job.id.value) + " waits in queue \"" + spec->second->queue +
                   "\", which is not in it");
  }

 private:
  std::unordered_map<SpecId, const JobSpec*> rows_;
};

}  // namespace

Status check(const Snapshot& snapshot) {
  std::unordered_set<QueueId> queues;
  std::unordered_set<PoolId> pools;
  for (const QueueRow& row : snapshot.queues) queues.insert(row.id);
  for (const PoolRow& row : snapshot.pools) pools.insert(row.id);
  std::vector<LaneBacklog> lanes = snapshot.backlog;
  lanes.insert(lanes.end(), snapshot.delayed.begin(), snapshot.delayed.end());
  for (const LaneBacklog& lane : lanes) {
    if (queues.contains(lane.queue) && pools.contains(lane.pool)) continue;
    return damaged(std::to_string(lane.jobs) + " jobs wait in queue number " + std::to_string(lane.queue.value) +
                   " for pool number " + std::to_string(lane.pool.value) + ", one of which is not in it");
  }
  const Specs specs(snapshot.specs);
  const HasQueue has_queue = queues_of(snapshot);
  for (const StoredJob& job : snapshot.resident) {
    if (const Status sound = specs.check(job, has_queue); !sound.ok()) return sound;
  }
  return {};
}

Status check(const ClaimAnswer& answer, const HasQueue& has_queue) {
  const Specs specs(answer.specs);
  for (const ClaimedJob& claimed : answer.jobs) {
    if (const Status sound = specs.check(claimed.job, has_queue); !sound.ok()) return sound;
  }
  return {};
}

Status check(const DelayedAnswer& answer, const HasQueue& has_queue) {
  const Specs specs(answer.specs);
  for (const StoredJob& job : answer.jobs) {
    const Status sound = is_terminal(job.state)
                             ? damaged("job " + std::to_string(job.id.value) + " waits and has ended")
                             : specs.check(job, has_queue);
    if (!sound.ok()) return sound;
  }
  return {};
}

Status check(const LoadAnswer& answer, const HasQueue& has_queue) {
  const Specs specs(answer.specs);
  for (const StoredJob& job : answer.jobs) {
    if (const Status sound = specs.check(job, has_queue); !sound.ok()) return sound;
  }
  return {};
}

HasQueue queues_of(const Snapshot& snapshot) {
  auto names = std::unordered_set<std::string>{"default"};  // which always exists
  for (const QueueRow& row : snapshot.queues) names.insert(row.name);
  return [names = std::move(names)](const std::string& name) { return names.contains(name); };
}

}  // namespace futured
