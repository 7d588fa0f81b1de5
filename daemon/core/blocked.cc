// What Dependencies keeps.
#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

void Dependencies::take_up(const Snapshot& snapshot) {
  for (const NamedEventRow& row : snapshot.events) events_[row.name] = {true, row.set_at, {}};
  for (const DependencyRow& row : snapshot.dependencies) add(row);
}

void Dependencies::ask_for_batches(Effects& effects) const {
  for (const auto& [first, batch] : batches_) {
    if (!batch.is_counted) effects.batch_queries.push_back({kAboutBatches | first.value, first, batch.count});
  }
}

void Dependencies::add(const DependencyRow& row) {
  const DependencyKey key{row.job, row.number};
  Edge edge{row.number, row.on.condition, row.on.job, row.on.any_of, row.on.batch_jobs > 0, events_.end()};
  if (edge.is_of_batch) {
    AwaitedBatch& batch = batches_[row.on.job];
    if (batch.count == 0) {
      batch.count = batch.open = row.on.batch_jobs;
      batch.ended.resize(batch.count);
    }
    batch.waiters.insert(key);
  } else if (row.on.job.is_set()) {
    dependents_[row.on.job].insert(key);
  } else {
    edge.event = events_.try_emplace(row.on.event).first;
    edge.event->second.waiters.insert(key);
  }
  blocked_[row.job].push_back(edge);
  ++open_;
}

void Dependencies::unlist(DependencyKey key, const Edge& edge) {
  --open_;
  if (edge.is_of_batch) {
    batches_.at(edge.parent).waiters.erase(key);
    return drop_batch_if_unused(edge.parent);
  }
  if (edge.parent.is_set()) {
    const auto of_parent = dependents_.find(edge.parent);
    if (of_parent == dependents_.end()) return;  // they are just being told
    of_parent->second.erase(key);
    if (of_parent->second.empty()) dependents_.erase(of_parent);
    return;
  }
  edge.event->second.waiters.erase(key);
  drop_if_unused(edge.event);
}

void Dependencies::drop_if_unused(Events::iterator event) {
  if (!event->second.is_set && event->second.waiters.empty()) events_.erase(event);
}

const Dependencies::Edge* Dependencies::find(DependencyKey key) const {
  const auto blocked = blocked_.find(key.job);
  if (blocked == blocked_.end()) return nullptr;
  const auto edge = std::ranges::lower_bound(blocked->second, key.number, {}, &Edge::number);
  return edge != blocked->second.end() && edge->number == key.number ? &*edge : nullptr;
}

void Dependencies::remove(DependencyKey key, DependencyState state, Effects& effects) {
  std::vector<Edge>& edges = blocked_.at(key.job);
  const auto edge = std::ranges::lower_bound(edges, key.number, {}, &Edge::number);
  FUTURED_CHECK(edge != edges.end() && edge->number == key.number, "an open dependency is closed, once");
  unlist(key, *edge);
  edges.erase(edge);
  effects.rows.dependencies_closed.push_back({key.job, key.number, state});
}

void Dependencies::close(DependencyKey key, Effects& effects) {
  const Edge* const edge = find(key);
  FUTURED_CHECK(edge != nullptr, "an open dependency is closed, once");
  const std::uint32_t group = edge->any_of;
  remove(key, DependencyState::kHolds, effects);
  if (group == 0) return;
  std::vector<std::uint32_t> others;
  for (const Edge& other : blocked_.at(key.job)) {
    if (other.any_of == group) others.push_back(other.number);
  }
  for (const std::uint32_t number : others) remove({key.job, number}, DependencyState::kVoid, effects);
}

bool Dependencies::give_way(DependencyKey key, Effects& effects) {
  const std::uint32_t group = find(key)->any_of;
  const auto is_other = [&](const Edge& edge) { return edge.any_of == group && edge.number != key.number; };
  if (group == 0 || std::ranges::none_of(blocked_.at(key.job), is_other)) return false;
  remove(key, DependencyState::kVoid, effects);
  return true;
}

void Dependencies::forget(JobId job, Effects& effects) {
  const auto found = blocked_.find(job);
  FUTURED_CHECK(found != blocked_.end(), "a job is blocked until it is not");
  for (const Edge& edge : found->second) {
    unlist({job, edge.number}, edge);
    effects.rows.dependencies_closed.push_back({job, edge.number, DependencyState::kVoid});
  }
  blocked_.erase(found);
}

void Dependencies::for_each_parent(JobId job, const std::function<void(JobId)>& visit) const {
  const auto blocked = blocked_.find(job);
  if (blocked == blocked_.end()) return;
  for (const Edge& edge : blocked->second) {
    if (edge.is_of_batch) {
      const AwaitedBatch& batch = batches_.at(edge.parent);
      for (std::uint32_t i = 0; i < batch.count; ++i) {
        if (!batch.ended[i]) visit(JobId{edge.parent.value + i});
      }
    } else if (edge.parent.is_set()) {
      visit(edge.parent);
    }
  }
}

DependencyCondition Dependencies::condition_of(DependencyKey key) const {
  const Edge* const edge = find(key);
  FUTURED_CHECK(edge != nullptr, "the dependency is open");
  return edge->condition;
}

std::optional<bool> Dependencies::AwaitedBatch::holds(DependencyCondition condition) const {
  if (!is_counted) return std::nullopt;
  const std::uint32_t succeeded = count - open - failed;
  if (condition == DependencyCondition::kSucceeded && failed > 0) return false;
  if (condition == DependencyCondition::kNotSucceeded && succeeded > 0) return false;
  return open == 0 ? std::optional(true) : std::nullopt;
}

// Only a batch that begins within the largest number of jobs before this one can hold it.
std::vector<JobId> Dependencies::batches_with(JobId job) const {
  std::vector<JobId> with;
  if (batches_.empty()) return with;
  const std::uint64_t reach = limits::kBatchItemsMax - 1;
  const JobId from{job.value > reach ? job.value - reach : 0};
  for (auto at = batches_.lower_bound(from); at != batches_.end() && at->first <= job; ++at) {
    if (job.value < at->first.value + at->second.count) with.push_back(at->first);
  }
  return with;
}

const Dependencies::AwaitedBatch* Dependencies::batch(JobId first) const {
  const auto found = batches_.find(first);
  return found != batches_.end() ? &found->second : nullptr;
}

void Dependencies::mark(JobId first, JobId job, JobState state) {
  AwaitedBatch& batch = batches_.at(first);
  const std::uint64_t place = job.value - first.value;
  if (place >= batch.count || !is_terminal(state) || batch.ended[place]) return;
  batch.ended[place] = true;
  --batch.open;
  if (state != JobState::kSucceeded) ++batch.failed;
}

// Of those that retention has removed by now it is known that their ends did not break a dependency: it is open.
void Dependencies::count(JobId first, const BatchAnswer& answer) {
  const auto found = batches_.find(first);
  if (found == batches_.end()) return;
  AwaitedBatch& batch = found->second;
  std::vector<bool> is_there(batch.count);
  for (const BatchAnswer::Standing& job : answer.jobs) {
    if (job.id < first || job.id.value >= first.value + batch.count) continue;
    is_there[job.id.value - first.value] = true;
    mark(first, job.id, job.state);
  }
  for (std::uint32_t i = 0; i < batch.count; ++i) {
    if (is_there[i] || batch.ended[i]) continue;
    batch.ended[i] = true;
    --batch.open;
  }
  batch.is_counted = true;
}

void Dependencies::know_batch(JobId first, const event::Parents::OfBatch& known) {
  AwaitedBatch& batch = batches_[first];
  if (batch.is_counted) return;
  batch.count = known.count;
  if (batch.ended.empty()) {
    batch.open = known.count;
    batch.ended.resize(known.count);
  }
  BatchAnswer answer;
  for (const auto& [job, state] : known.standing) answer.jobs.push_back({job, 0, state});
  count(first, answer);
}

void Dependencies::drop_batch_if_unused(JobId first) {
  const auto found = batches_.find(first);
  if (found != batches_.end() && found->second.waiters.empty()) batches_.erase(found);
}

std::vector<DependencyKey> Dependencies::take_dependents(JobId parent) {
  const auto found = dependents_.extract(parent);
  if (found.empty()) return {};
  return {found.mapped().begin(), found.mapped().end()};
}

void Dependencies::ended(JobId job, JobState state) {
  if (has_dependents(job)) ended_.emplace_back(job, state);
  if (!watched_batches_.empty()) {
    const std::uint64_t reach = limits::kBatchItemsMax - 1;
    const JobId from{job.value > reach ? job.value - reach : 0};
    for (auto at = watched_batches_.lower_bound(from); at != watched_batches_.end() && at->first <= job;) {
      const auto parents = at->second.lock();
      if (parents) parents->batches[at->first].standing.emplace_back(job, state);
      at = parents ? std::next(at) : watched_batches_.erase(at);
    }
  }
  const auto watchers = watched_.extract(job);
  if (watchers.empty()) return;
  for (const std::weak_ptr<event::Parents>& one : watchers.mapped()) {
    if (const auto parents = one.lock()) parents->states[job] = state;
  }
}

void Dependencies::watch(const std::shared_ptr<event::Parents>& parents) {
  const auto is_gone = [](const std::weak_ptr<event::Parents>& one) { return one.expired(); };
  if (watched_.size() >= sweep_at_) {
    std::erase_if(watched_, [&](const auto& entry) { return std::ranges::all_of(entry.second, is_gone); });
    sweep_at_ = std::max<std::size_t>(1024, 2 * watched_.size());
  }
  for (const auto& [job, state] : parents->states) {
    if (is_terminal(state)) continue;
    auto& watchers = watched_[job];
    if (watchers.size() >= 16) std::erase_if(watchers, is_gone);
    watchers.push_back(parents);
  }
  if (parents->batches.empty()) return;
  std::erase_if(watched_batches_, [&](const auto& entry) { return is_gone(entry.second); });
  for (const auto& [first, batch] : parents->batches) watched_batches_.emplace(first, parents);
}

bool Dependencies::is_set(const std::string& event) const {
  const auto found = events_.find(event);
  return found != events_.end() && found->second.is_set;
}

std::vector<DependencyKey> Dependencies::set(const std::string& event, WallTime now, Effects& effects) {
  NamedEvent& named = events_[event];
  if (!named.is_set) {
    named.is_set = true;
    named.changed_at = now;
    std::erase(effects.rows.events_cleared, event);
    effects.rows.events_set.push_back({event, now});
  }
  return {named.waiters.begin(), named.waiters.end()};
}

void Dependencies::clear(const std::string& event, WallTime now, Effects& effects) {
  const auto found = events_.find(event);
  if (found == events_.end() || !found->second.is_set) return;
  found->second.is_set = false;
  found->second.changed_at = now;
  std::erase_if(effects.rows.events_set, [&](const NamedEventRow& row) { return row.name == event; });
  effects.rows.events_cleared.push_back(event);
  drop_if_unused(found);
}

std::vector<NamedEventFigures> Dependencies::named_events() const {
  std::vector<NamedEventFigures> figures;
  for (const auto& [name, event] : events_) {
    figures.push_back({name, event.is_set, event.changed_at, event.waiters.size()});
  }
  return figures;
}

void Dependencies::audit() const {
  std::size_t edges = 0;
  for (const auto& [job, open] : blocked_) {
    FUTURED_CHECK(!open.empty(), "a blocked job waits for something");
    FUTURED_CHECK(std::ranges::is_sorted(open, {}, &Edge::number), "dependencies are in order");
    edges += open.size();
    for (const Edge& edge : open) {
      const DependencyKey key{job, edge.number};
      const bool is_listed = edge.is_of_batch       ? batches_.at(edge.parent).waiters.contains(key)
                             : edge.parent.is_set() ? dependents_.at(edge.parent).contains(key)
                                                    : edge.event->second.waiters.contains(key);
      FUTURED_CHECK(is_listed, "who waits is listed by what it waits for");
      FUTURED_CHECK(edge.parent.is_set() || !edge.event->second.is_set, "nobody waits for an event that is set");
    }
  }
  std::size_t listed = 0;
  for (const auto& [parent, waiting] : dependents_) listed += waiting.size();
  for (const auto& [first, batch] : batches_) {
    FUTURED_CHECK(!batch.waiters.empty(), "a batch is counted for those that wait for it");
    FUTURED_CHECK(batch.open == std::ranges::count(batch.ended, false), "open jobs of a batch are counted");
    FUTURED_CHECK(!batch.is_counted || batch.open > 0, "nobody waits for a batch that has ended");
    listed += batch.waiters.size();
  }
  for (const auto& [name, event] : events_) {
    FUTURED_CHECK(event.is_set || !event.waiters.empty(), "an event is set or waited for");
    listed += event.waiters.size();
  }
  FUTURED_CHECK(edges == open_ && listed == open_, "open dependencies are counted");
  FUTURED_CHECK(ended_.empty(), "dependents are told in the same step");
}

}  // namespace futured
