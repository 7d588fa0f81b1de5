// Which group a ready job belongs to, and which of the open ones is next.
#include "daemon/core/groups.h"

#include <algorithm>
#include <iterator>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

// `key` begins anew in the order of turns if it had nothing to start: a pause earns nothing.
void list_fair_key(Groups& groups, FairKey& key) {
  const bool was_listed = key.listed.has_value();
  if (was_listed) groups.open.erase({key.turn, *key.listed});
  key.listed.reset();
  if (key.open.empty()) return;
  if (!was_listed) key.turn = std::max(key.turn, groups.clock);
  key.listed = key.open.begin()->first;
  groups.open.emplace(Groups::Turn{key.turn, *key.listed}, &key);
}

}  // namespace

// By rank, then by order. As in the lane's list, those that were put among others are marks for those that come.
void Group::insert(Job& job, const Lane& in) {
  const OrderKey key = in.key_of(job);
  Rank& rank = ranks[key.rank];
  Job* place = rank.last;
  if (place != nullptr && in.key_of(*place) > key) {
    const auto behind = rank.came_back.upper_bound(key.order);
    place = behind != rank.came_back.begin() ? std::prev(behind)->second
            : behind != rank.came_back.end() ? behind->second
                                             : rank.first;
    while (place != nullptr && in.key_of(*place) > key) place = place->group_previous;
    while (place != nullptr && in.key_of(*place->group_next) < key) place = place->group_next;
    rank.came_back[key.order] = &job;
  }
  job.group_previous = place;
  job.group_next = place != nullptr ? place->group_next : rank.first;
  (place != nullptr ? place->group_next : rank.first) = &job;
  (job.group_next != nullptr ? job.group_next->group_previous : rank.last) = &job;
  ++size;
}

void Group::remove(Job& job, const Lane& in) {
  const OrderKey key = in.key_of(job);
  const auto found = ranks.find(key.rank);
  Rank& rank = found->second;
  if (!rank.came_back.empty()) rank.came_back.erase(key.order);
  (job.group_previous != nullptr ? job.group_previous->group_next : rank.first) = job.group_next;
  (job.group_next != nullptr ? job.group_next->group_previous : rank.last) = job.group_previous;
  job.group_previous = job.group_next = nullptr;
  if (rank.first == nullptr) ranks.erase(found);
  --size;
}

bool Scheduler::wants_groups(const Lane& lane) {
  const QueueLimits* const limits = lane.queue->limits.get();
  return lane.has_needs || lane.queue->row.options.fair || (limits != nullptr && limits->has_keys);
}

// All ready jobs of the lane find their groups anew. Who has waited keeps its place: of a group that is split the first
// one to be found has it, and of those that are joined the one that came first.
void Scheduler::regroup(Lane& lane) {
  std::vector<std::pair<SpecState*, std::uint64_t>> tickets;
  if (lane.groups) {
    for (auto& [key, group] : lane.groups->all) leave_waiting(*group);
  }
  for (auto& [id, spec] : specs_by_id_) {
    if (spec->lane != &lane) continue;
    if (spec->group != nullptr && spec->group->ticket != 0) tickets.emplace_back(spec.get(), spec->group->ticket);
    spec->group = nullptr;
  }
  std::ranges::sort(tickets, {}, &std::pair<SpecState*, std::uint64_t>::second);
  lane.groups = wants_groups(lane) ? std::make_unique<Groups>() : nullptr;
  for (auto& [rank, list] : lane.ready) {
    for (Job* job = list.front(); job != nullptr; job = job->next) {
      job->group_previous = job->group_next = nullptr;
      if (lane.groups) join_group(*job);
    }
  }
  std::uint64_t last = 0;
  for (const auto& [spec, ticket] : tickets) {
    if (spec->group == nullptr || spec->group->size == 0 || spec->group->ticket != 0 || ticket == last) continue;
    spec->group->ticket = last = ticket;
  }
  list_if_runnable(lane);  // what waited does so no more, and nobody else would look at it
}

Group& Scheduler::group_of(Job& job) {
  SpecState& spec = *job.spec;
  if (spec.group != nullptr && spec.group->lane == job.lane) return *spec.group;
  Lane& lane = *job.lane;
  Groups& groups = *lane.groups;
  sweep_groups(lane);
  const QueueState& queue = *lane.queue;
  const bool by_key = queue.limits != nullptr && queue.limits->has_keys;
  const GroupKey key{by_key ? spec.spec.limit_key : std::string(),
                     queue.row.options.fair ? spec.spec.fairness_key : std::string(), spec.spec.needs};
  auto& group = groups.all[key];
  if (!group) {
    group = std::make_unique<Group>();
    group->lane = &lane;
    group->limit_key = key.limit_key;
    auto& fair = groups.fair_keys[key.fairness_key];
    if (!fair) fair = std::make_unique<FairKey>();
    group->fair = fair.get();
    for (const Need& need : key.needs) group->needs.emplace_back(&semaphore_named(need.semaphore), need.permits);
  }
  // One that is on its way to another pool keeps its spec's lane.
  if (spec.lane == &lane) spec.group = group.get();
  return *group;
}

// Groups must not grow with the history of the lane.
void Scheduler::sweep_groups(Lane& lane) {
  Groups& groups = *lane.groups;
  if (groups.all.size() < std::max(groups.swept_at, limits::kIdleGroupsMax)) return;
  drop_empty_groups(lane);
  groups.swept_at = 2 * groups.all.size();
}

void Scheduler::drop_empty_groups(Lane& lane) {
  Groups& groups = *lane.groups;
  for (auto& [id, spec] : specs_by_id_) {
    if (spec->lane == &lane && spec->group != nullptr && spec->group->size == 0) spec->group = nullptr;
  }
  std::erase_if(groups.all, [](const auto& entry) { return entry.second->size == 0; });
  std::set<const FairKey*> used;
  for (const auto& [key, group] : groups.all) used.insert(group->fair);
  std::erase_if(groups.fair_keys, [&](const auto& entry) { return !used.contains(entry.second.get()); });
}

void Scheduler::join_group(Job& job) {
  Group& group = group_of(job);
  const bool is_open = group.state == Group::State::kOpen;
  if (is_open && job.lane->key_of(job) < job.lane->key_of(*group.first())) {
    close_group(group);
    group.insert(job, *job.lane);
    return open_group(group);
  }
  group.insert(job, *job.lane);
  if (group.state == Group::State::kEmpty) return open_group(group);
  if (is_open) ++job.lane->groups->open_jobs;
}

void Scheduler::leave_group(Job& job) {
  Group& group = group_of(job);
  const Group::State before = group.state;
  if (before == Group::State::kOpen && group.first() != &job) {
    --job.lane->groups->open_jobs;
    return group.remove(job, *job.lane);
  }
  if (before == Group::State::kOpen) close_group(group);
  group.remove(job, *job.lane);
  if (group.size == 0) {
    leave_waiting(group);
    group.ticket = 0;
  } else if (before == Group::State::kOpen) {
    open_group(group);
  }
}

// It has ready jobs and is listed nowhere.
void Scheduler::open_group(Group& group) {
  Groups& groups = *group.lane->groups;
  group.state = Group::State::kOpen;
  groups.open_jobs += group.size;
  group.fair->open.emplace(group.lane->key_of(*group.first()), &group);
  list_fair_key(groups, *group.fair);
}

// Its first job is the one that it was listed with.
void Scheduler::close_group(Group& group) {
  Groups& groups = *group.lane->groups;
  group.state = Group::State::kEmpty;
  groups.open_jobs -= group.size;
  group.fair->open.erase({group.lane->key_of(*group.first()), &group});
  list_fair_key(groups, *group.fair);
}

// A job of the group starts: the next turn is another key's, and it waits behind those that waited meanwhile.
void Scheduler::count_start(Group& group) {
  Groups& groups = *group.lane->groups;
  FairKey& key = *group.fair;
  group.ticket = 0;
  groups.clock = std::max(groups.clock, key.turn);
  if (key.listed) groups.open.erase({key.turn, *key.listed});
  ++key.turn;
  if (key.listed) groups.open.emplace(Groups::Turn{key.turn, *key.listed}, &key);
}

}  // namespace futured
