// Concurrency limits, rates and permits: who may start, who waits for what, and who goes on when something is freed.
//
// A release only notes what was freed; before work is handed out, the first that waits for it goes on, and again after
// that until nobody is left who could. So nothing is polled, and one that is let through and finds no worker keeps
// nothing from those behind it.
#include <algorithm>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

template <typename Thing>
void note_freed(std::vector<Thing*>& freed, Thing& thing, bool& is_freed) {
  if (!std::exchange(is_freed, true)) freed.push_back(&thing);
}

bool is_first(const Waiting& waiting, std::uint64_t ticket) {
  return waiting.empty() || (ticket != 0 && ticket <= waiting.begin()->first);
}

bool admits(const Semaphore& semaphore, std::uint32_t permits) { return semaphore.held + permits <= semaphore.permits; }

bool may_take(const Group& group) {
  return std::ranges::all_of(group.needs, [&](const auto& need) {
    return admits(*need.first, need.second) && is_first(need.first->waiting, group.ticket);
  });
}

bool admits(const QueueState& queue, Instant now) {
  const std::uint32_t most = queue.row.options.concurrency_max;
  const QueueLimits& limits = *queue.limits;
  return (most == 0 || limits.running < most) && (!limits.bucket || limits.bucket->has_token(now));
}

bool admits(const KeyLimits& key, Instant now) {
  const std::uint32_t most = key.queue->row.options.concurrency_per_key_max;
  return (most == 0 || key.running < most) && (!key.bucket || key.bucket->has_token(now));
}

bool is_rate(const RateLimit& rate) { return rate.is_set() && rate.per.count() > 0; }

void set_bucket(std::optional<TokenBucket>& bucket, const RateLimit& rate, bool is_full, Instant now) {
  if (!is_rate(rate)) {
    bucket.reset();
  } else if (bucket) {
    bucket->set_rate(rate, now);
  } else {
    bucket.emplace(rate, is_full ? rate.burst + 1.0 : 0.0, now);
  }
}

}  // namespace

// What a queue's options limit, when they came or changed. `is_restart`: what an earlier daemon let through is not
// known, so the buckets are empty: burst and rate hold over both lives.
void Scheduler::set_limits(QueueState& queue, bool is_restart, Instant now) {
  const QueueOptions& options = queue.row.options;
  const bool has_keys = options.concurrency_per_key_max != 0 || is_rate(options.rate_per_key);
  for (Lane* const lane : queue.lanes) {
    lane->held = false;
    if (!lane->groups) continue;
    for (auto& [key, group] : lane->groups->all) let_go(*group);
  }
  if (options.concurrency_max == 0 && !is_rate(options.rate) && !has_keys) {
    forget_limits(queue);
  } else {
    if (!queue.limits) queue.limits = std::make_unique<QueueLimits>();
    QueueLimits& limits = *queue.limits;
    limits.lanes.clear();
    limits.has_keys = has_keys;
    if (is_restart) limits.begun = now;
    set_bucket(limits.bucket, options.rate, !is_restart, now);
    for (auto& [name, key] : limits.keys) set_bucket(key->bucket, options.rate_per_key, !is_restart, now);
    count_running(queue, now);
  }
  for (Lane* const lane : queue.lanes) {
    if (lane->groups || wants_groups(*lane)) regroup(*lane);
    list_if_runnable(*lane);
  }
}

void Scheduler::forget_limits(QueueState& queue) {
  if (!queue.limits) return;
  std::erase(freed_.queues, &queue);
  std::erase_if(freed_.keys, [&](const KeyLimits* key) { return key->queue == &queue; });
  queue.limits.reset();
}

void Scheduler::count_running(QueueState& queue, Instant now) {
  queue.limits->running = 0;
  for (auto& [name, key] : queue.limits->keys) key->running = 0;
  for (const auto& slot : slots_) {
    for (const Job* job = slot->offers.front(); job != nullptr; job = job->next) {
      if (job->lane->queue != &queue || job->lends) continue;
      ++queue.limits->running;
      if (KeyLimits* const key = key_limits(queue, job->spec->spec.limit_key, now)) ++key->running;
    }
  }
}

// Null: the queue does not limit this key. A job without a key is under no limit per key.
KeyLimits* Scheduler::key_limits(QueueState& queue, const std::string& name, Instant now) {
  if (name.empty() || !queue.limits || !queue.limits->has_keys) return nullptr;
  QueueLimits& limits = *queue.limits;
  const auto found = limits.keys.find(name);
  if (found != limits.keys.end()) return found->second.get();
  sweep_keys(limits, now);
  auto& key = limits.keys[name];
  key = std::make_unique<KeyLimits>();
  key->queue = &queue;
  key->key = name;
  const RateLimit& rate = queue.row.options.rate_per_key;
  if (is_rate(rate)) {
    const bool is_full = limits.begun.ns == 0;
    key->bucket.emplace(rate, is_full ? rate.burst : 0.0, is_full ? now : limits.begun);
  }
  return key.get();
}

void Scheduler::sweep_keys(QueueLimits& limits, Instant now) {
  if (limits.keys.size() < std::max(limits.keys_swept_at, limits::kIdleLimitKeysMax)) return;
  std::erase_if(limits.keys, [&](const auto& entry) {
    const KeyLimits& key = *entry.second;
    const bool is_idle = key.running == 0 && key.waiting.empty() && !key.is_freed && key.due == Instant::never();
    return is_idle && (!key.bucket || key.bucket->is_full(now));
  });
  limits.keys_swept_at = 2 * limits.keys.size();
}

Semaphore& Scheduler::semaphore_named(const std::string& name) {
  Semaphore& semaphore = semaphores_[name];
  if (semaphore.name.empty()) semaphore.name = name;
  return semaphore;
}

// What keeps the lane, or all groups that are next in it, is waited for. The price of a lane without limits is this
// function's first line.
bool Scheduler::can_start(Lane& lane, Moment now) {
  if (!lane.is_limited()) return lane.ready_jobs > 0 && !lane.queue->is_halted();
  if (lane.ready_jobs == 0 || lane.queue->is_halted() || lane.held || !lane.has_next()) return false;
  if (lane.queue->limits && !may_start(lane, now.at)) return false;
  if (!lane.groups) return true;
  while (!lane.groups->open.empty()) {
    if (!wait_if_blocked(*lane.groups->next_group(), now.at)) return true;
  }
  return false;
}

// First come, first served also among the lanes of a queue, or that of one pool could keep the others out.
bool Scheduler::may_start(Lane& lane, Instant now) {
  QueueState& queue = *lane.queue;
  if (admits(queue, now)) return true;
  QueueLimits& limits = *queue.limits;
  lane.held = true;
  limits.lanes.push_back(&lane);
  await_token(queue, now);
  return false;
}

void Scheduler::await_token(QueueState& queue, Instant now) {
  QueueLimits& limits = *queue.limits;
  if (!limits.bucket || limits.bucket->has_token(now)) return;
  limits.bucket_due = limits.bucket->await(now);
  arm_rate(queue, limits.bucket_due);
}

void Scheduler::await_token(KeyLimits& key, Instant now) {
  if (!key.bucket || key.bucket->has_token(now)) return;
  std::set<std::pair<Instant, KeyLimits*>>& due = key.queue->limits->due;
  due.erase({key.due, &key});
  key.due = key.bucket->await(now);
  due.emplace(key.due, &key);
  arm_rate(*key.queue, key.due);
}

void Scheduler::arm_rate(QueueState& queue, Instant at) {
  if (at >= queue.limits->timer_at) return;
  queue.limits->timer_at = at;
  timers_.add({at, TimerKind::kRate, 0, queue.row.id.value});
}

void Scheduler::fire_rate(const Timer& timer, Moment now) {
  const QueueId id{static_cast<std::uint32_t>(timer.target)};  // queues lie in ascending ids
  const auto found = std::ranges::lower_bound(queues_, id, {}, [](const auto& queue) { return queue->row.id; });
  if (found == queues_.end() || (*found)->row.id != id || !(*found)->limits) return;
  QueueState& queue = **found;
  QueueLimits& limits = *queue.limits;
  if (now.at < limits.timer_at) return;  // an earlier one came after it and was set instead
  limits.timer_at = Instant::never();
  if (limits.bucket_due <= now.at) {
    limits.bucket_due = Instant::never();
    note_freed(freed_.queues, queue, limits.is_freed);
  }
  while (!limits.due.empty() && limits.due.begin()->first <= now.at) {
    KeyLimits& key = *limits.due.begin()->second;
    limits.due.erase(limits.due.begin());
    key.due = Instant::never();
    note_freed(freed_.keys, key, key.is_freed);
  }
  arm_rate(queue, std::min(limits.bucket_due, limits.due.empty() ? Instant::never() : limits.due.begin()->first));
}

// True: the open group waits now. Permits are taken all or none, and only by who is first at each of its semaphores.
// The one that came first of all is first everywhere, so it waits for running attempts only: nobody waits in a circle,
// and a large need is not passed for ever by small ones.
bool Scheduler::wait_if_blocked(Group& group, Instant now) {
  KeyLimits* const key = key_limits(*group.lane->queue, group.limit_key, now);
  const bool key_lets = key == nullptr || (is_first(key->waiting, group.ticket) && admits(*key, now));
  if (key_lets && may_take(group)) return false;
  close_group(group);
  if (group.ticket == 0) group.ticket = next_ticket_++;
  if (!key_lets) {
    group.state = Group::State::kKey;
    group.awaits = key;
    key->waiting.emplace(group.ticket, &group);
    await_token(*key, now);
    return true;
  }
  for (const auto& [semaphore, permits] : group.needs) {
    if (permits <= semaphore->permits) continue;
    group.state = Group::State::kTooLarge;
    group.awaits_size = semaphore;
    semaphore->too_large.emplace(group.ticket, &group);
    return true;
  }
  group.state = Group::State::kSemaphores;
  for (const auto& [semaphore, permits] : group.needs) semaphore->waiting.emplace(group.ticket, &group);
  return true;
}

// Whatever it waits for. Those behind it may be first now.
void Scheduler::leave_waiting(Group& group) {
  switch (group.state) {
    case Group::State::kEmpty:
    case Group::State::kOpen:
      break;
    case Group::State::kKey:
      group.awaits->waiting.erase(group.ticket);
      note_freed(freed_.keys, *group.awaits, group.awaits->is_freed);
      group.awaits = nullptr;
      break;
    case Group::State::kSemaphores:
      for (const auto& [semaphore, permits] : group.needs) {
        semaphore->waiting.erase(group.ticket);
        note_freed(freed_.semaphores, *semaphore, semaphore->is_freed);
      }
      break;
    case Group::State::kTooLarge:
      group.awaits_size->too_large.erase(group.ticket);
      group.awaits_size = nullptr;
      break;
  }
  if (group.state != Group::State::kOpen) group.state = Group::State::kEmpty;
}

// It waits no longer, and is looked at when its lane's turn comes. It keeps its place until then.
void Scheduler::let_go(Group& group) {
  if (group.state == Group::State::kEmpty || group.state == Group::State::kOpen) return;
  leave_waiting(group);
  open_group(group);
  list_if_runnable(*group.lane);
}

// A paused queue keeps nobody waiting behind it.
void Scheduler::let_go_paused(QueueState& queue) {
  for (Lane* const lane : queue.lanes) {
    if (!lane->groups) continue;
    for (auto& [key, group] : lane->groups->all) let_go(*group);
  }
}

bool Scheduler::wake_waiting(Moment now) {
  bool woke = false;
  for (QueueState* const queue : std::exchange(freed_.queues, {})) {
    queue->limits->is_freed = false;
    woke |= wake_lane(*queue, now.at);
  }
  for (KeyLimits* const key : std::exchange(freed_.keys, {})) {
    key->is_freed = false;
    woke |= wake_group(*key, now.at);
  }
  for (Semaphore* const semaphore : std::exchange(freed_.semaphores, {})) {
    semaphore->is_freed = false;
    if (semaphore->waiting.empty() || !may_take(*semaphore->waiting.begin()->second)) continue;
    let_go(*semaphore->waiting.begin()->second);
    woke = true;
  }
  return woke;
}

// One at a time: if it does not use the room, the next one is asked after work was handed out.
bool Scheduler::wake_lane(QueueState& queue, Instant now) {
  QueueLimits& limits = *queue.limits;
  if (limits.lanes.empty()) return false;
  if (!admits(queue, now)) {
    await_token(queue, now);
    return false;
  }
  Lane& lane = *limits.lanes.front();
  limits.lanes.pop_front();
  lane.held = false;
  list_if_runnable(lane);
  note_freed(freed_.queues, queue, limits.is_freed);
  return true;
}

bool Scheduler::wake_group(KeyLimits& key, Instant now) {
  if (key.waiting.empty()) return false;
  if (!admits(key, now)) {
    await_token(key, now);
    return false;
  }
  let_go(*key.waiting.begin()->second);
  return true;
}

// An attempt is offered, or was found running after a restart, and holds what it needs until withdraw().
void Scheduler::hold_permits(Job& job, bool is_adopted, Instant now) {
  hold_place(job, now);
  hold_needs(job);
  if (is_adopted) return;
  QueueState& queue = *job.lane->queue;
  KeyLimits* const key = key_limits(queue, job.spec->spec.limit_key, now);
  if (queue.limits && queue.limits->bucket) queue.limits->bucket->take(now);
  if (key != nullptr && key->bucket) key->bucket->take(now);
}

// What a job that waits for others has lent is not its own to give.
void Scheduler::release_permits(const Job& job) {
  if (!job.lends) release_place(job);
  if (!job.lends_permits) release_needs(job);
}

void Scheduler::hold_place(Job& job, Instant now) {
  QueueState& queue = *job.lane->queue;
  if (queue.limits) ++queue.limits->running;
  if (KeyLimits* const key = key_limits(queue, job.spec->spec.limit_key, now)) ++key->running;
}

void Scheduler::hold_needs(const Job& job) {
  for (const Need& need : job.spec->spec.needs) semaphore_named(need.semaphore).held += need.permits;
}

void Scheduler::release_place(const Job& job) {
  const JobSpec& spec = job.spec->spec;
  QueueState& queue = *job.lane->queue;
  if (!queue.limits) return;
  --queue.limits->running;
  if (!queue.limits->lanes.empty()) note_freed(freed_.queues, queue, queue.limits->is_freed);
  const auto key = queue.limits->has_keys ? queue.limits->keys.find(spec.limit_key) : queue.limits->keys.end();
  if (key == queue.limits->keys.end()) return;
  --key->second->running;
  if (!key->second->waiting.empty()) note_freed(freed_.keys, *key->second, key->second->is_freed);
}

void Scheduler::release_needs(const Job& job) {
  for (const Need& need : job.spec->spec.needs) {
    Semaphore& semaphore = semaphore_named(need.semaphore);
    semaphore.held -= need.permits;
    if (!semaphore.waiting.empty()) note_freed(freed_.semaphores, semaphore, semaphore.is_freed);
  }
}

// The attempt never began: it was no start.
void Scheduler::give_tokens_back(const Job& job) {
  QueueState& queue = *job.lane->queue;
  if (!queue.limits) return;
  if (queue.limits->bucket) queue.limits->bucket->give_back();
  const auto key = queue.limits->keys.find(job.spec->spec.limit_key);
  if (key != queue.limits->keys.end() && key->second->bucket) key->second->bucket->give_back();
}

}  // namespace futured
