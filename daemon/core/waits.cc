// Jobs whose tasks wait for other jobs: who waits for whom, and what they lend meanwhile.
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

std::string name_of(JobId job) { return "job " + std::to_string(job.value); }

effect::WaitTold answer_to(const event::Wait& wait, effect::WaitTold::What what) {
  return {.what = what, .slot = wait.slot, .fence = wait.fence, .call = wait.call};
}

}  // namespace

// ---- Waits

Result<Principal> Scheduler::caller(const Fence& fence) const {
  const Job* const job = jobs_.find(fence.job);
  if (job != nullptr && job->slot.is_set() && job->fence() == fence) return Principal{job->owner};
  return Error{ErrorCode::kFailedPrecondition,
               name_of(fence.job) + ": attempt " + std::to_string(fence.attempt) + " is over"};
}

void Scheduler::on(const event::Wait& wait, Moment now, Effects& effects) {
  const auto refuse = [&](Error error) {
    effect::WaitTold told = answer_to(wait, effect::WaitTold::What::kRefused);
    told.error = std::move(error);
    effects.waits_told.push_back(std::move(told));
  };
  if (const auto who = caller(wait.fence); !who.ok()) return refuse(who.error());
  Job& job = *jobs_.find(wait.fence.job);
  if (job.slot != wait.slot) return refuse({ErrorCode::kFailedPrecondition, name_of(job.id) + " runs elsewhere"});
  spare(job);
  if (job.doom != Doom::kNone) {
    return refuse({ErrorCode::kFailedPrecondition, name_of(job.id) + " is being stopped, and waits for nothing more"});
  }
  mark_taken(job, now.at, now, effects);  // who asks has begun
  close_wait(job, wait.number);
  if (const Status sound = check_wait(job, wait); !sound.ok()) {
    if (!waits_.contains(job.id)) end_waits(job, now.at);
    return refuse(sound.error());
  }
  OpenWait open{wait.number, wait.call, wait.lends_permits, false, wait.jobs};
  std::ranges::sort(open.open);
  open.open.erase(std::ranges::unique(open.open).begin(), open.open.end());
  effect::WaitTold question = answer_to(wait, effect::WaitTold::What::kRead);
  question.number = wait.number;
  question.who = {job.owner};
  for (const JobId target : open.open) {
    std::vector<JobId>& by = awaited_[target];
    if (const auto place = std::ranges::lower_bound(by, job.id); place == by.end() || *place != job.id) {
      by.insert(place, job.id);
    }
    if (jobs_.find(target) == nullptr) question.jobs.push_back(target);
  }
  open.is_being_read = !question.jobs.empty();
  std::vector<OpenWait>& waits = waits_[job.id];
  job.waits = true;
  waits.push_back(std::move(open));
  // What ended a moment ago is on disk with the commit behind which the store is asked.
  if (!question.jobs.empty()) {
    effects.waits_told.push_back(std::move(question));
  } else {
    settle(job, waits.back(), now.at, effects);
  }
}

// Before anything of it is known: what may not be waited for at all.
Status Scheduler::check_wait(const Job& job, const event::Wait& wait) const {
  const auto refuse = [](ErrorCode code, std::string why) { return Error{code, std::move(why)}; };
  const auto waits = waits_.find(job.id);
  if (waits != waits_.end() && waits->second.size() >= limits::kWaitsPerRunMax) {
    return refuse(ErrorCode::kResourceExhausted, name_of(job.id) + " waits " + std::to_string(limits::kWaitsPerRunMax) +
                                                     " times at once, and may no more");
  }
  std::size_t awaited = wait.jobs.size();
  if (waits != waits_.end()) {
    for (const OpenWait& other : waits->second) awaited += other.open.size();
  }
  if (awaited > limits::kWaitJobsMax || awaited_.size() > limits::kWaitIdsMax) {
    return refuse(ErrorCode::kResourceExhausted, name_of(job.id) + " would wait for " + std::to_string(awaited) +
                                                     " jobs at once: at most " + std::to_string(limits::kWaitJobsMax) +
                                                     ", and in all jobs together " +
                                                     std::to_string(limits::kWaitIdsMax));
  }
  for (const JobId target : wait.jobs) {
    if (!target.is_set() || target.value >= next_id_) return refuse(ErrorCode::kNotFound, "no " + name_of(target));
    const Job* const there = jobs_.find(target);
    const bool is_anyones = job.owner == 0 || job.owner == setup_.admin_uid;
    if (there != nullptr && there->owner != job.owner && !is_anyones) {
      return refuse(ErrorCode::kPermissionDenied, name_of(target) + " belongs to user " + std::to_string(there->owner));
    }
  }
  const std::vector<JobId> path = wait_path(wait.jobs, job.id);
  if (path.empty()) return {};
  std::string cycle = name_of(job.id);
  for (const JobId step : path) cycle += " -> " + name_of(step);
  return refuse(ErrorCode::kFailedPrecondition, "the wait would never end: " + cycle);
}

// Whatever makes one job wait for another belongs here.
void Scheduler::for_each_awaited(JobId job, const std::function<void(JobId)>& visit) const {
  if (const auto waits = waits_.find(job); waits != waits_.end()) {
    for (const OpenWait& wait : waits->second) std::ranges::for_each(wait.open, visit);
  }
  dependencies_.for_each_parent(job, visit);
  if (const JobId leader = leader_of(job); leader.is_set()) visit(leader);
}

// Every edge is looked at once at most: breadth first, so that the cycle that is told is a shortest one.
std::vector<JobId> Scheduler::wait_path(const std::vector<JobId>& jobs, JobId to) const {
  const bool is_awaited = awaited_.contains(to) || dependencies_.has_dependents(to) || is_followed(to);
  if (!is_awaited && std::ranges::find(jobs, to) == jobs.end()) return {};
  std::unordered_map<JobId, JobId> from;
  std::deque<JobId> next;
  const auto reach = [&](JobId job, JobId by) {
    if (from.try_emplace(job, by).second) next.push_back(job);
  };
  for (const JobId job : jobs) reach(job, JobId{});
  while (!next.empty() && !from.contains(to)) {
    const JobId at = next.front();
    next.pop_front();
    for_each_awaited(at, [&](JobId job) { reach(job, at); });
  }
  std::vector<JobId> path;
  if (!from.contains(to)) return path;
  for (JobId at = to; at.is_set(); at = from.at(at)) path.push_back(at);
  std::ranges::reverse(path);
  return path;
}

// All that is known of it is known: it is over, or the job lends what it has from now on.
void Scheduler::settle(Job& job, OpenWait& wait, Instant now, Effects& effects) {
  effect::WaitTold told{
      .what = effect::WaitTold::What::kOpen, .slot = job.slot, .fence = job.fence(), .call = wait.call};
  if (wait.open.empty()) {
    told.what = effect::WaitTold::What::kOver;
  } else if (Status lent = lend(job, wait.lends_permits, effects); !lent.ok()) {
    told.what = effect::WaitTold::What::kRefused;
    told.error = lent.error();
  }
  if (told.what != effect::WaitTold::What::kOpen) close_wait(job, wait.number);
  if (!waits_.contains(job.id)) end_waits(job, now);
  effects.waits_told.push_back(std::move(told));
}

void Scheduler::on(const event::WaitRead& read, Moment now, Effects& effects) {
  // A call that nobody answers would keep its place in the channel: so also who was stopped meanwhile gets an answer.
  const auto is_over = [&] {
    effects.waits_told.push_back(
        {.what = effect::WaitTold::What::kRefused,
         .slot = read.slot,
         .fence = read.fence,
         .call = read.call,
         .error = {ErrorCode::kFailedPrecondition, name_of(read.fence.job) + " waits no more"}});
  };
  const auto waits = waits_.find(read.fence.job);
  if (waits == waits_.end()) return is_over();
  const auto wait = std::ranges::find(waits->second, read.number, &OpenWait::number);
  Job& job = *jobs_.find(read.fence.job);
  if (job.fence() != read.fence || wait == waits->second.end() || wait->call != read.call || !wait->is_being_read) {
    return is_over();
  }
  wait->is_being_read = false;
  if (read.wrong) {
    close_wait(job, read.number);
    if (!waits_.contains(job.id)) end_waits(job, now.at);
    effects.waits_told.push_back({.what = effect::WaitTold::What::kRefused,
                                  .slot = job.slot,
                                  .fence = read.fence,
                                  .call = read.call,
                                  .error = *read.wrong});
    return;
  }
  for (const JobId ended : read.ended) {
    std::erase(wait->open, ended);
    drop_target(ended, job.id);
  }
  settle(job, *wait, now.at, effects);
}

void Scheduler::on(const event::WaitGivenUp& given_up, Moment now, Effects& effects) {
  effect::WaitTold told{.slot = given_up.slot, .fence = given_up.fence, .call = given_up.call};
  if (caller(given_up.fence).ok()) {
    Job& job = *jobs_.find(given_up.fence.job);
    close_wait(job, given_up.number);
    if (!waits_.contains(job.id)) end_waits(job, now.at);
  }
  effects.waits_told.push_back(std::move(told));
}

// Not the job's slot: what comes next decides on that.
void Scheduler::close_wait(Job& job, std::uint32_t number) {
  const auto waits = waits_.find(job.id);
  if (waits == waits_.end()) return;
  const auto wait = std::ranges::find(waits->second, number, &OpenWait::number);
  if (wait == waits->second.end()) return;
  const std::vector<JobId> open = std::move(wait->open);
  waits->second.erase(wait);
  if (waits->second.empty()) waits_.erase(waits);
  for (const JobId target : open) drop_target(target, job.id);
}

// Unless another wait of the same job is for it, too.
void Scheduler::drop_target(JobId target, JobId waiting) {
  if (const auto waits = waits_.find(waiting); waits != waits_.end()) {
    for (const OpenWait& wait : waits->second) {
      if (std::ranges::binary_search(wait.open, target)) return;
    }
  }
  const auto by = awaited_.find(target);
  if (by == awaited_.end()) return;
  std::erase(by->second, waiting);
  if (by->second.empty()) awaited_.erase(by);
}

// A job has ended. Those who waited for nothing else go on: their slots are theirs again at once, so that no wait ends
// only when another does, and until the pool is within its size nothing new begins in it.
void Scheduler::awaited_ended(JobId ended, Instant now, Effects& effects) {
  const auto by = awaited_.extract(ended);
  if (by.empty()) return;
  for (const JobId waiting : by.mapped()) {
    Job& job = *jobs_.find(waiting);
    std::vector<OpenWait>& waits = waits_.at(waiting);
    bool is_over = false;
    for (OpenWait& wait : waits) {
      std::erase(wait.open, ended);
      is_over = is_over || (wait.open.empty() && !wait.is_being_read);
    }
    if (!is_over) continue;
    std::erase_if(waits, [](const OpenWait& wait) { return wait.open.empty() && !wait.is_being_read; });
    if (waits.empty()) {
      waits_.erase(waiting);
      end_waits(job, now);
    }
    effects.waits_told.push_back({.what = effect::WaitTold::What::kNudge, .slot = job.slot, .fence = job.fence()});
  }
}

// The attempt is over, or is to end.
void Scheduler::forget_waits(Job& job) {
  const auto waits = waits_.extract(job.id);
  if (waits.empty()) return;
  for (const OpenWait& wait : waits.mapped()) {
    for (const JobId target : wait.open) drop_target(target, job.id);
  }
}

void Scheduler::end_waits(Job& job, Instant now) {
  forget_waits(job);
  job.waits = false;
  take_back_slot(job, now);
}

std::vector<JobId> Scheduler::waits_of(const Job& job) const {
  std::vector<JobId> jobs;
  if (!job.waits) return jobs;
  for_each_awaited(job.id, [&](JobId target) { jobs.push_back(target); });
  std::ranges::sort(jobs);
  jobs.erase(std::ranges::unique(jobs).begin(), jobs.end());
  if (jobs.size() > limits::kWaitsShownMax) jobs.resize(limits::kWaitsShownMax);
  return jobs;
}

// ---- What is lent

// Refused rather than kept waiting for room: those who have it may be waiting for this very job.
Status Scheduler::lend(Job& job, bool with_permits, Effects& effects) {
  Slot& slot = *slots_[job.slot.value - 1];
  PoolState& pool = *slot.pool;
  if (!job.lends) {
    const std::size_t most = pool.spare_workers() * pool.runs_per_worker();
    if (pool.lent >= most) {
      return Error{ErrorCode::kResourceExhausted,
                   "pool \"" + pool.row.name + "\" has " + std::to_string(pool.lent) +
                       " jobs that wait for others, and may have no more: let jobs wait for fewer levels below them, "
                       "or raise waiting_max of [pools." +
                       pool.row.name + "]"};
    }
    job.lends = true;
    ++slot.lent;
    ++pool.lent;
    ++job.lane->lending_jobs;
    refill(*job.lane, effects);  // what it waits for may lie on disk
    if (job.lane->is_limited()) release_place(job);
    if (!pool.runs_many()) fetch_back(slot, &job, effects);  // it may be what is waited for
  }
  if (with_permits && !job.lends_permits && job.lane->is_limited()) {
    job.lends_permits = true;
    release_needs(job);
  }
  return {};
}

// Whether there is room or not. Nothing new starts until there is.
void Scheduler::take_back_slot(Job& job, Instant now) {
  if (!job.lends) return;
  Slot& slot = *slots_[job.slot.value - 1];
  --slot.lent;
  --slot.pool->lent;
  --job.lane->lending_jobs;
  job.lends = false;
  if (job.lane->is_limited()) hold_place(job, now);
  if (std::exchange(job.lends_permits, false)) hold_needs(job);
}

// How many jobs more may begin in slots that have none, or in workers that run many; below 0: the pool is over its
// size, and what is there runs out first. Whoever waits is not counted, and who has gone on since is, although another
// has its place.
std::int64_t Scheduler::may_begin(const PoolState& pool) {
  if (pool.lent == 0 && pool.slots.size() == pool.own_slots) return INT64_MAX;
  std::size_t active = 0;
  for (const Slot* const slot : pool.slots) {
    if (pool.runs_many()) {
      active += slot->offers.size() - slot->lent;
    } else {
      active += !slot->offers.empty() && slot->lent == 0 ? 1 : 0;
    }
  }
  return static_cast<std::int64_t>(pool.own_slots * pool.runs_per_slot) - static_cast<std::int64_t>(active);
}

// ---- Spare workers

// With the other slots of its worker.
void Scheduler::list_spare(Slot& slot) {
  if (slot.is_listed) return;
  PoolState& pool = *slot.pool;
  const auto place = static_cast<std::size_t>(std::ranges::find(pool.spares, &slot) - pool.spares.begin());
  const std::size_t first = place - place % pool.slots_per_worker;
  for (std::size_t i = first; i < first + pool.slots_per_worker; ++i) {
    pool.spares[i]->is_listed = true;
    pool.slots.push_back(pool.spares[i]);
  }
  spares_listed_ += pool.slots_per_worker;
}

// False: it has all of them.
bool Scheduler::add_spare_worker(PoolState& pool) {
  for (std::size_t i = 0; i < pool.spares.size(); i += pool.slots_per_worker) {
    if (pool.spares[i]->is_listed) continue;
    for (std::size_t k = i; k < i + pool.slots_per_worker; ++k) pool.spares[k]->wanted = false;
    list_spare(*pool.spares[i]);
    return true;
  }
  return false;
}

// The last ones, when nothing is left of them.
void Scheduler::drop_spares(PoolState& pool) {
  while (pool.slots.size() > pool.own_slots) {
    const std::span<Slot* const> last = pool.of_worker(pool.workers_max() - 1);
    const bool is_gone = std::ranges::all_of(last, [](const Slot* slot) {
      return slot->is_spare && !slot->wanted && !slot->ready && !slot->killing && slot->offers.empty() &&
             slot->strays.empty() && !slot->retiring;
    });
    if (!is_gone) return;
    for (Slot* const slot : last) {
      set_memory_limit(*slot, 0);
      slot->is_listed = false;
      if (slot == pool.reserved) pool.reserved = nullptr;
    }
    pool.slots.resize(pool.slots.size() - pool.slots_per_worker);
    spares_listed_ -= pool.slots_per_worker;
  }
}

void Scheduler::audit_waits() const {
  std::map<JobId, std::vector<JobId>> awaited;
  std::map<const PoolState*, std::size_t> lent;
  for (const auto& [id, waits] : waits_) {
    const Job* const job = jobs_.find(id);
    FUTURED_CHECK(job != nullptr && job->waits && job->phase == Phase::kTaken, "who waits runs");
    FUTURED_CHECK(!waits.empty(), "who waits, waits for something");
    bool lends = false;
    for (const OpenWait& wait : waits) {
      lends = lends || !wait.is_being_read;
      FUTURED_CHECK(wait.is_being_read || !wait.open.empty(), "a wait that is over is closed");
      for (const JobId target : wait.open) awaited[target].push_back(id);
    }
    FUTURED_CHECK(!lends || job->lends, "who waits lends its slot");
    for (const OpenWait& wait : waits) {
      FUTURED_CHECK(wait_path(wait.open, id).empty(), "nobody waits for itself, by whatever way");
    }
  }
  for (auto& [target, by] : awaited) by.erase(std::ranges::unique(by).begin(), by.end());
  FUTURED_CHECK(awaited == awaited_, "who is waited for knows by whom");
  jobs_.for_each([&](const Job& job) {
    FUTURED_CHECK(job.waits == waits_.contains(job.id), "a job knows whether it waits");
    FUTURED_CHECK(!job.lends || job.waits, "only who waits lends");
    FUTURED_CHECK(!job.lends_permits || job.lends, "permits are lent with the slot");
    if (job.lends) ++lent[job.lane->pool];
  });
  std::size_t listed = 0;
  for (const auto& pool : pools_) {
    FUTURED_CHECK(lent[pool.get()] == pool->lent, "a pool counts who waits");
    FUTURED_CHECK(pool->slots.size() >= pool->own_slots, "a pool has its own slots");
    FUTURED_CHECK(pool->lent <= pool->spare_workers() * pool->runs_per_worker(), "no more wait than may");
    listed += pool->slots.size() - pool->own_slots;
    std::size_t in_slots = 0;
    for (const Slot* const slot : pool->slots) in_slots += slot->lent;
    FUTURED_CHECK(in_slots == pool->lent, "a slot counts who waits");
  }
  FUTURED_CHECK(listed == spares_listed_, "spare slots in use are counted");
}

}  // namespace futured
