// What Dependencies keeps.
#include <algorithm>

#include "base/check.h"
#include "daemon/core/scheduler.h"

namespace futured {

void Dependencies::take_up(const Snapshot& snapshot) {
  for (const NamedEventRow& row : snapshot.events) events_[row.name] = {true, row.set_at, {}};
  for (const DependencyRow& row : snapshot.dependencies) add(row);
}

void Dependencies::add(const DependencyRow& row) {
  const DependencyKey key{row.job, row.number};
  Edge edge{row.number, row.on.condition, row.on.job, events_.end()};
  if (row.on.job.is_set()) {
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

void Dependencies::close(DependencyKey key, Effects& effects) {
  std::vector<Edge>& edges = blocked_.at(key.job);
  const auto edge = std::ranges::lower_bound(edges, key.number, {}, &Edge::number);
  FUTURED_CHECK(edge != edges.end() && edge->number == key.number, "an open dependency is closed, once");
  unlist(key, *edge);
  edges.erase(edge);
  effects.rows.dependencies_closed.push_back({key.job, key.number, DependencyState::kHolds});
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

DependencyCondition Dependencies::condition_of(DependencyKey key) const {
  const std::vector<Edge>& edges = blocked_.at(key.job);
  const auto edge = std::ranges::lower_bound(edges, key.number, {}, &Edge::number);
  FUTURED_CHECK(edge != edges.end() && edge->number == key.number, "the dependency is open");
  return edge->condition;
}

std::vector<DependencyKey> Dependencies::take_dependents(JobId parent) {
  const auto found = dependents_.extract(parent);
  if (found.empty()) return {};
  return {found.mapped().begin(), found.mapped().end()};
}

void Dependencies::ended(JobId job, JobState state) {
  if (dependents_.contains(job)) ended_.emplace_back(job, state);
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
      const bool is_listed =
          edge.parent.is_set() ? dependents_.at(edge.parent).contains(key) : edge.event->second.waiters.contains(key);
      FUTURED_CHECK(is_listed, "who waits is listed by what it waits for");
      FUTURED_CHECK(edge.parent.is_set() || !edge.event->second.is_set, "nobody waits for an event that is set");
    }
  }
  std::size_t listed = 0;
  for (const auto& [parent, waiting] : dependents_) listed += waiting.size();
  for (const auto& [name, event] : events_) {
    FUTURED_CHECK(event.is_set || !event.waiters.empty(), "an event is set or waited for");
    listed += event.waiters.size();
  }
  FUTURED_CHECK(edges == open_ && listed == open_, "open dependencies are counted");
  FUTURED_CHECK(ended_.empty(), "dependents are told in the same step");
}

}  // namespace futured
