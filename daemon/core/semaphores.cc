// Semaphores: made, resized and removed; and what is told of them and of every other limit.
#include <algorithm>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

std::uint64_t jobs_of(const Waiting& waiting) {
  std::uint64_t jobs = 0;
  for (const auto& [ticket, group] : waiting) jobs += group->size;
  return jobs;
}

std::string quoted(const std::string& name) { return "\"" + name + "\""; }

std::string permits_of(std::uint64_t count) { return std::to_string(count) + (count == 1 ? " permit" : " permits"); }

}  // namespace

void Scheduler::set_up_semaphores(const Snapshot& snapshot) {
  for (const SemaphoreRow& row : snapshot.semaphores) {
    Semaphore& semaphore = semaphore_named(row.name);
    semaphore.exists = true;
    semaphore.permits = row.permits;
    ++semaphores_made_;
  }
  for (const auto& [queue, semaphore] : snapshot.needs) queues_in_need_[semaphore].insert(queue);
}

void Scheduler::on(const event::PutSemaphore& put, Moment, Effects& effects) {
  const auto known = semaphores_.find(put.name);
  const bool is_new = known == semaphores_.end() || !known->second.exists;
  if (is_new && semaphores_made_ >= limits::kSemaphoresMax) {
    effects.refused.push_back(
        {put.token,
         {ErrorCode::kResourceExhausted, "there are " + std::to_string(semaphores_made_) + " semaphores already"}});
    return;
  }
  Semaphore& semaphore = semaphore_named(put.name);
  if (is_new) ++semaphores_made_;
  semaphore.exists = true;
  resize(semaphore, put.permits);
  std::erase(effects.rows.semaphores_removed, put.name);
  effects.rows.semaphores.push_back({put.name, put.permits});
  effects.semaphores_put.push_back({put.token, put.name});
}

// All that wait for it are looked at anew: what was too large may fit, and the other way round.
void Scheduler::resize(Semaphore& semaphore, std::uint32_t permits) {
  semaphore.permits = permits;
  for (const auto& [ticket, group] : Waiting(semaphore.too_large)) let_go(*group);
  for (const auto& [ticket, group] : Waiting(semaphore.waiting)) let_go(*group);
}

void Scheduler::on(const event::DropSemaphore& drop, Moment, Effects& effects) {
  const auto refuse = [&](ErrorCode code, std::string why) {
    effects.refused.push_back({drop.token, {code, std::move(why)}});
  };
  const auto found = semaphores_.find(drop.name);
  if (found == semaphores_.end() || !found->second.exists) {
    return refuse(ErrorCode::kNotFound,
                  "no semaphore " + quoted(drop.name) + "; fut semaphore ls shows those that exist");
  }
  for (const auto& [name, schedule] : schedules_) {
    if (std::ranges::find(schedule.spec.needs, drop.name, &Need::semaphore) == schedule.spec.needs.end()) continue;
    return refuse(ErrorCode::kFailedPrecondition, "semaphore " + quoted(drop.name) + ": the jobs of schedule " +
                                                      quoted(name) + " need it; fut schedule rm " + name +
                                                      " first, or change the size of the semaphore");
  }
  if (const std::string who = in_need_of(drop.name); !who.empty()) {
    return refuse(ErrorCode::kFailedPrecondition, "semaphore " + quoted(drop.name) + ": " + who +
                                                      "; let them end or cancel them first, or change its size");
  }
  resize(found->second, 0);
  found->second.exists = false;
  --semaphores_made_;
  forget_unused_semaphore(drop.name);
  std::erase_if(effects.rows.semaphores, [&](const SemaphoreRow& row) { return row.name == drop.name; });
  effects.rows.semaphores_removed.push_back(drop.name);
  effects.semaphores_put.push_back({drop.token, drop.name});
}

// Which jobs may need it; empty: none. What lies on disk is known by its queue only.
std::string Scheduler::in_need_of(const std::string& semaphore) const {
  std::uint64_t jobs = 0;
  for (const auto& [id, spec] : specs_by_id_) {
    if (std::ranges::any_of(spec->spec.needs, [&](const Need& need) { return need.semaphore == semaphore; })) {
      jobs += spec->jobs;
    }
  }
  if (jobs > 0) return std::to_string(jobs) + (jobs == 1 ? " job needs it" : " jobs need it");
  const auto queues = queues_in_need_.find(semaphore);
  if (queues == queues_in_need_.end()) return {};
  for (const auto& [key, lane] : lanes_) {
    const std::uint64_t on_disk = lane->backlog_jobs + lane->delayed_jobs;
    if (on_disk == 0 || !queues->second.contains(lane->queue->row.name)) continue;
    return std::to_string(on_disk) + " jobs of queue " + quoted(lane->queue->row.name) +
           " lie on disk, and some may need it";
  }
  return {};
}

// No job needs it; groups that name it still are empty.
void Scheduler::forget_unused_semaphore(const std::string& name) {
  Semaphore& semaphore = semaphores_.at(name);
  const auto names_it = [&](const auto& entry) {
    return std::ranges::any_of(entry.second->needs, [&](const auto& need) { return need.first == &semaphore; });
  };
  for (const auto& [key, lane] : lanes_) {
    if (lane->groups && std::ranges::any_of(lane->groups->all, names_it)) drop_empty_groups(*lane);
  }
  std::erase(freed_.semaphores, &semaphore);
  semaphores_.erase(name);
}

Status Scheduler::check_needs(const JobSpec& spec) const {
  for (const Need& need : spec.needs) {
    const auto found = semaphores_.find(need.semaphore);
    if (found == semaphores_.end() || !found->second.exists) {
      return Error{ErrorCode::kNotFound, "spec.needs: no semaphore " + quoted(need.semaphore) +
                                             "; fut semaphore ls shows those that exist, fut semaphore set makes one"};
    }
    if (need.permits > found->second.permits) {
      return Error{ErrorCode::kInvalidArgument,
                   "spec.needs: " + permits_of(need.permits) + " of semaphore " + quoted(need.semaphore) +
                       " are more than the " + std::to_string(found->second.permits) +
                       " that it has: the job could never run; fut semaphore set makes it larger"};
    }
  }
  return {};
}

std::vector<SemaphoreFigures> Scheduler::semaphores() const {
  std::vector<SemaphoreFigures> figures;
  for (const auto& [name, semaphore] : semaphores_) {
    if (!semaphore.exists) continue;
    figures.push_back(
        {name, semaphore.permits, semaphore.held, jobs_of(semaphore.waiting) + jobs_of(semaphore.too_large)});
  }
  return figures;
}

// Told from how things stand, so also of a job that is not resident.
std::string Scheduler::limited_by(const JobSpec& spec, Instant now) const {
  const auto found = queue_by_name_.find(spec.queue);
  if (found == queue_by_name_.end()) return {};
  if (const std::string why = limited_by_size(spec); !why.empty()) return why;
  const QueueState& queue = *found->second;
  if (const std::string why = limited_by_queue(queue, now); !why.empty()) return why;
  if (const std::string why = limited_by_key(queue, spec, now); !why.empty()) return why;
  return limited_by_permits(spec);
}

std::string Scheduler::limited_by_size(const JobSpec& spec) const {
  for (const Need& need : spec.needs) {
    const auto semaphore = semaphores_.find(need.semaphore);
    const std::string set = "fut semaphore set " + need.semaphore + " " + std::to_string(need.permits) + " frees it";
    const std::string wanted = permits_of(need.permits) + " of semaphore " + quoted(need.semaphore);
    if (semaphore == semaphores_.end() || !semaphore->second.exists) {
      return "waits for " + wanted + ", which does not exist any more: " + set;
    }
    if (need.permits > semaphore->second.permits) {
      return "waits for " + wanted + ", which has only " + std::to_string(semaphore->second.permits) + ": " + set;
    }
  }
  return {};
}

std::string Scheduler::limited_by_queue(const QueueState& queue, Instant now) {
  if (!queue.limits) return {};
  const QueueOptions& options = queue.row.options;
  const std::string name = "queue " + quoted(queue.row.name);
  if (options.concurrency_max != 0 && queue.limits->running >= options.concurrency_max) {
    return "waits for " + name + ", whose concurrency_max of " + std::to_string(options.concurrency_max) +
           " is reached: the end of one of its " + std::to_string(queue.limits->running) + " running jobs frees it";
  }
  if (queue.limits->bucket && !queue.limits->bucket->has_token(now)) {
    return "waits for the rate of " + name + ": time frees it";
  }
  return {};
}

std::string Scheduler::limited_by_key(const QueueState& queue, const JobSpec& spec, Instant now) {
  if (!queue.limits || !queue.limits->has_keys || spec.limit_key.empty()) return {};
  const auto key = queue.limits->keys.find(spec.limit_key);
  if (key == queue.limits->keys.end()) return {};
  const std::string name = "limit key " + quoted(spec.limit_key) + " of queue " + quoted(queue.row.name);
  const std::uint32_t most = queue.row.options.concurrency_per_key_max;
  if (most != 0 && key->second->running >= most) {
    return "waits for " + name + ", whose concurrency_per_key_max of " + std::to_string(most) +
           " is reached: the end of a running job with this key frees it";
  }
  if (key->second->bucket && !key->second->bucket->has_token(now)) {
    return "waits for the rate of " + name + ": time frees it";
  }
  return {};
}

std::string Scheduler::limited_by_permits(const JobSpec& spec) const {
  for (const Need& need : spec.needs) {
    const Semaphore& semaphore = semaphores_.at(need.semaphore);
    const std::string name = "semaphore " + quoted(need.semaphore);
    if (semaphore.held + need.permits > semaphore.permits) {
      return "waits for " + permits_of(need.permits) + " of " + name + ": " + std::to_string(semaphore.held) + " of " +
             std::to_string(semaphore.permits) + " are held by running jobs, whose ends free them";
    }
    if (!semaphore.waiting.empty()) {
      return "waits for " + permits_of(need.permits) + " of " + name +
             ", behind jobs that came first; those wait until enough permits are free for them";
    }
  }
  return {};
}

// What is held is what offers hold, and nobody waits who could go on.
void Scheduler::audit_limits() const {
  std::map<const QueueState*, std::uint64_t> of_queue;
  std::map<std::pair<const QueueState*, std::string>, std::uint32_t> of_key;
  std::map<std::string, std::uint64_t> of_semaphore;
  for (const auto& slot : slots_) {
    for (const Job* job = slot->offers.front(); job != nullptr; job = job->next) {
      if (!job->lends) {
        ++of_queue[job->lane->queue];
        ++of_key[{job->lane->queue, job->spec->spec.limit_key}];
      }
      if (job->lends_permits) continue;
      for (const Need& need : job->spec->spec.needs) of_semaphore[need.semaphore] += need.permits;
    }
  }
  for (const auto& queue : queues_) {
    if (!queue->limits) continue;
    const QueueLimits& limits = *queue->limits;
    FUTURED_CHECK(limits.running == of_queue[queue.get()], "a limited queue counts its running jobs");
    for (const auto& [name, key] : limits.keys) {
      if (limits.has_keys) {
        const std::uint64_t running = of_key[std::pair(static_cast<const QueueState*>(queue.get()), name)];
        FUTURED_CHECK(key->running == running, "a limit key counts its running jobs");
      }
      const bool is_timed = key->due != Instant::never();
      const bool is_listed = limits.due.contains(std::pair(key->due, key.get()));
      FUTURED_CHECK(is_timed == is_listed, "a key that a timer wakes is listed");
    }
    for (const Lane* const lane : limits.lanes) FUTURED_CHECK(lane->held, "a lane that waits for its queue is held");
  }
  std::size_t made = 0;
  for (const auto& [name, semaphore] : semaphores_) {
    made += semaphore.exists ? 1 : 0;
    FUTURED_CHECK(semaphore.held == of_semaphore[name], "permits are held by offers, once each");
    for (const auto& [ticket, group] : semaphore.waiting) {
      FUTURED_CHECK(group->state == Group::State::kSemaphores && group->size > 0, "who waits for permits has jobs");
    }
  }
  FUTURED_CHECK(made == semaphores_made_, "semaphores are counted");
  for (const auto& [key, lane] : lanes_) {
    if (lane->groups) audit_groups(*lane);
  }
  audit_waiting();
}

void Scheduler::audit_groups(const Lane& lane) {
  std::size_t jobs = 0;
  std::size_t open_jobs = 0;
  for (const auto& [key, group] : lane.groups->all) {
    const bool is_open = group->state == Group::State::kOpen;
    FUTURED_CHECK((group->size == 0) == (group->state == Group::State::kEmpty), "a group with jobs is open or waits");
    std::size_t counted = 0;
    for (const auto& [number, rank] : group->ranks) {
      FUTURED_CHECK(rank.first != nullptr, "no empty rank of a group is kept");
      for (const Job* job = rank.first; job != nullptr; job = job->group_next, ++counted) {
        FUTURED_CHECK(job->phase == Phase::kReady && job->lane == &lane, "a group holds ready jobs of its lane");
        FUTURED_CHECK(lane.key_of(*job).rank == number, "a group holds its jobs by rank");
        FUTURED_CHECK(job->group_next == nullptr || lane.key_of(*job) < lane.key_of(*job->group_next),
                      "a group is in order");
      }
    }
    FUTURED_CHECK(counted == group->size, "a group counts its jobs");
    const bool is_listed = group->size > 0 && group->fair->open.contains({lane.key_of(*group->first()), group.get()});
    FUTURED_CHECK(is_open == is_listed, "an open group is listed by its first job");
    jobs += group->size;
    open_jobs += is_open ? group->size : 0;
  }
  FUTURED_CHECK(jobs == lane.ready_jobs, "every ready job of a lane with groups is in one");
  FUTURED_CHECK(open_jobs == lane.groups->open_jobs, "a lane counts its open jobs");
}

// Of what was freed in this turn, those who wait are told at its end.
void Scheduler::audit_waiting() const {
  for (const auto& [name, semaphore] : semaphores_) {
    if (semaphore.is_freed || semaphore.waiting.empty()) continue;
    const Group& first = *semaphore.waiting.begin()->second;
    const bool is_elsewhere_freed =
        std::ranges::any_of(first.needs, [](const auto& need) { return need.first->is_freed; });
    const bool waits = std::ranges::any_of(first.needs, [&](const auto& need) {
      return need.first->held + need.second > need.first->permits || need.first->waiting.begin()->second != &first;
    });
    FUTURED_CHECK(is_elsewhere_freed || waits, "nobody waits for permits who could have them");
  }
  for (const auto& queue : queues_) {
    if (!queue->limits) continue;
    const QueueLimits& limits = *queue->limits;
    const QueueOptions& options = queue->row.options;
    const bool has_slot = options.concurrency_max == 0 || limits.running < options.concurrency_max;
    if (!limits.is_freed && !limits.lanes.empty() && has_slot) {
      FUTURED_CHECK(limits.bucket_due != Instant::never(), "a queue that nothing holds up waits for a timer");
    }
    for (const auto& [name, key] : limits.keys) {
      if (key->is_freed || key->waiting.empty()) continue;
      const std::uint32_t most = options.concurrency_per_key_max;
      if (most != 0 && key->running >= most) continue;
      FUTURED_CHECK(key->due != Instant::never(), "a key that nothing holds up waits for a timer");
    }
  }
}

}  // namespace futured
