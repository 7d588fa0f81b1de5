// Moving jobs to another queue, a bounded step at a time. A step first collects its jobs: those that are ready leave
// their lane's order, what no worker has taken is asked back, what is not resident is loaded. Once all are at hand, at
// the end of a turn, either all go that may, in one commit, or none does. So none of them is ever in two queues, nor in
// none: a daemon that ends half-way finds them where they were.
#include <algorithm>
#include <set>
#include <utility>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

using What = effect::Moved::What;

Error refusal(ErrorCode code, std::string why) { return {code, std::move(why)}; }

Error is_being_moved(JobId job) {
  return refusal(ErrorCode::kResourceExhausted,
                 "job " + std::to_string(job.value) + " is just being moved by another call; try again");
}

bool is_in_slot(const Job& job) { return job.phase == Phase::kOffered || job.phase == Phase::kTaken; }

}  // namespace

Status Scheduler::check_move(const event::MoveJobs& asked) const {
  const auto target = queue_named(asked.to);
  if (!target.ok()) return target.error();
  if (!asked.from.empty()) {
    if (const auto from = queue_named(asked.from); !from.ok()) return from.error();
    if (asked.from == asked.to) {
      return refusal(ErrorCode::kInvalidArgument, "to_queue: \"" + asked.to + "\" is where they are; name another");
    }
    if (asked.who.uid != 0 && asked.who.uid != setup_.admin_uid) {
      return refusal(ErrorCode::kPermissionDenied,
                     "from_queue: moving all of queue \"" + asked.from +
                         "\" moves jobs of every user, which only root and the daemon's own user may; name yours by "
                         "their ids");
    }
  }
  // Which of them run is not known before the first turn ends.
  if (moves_.size() < limits::kMovesMax && held_.empty()) return {};
  return refusal(ErrorCode::kResourceExhausted, "too many jobs are just being moved; try again");
}

void Scheduler::on(const event::MoveJobs& asked, Moment, Effects& effects) {
  if (const Status sound = check_move(asked); !sound.ok()) {
    effects.refused.push_back({asked.token, sound.error()});
    return;
  }
  Move& move = moves_.emplace_back();
  move.number = next_move_++;
  move.asked = asked;
  for (const JobId id : asked.jobs) collect(move, id, effects);
}

bool Scheduler::is_let_go(Move& move, JobId id, std::uint32_t owner) const {
  const Principal who = move.asked.who;
  if (!move.asked.from.empty() || who.uid == 0 || who.uid == setup_.admin_uid || who.uid == owner) return true;
  if (!move.refused) {
    move.refused = refusal(ErrorCode::kPermissionDenied,
                           "job " + std::to_string(id.value) + " belongs to user " + std::to_string(owner));
  }
  return false;
}

void Scheduler::collect(Move& move, JobId id, Effects& effects) {
  if (move.refused) return;
  if (moving_.contains(id)) {
    move.refused = is_being_moved(id);
    return;
  }
  Job* const job = jobs_.find(id);
  if (job == nullptr) {
    if (!id.is_set() || id.value >= next_id_) {
      move.settled[id] = What::kNotFound;
      return;
    }
    const auto [loading, is_new] = loading_.try_emplace(id);
    if (is_new) effects.loads.push_back(id);
    loading->second.moves.push_back(move.number);
    move.loading.insert(id);
    return;
  }
  if (!is_let_go(move, id, job->owner) || !goes_along(move, *job)) return;
  if (job->phase == Phase::kReady) {
    put_aside(move, *job);
  } else if (job->phase == Phase::kOffered && job->doom == Doom::kNone) {
    effects.revokes.push_back({job->slot, job->fence()});
    move.asked_back.insert(id);
  }
}

// It is in the queue that it is to leave.
bool Scheduler::goes_along(const Move& move, const Job& job) {
  const std::string& queue = job.lane->queue->row.name;
  return move.asked.from.empty() ? queue != move.asked.to : queue == move.asked.from;
}

void Scheduler::put_aside(Move& move, Job& job) {
  unready(job);
  move.ready.insert(job.id);
  moving_[job.id] = move.number;
}

// `found`: as the store has it, null: it knows no such job. `ended`: meanwhile.
void Scheduler::move_loaded(std::uint64_t number, JobId id, const StoredJob* found, std::optional<JobState> ended,
                            Moment now, Effects& effects) {
  const auto at = std::ranges::find(moves_, number, &Move::number);
  FUTURED_CHECK(at != moves_.end(), "a move waits for what it has asked for");
  Move& move = *at;
  move.loading.erase(id);
  if (move.refused) return;
  if (ended || (found != nullptr && is_terminal(found->state))) {
    move.settled[id] = What::kEnded;
  } else if (found == nullptr) {
    move.settled[id] = What::kNotFound;
  } else if (jobs_.find(id) != nullptr) {
    collect(move, id, effects);
  } else if (is_let_go(move, id, found->owner)) {
    Job& job = take_up_held(*found, *specs_by_id_.at(found->spec)->lane);
    job.counted = job.in_backlog;
    if (ends_as_wished(job, now, effects)) return;
    if (!goes_along(move, job)) return back_to_backlog(job, now, effects);
    move.brought_in[id] = *found;
    moving_[id] = number;
  }
}

// The worker has it.
void Scheduler::stays_for_move(JobId id) {
  for (Move& move : moves_) {
    if (move.asked_back.erase(id) > 0) move.settled[id] = What::kRunning;
  }
}

void Scheduler::tend_moves(Moment now, Effects& effects) {
  for (auto move = moves_.begin(); move != moves_.end();) {
    if (!is_collected(*move)) {
      ++move;
      continue;
    }
    finish_move(*move, now, effects);
    move = moves_.erase(move);
  }
}

// Before work is handed out: what came back must not go out again meanwhile.
bool Scheduler::is_collected(Move& move) {
  std::erase_if(move.asked_back, [&](JobId id) {
    Job* const job = jobs_.find(id);
    if (job != nullptr && job->phase == Phase::kOffered) return false;
    if (job != nullptr && job->phase == Phase::kReady) put_aside(move, *job);
    return true;
  });
  return move.asked_back.empty() && move.loading.empty();
}

void Scheduler::finish_move(Move& move, Moment now, Effects& effects) {
  effect::Moved told{.token = move.asked.token, .jobs = {}};
  std::vector<JobId> going;
  for (const JobId id : move.asked.jobs) {
    Job* const job = jobs_.find(id);
    What what = What::kMoved;
    if (const auto settled = move.settled.find(id); settled != move.settled.end()) {
      what = settled->second;
    } else if (job == nullptr) {
      what = What::kEnded;
    } else if (!goes_along(move, *job)) {
      what = move.asked.from.empty() ? What::kAlreadyThere : What::kNotFound;
    } else if (is_in_slot(*job)) {
      what = What::kRunning;
    } else if (const auto mover = moving_.find(id); mover != moving_.end() && mover->second != move.number) {
      if (!move.refused) move.refused = is_being_moved(id);  // both had asked it back
    } else {
      if (job->phase == Phase::kReady) put_aside(move, *job);  // it was elsewhere when it was looked at
      going.push_back(id);
    }
    told.jobs.emplace_back(id, what);
  }
  const auto target = queue_named(move.asked.to);
  if (!move.refused && !target.ok()) move.refused = target.error();
  if (!move.refused) {
    if (const Status fits = check_movable(going, **target); !fits.ok()) move.refused = fits.error();
  }
  if (move.refused) {
    effects.refused.push_back({move.asked.token, *move.refused});
  } else {
    std::set<Lane*> touched;
    for (const JobId id : going) {
      Job& job = *jobs_.find(id);
      touched.insert(job.lane);
      move_job(move, job, **target, now, effects);
      moving_.erase(id);
    }
    touched.insert((*target)->lanes.begin(), (*target)->lanes.end());
    for (auto& [key, lane] : lanes_) {
      if (!touched.contains(lane.get())) continue;
      spill_excess(*lane, now, effects);
      refill(*lane, effects);
    }
    effects.moved.push_back(std::move(told));
  }
  let_stay(move, now, effects);
}

// All of them or none.
Status Scheduler::check_movable(const std::vector<JobId>& going, const QueueState& target) const {
  if (going.empty()) return {};
  const std::string name = "queue \"" + target.row.name + "\"";
  if (target.row.draining) {
    return refusal(ErrorCode::kFailedPrecondition, name + " is draining and takes no jobs; fut queue resume ends that");
  }
  std::uint64_t bytes = 0;
  const std::vector<std::string>& pools = target.row.options.pools;
  // "" stands for the pool of those that name none.
  const auto serves = [&](const JobSpec& spec) {
    if (pools.empty() || std::ranges::find(pools, spec.pool) != pools.end()) return true;
    if (std::ranges::find(pools, "") == pools.end()) return false;
    JobSpec bare = spec;
    bare.pool.clear();
    const auto pool = pool_for(bare);
    return pool.ok() && (*pool)->row.name == spec.pool;
  };
  for (const JobId id : going) {
    const Job& job = *jobs_.find(id);
    bytes += job.own_bytes();
    if (serves(job.spec->spec)) continue;
    return refusal(ErrorCode::kFailedPrecondition, "job " + std::to_string(id.value) + " is for pool \"" +
                                                       job.spec->spec.pool + "\", which is not among those of " + name +
                                                       "; fut queue set changes them");
  }
  return check_room(target, going.size(), bytes);
}

SpecState& Scheduler::moved_spec(const JobSpec& from, const QueueState& target, Effects& effects) {
  JobSpec wanted = from;
  wanted.queue = target.row.name;
  wanted.ageing = ageing_of(target.row);
  const auto same = specs_.find(wanted);
  if (same == specs_.end()) forget_unused_specs(effects);
  SpecState& spec = same != specs_.end() ? *same->second : know_spec({SpecId{next_spec_++}, std::move(wanted)});
  hold(spec, effects);
  return spec;
}

void Scheduler::move_job(Move& move, Job& job, QueueState& target, Moment now, Effects& effects) {
  SpecState& spec = moved_spec(job.spec->spec, target, effects);
  const bool opens = job.in_backlog;
  const bool is_early = job.in_delayed;
  leave_backlog(job, effects);
  job.in_backlog = job.counted = false;
  leave_delayed(job, effects);
  count_left(job, effects);
  const auto count_in = [&](std::size_t by) {
    job.spec->jobs += by;
    job.lane->resident_jobs += by;
    if (job.phase == Phase::kBlocked) job.lane->blocked_jobs += by;
    if (job.phase == Phase::kFollowing) job.lane->following_jobs += by;
  };
  count_in(static_cast<std::size_t>(-1));
  job.spec = &spec;
  job.lane = spec.lane;
  count_in(1);
  count_added(target, 1, job.own_bytes(), effects);
  effects.rows.moved.push_back({job.id, spec.id, opens});

  if (is_early) return delay_moved(job, now, effects);
  const auto stored = move.brought_in.find(job.id);
  if (stored != move.brought_in.end() || move.ready.contains(job.id)) {
    return queue_moved(job, stored != move.brought_in.end() ? &stored->second : nullptr, now, effects);
  }
  const bool is_blocked = job.phase == Phase::kBlocked;
  const bool waits = job.phase == Phase::kDelayed;
  note_change(job,
              is_blocked ? JobState::kBlocked
              : waits    ? JobState::kScheduled
                         : JobState::kQueued,
              now.at, nullptr, now, effects);
}

void Scheduler::delay_moved(Job& job, Moment now, Effects& effects) {
  Lane& lane = *job.lane;
  const WallTime start = job.start_at;
  effects.rows.delayed_added.push_back({start, job.id, lane.queue->row.id, lane.pool->row.id});
  ++lane.delayed_jobs;
  note_change(job, JobState::kScheduled, now.at, nullptr, now, effects);
  drop(job);
  note_delayed(start, now);
}

// Its place is that of its submit, among all that wait.
void Scheduler::queue_moved(Job& job, const StoredJob* stored, Moment now, Effects& effects) {
  Lane& lane = *job.lane;
  const bool waits = stored != nullptr && stored->retry_at > now.wall;
  note_change(job, waits ? JobState::kScheduled : JobState::kQueued, now.at, nullptr, now, effects);
  const OrderKey key = lane.key_of(job);
  // On disk it could not be told from one that was lost with a daemon.
  const bool stays = job.spec->spec.at_most_once && job.attempt > 0;
  // It is not new: where nothing is known of the backlog, jobs that go first may lie there.
  const bool is_unknown = lane.backlog_jobs > 0 && !lane.boundary;
  if (!stays && (is_unknown || goes_to_backlog(lane, key, 0))) {
    spill(lane, key, false, effects);
    note_deadline(job, now, effects);
    return drop(job);
  }
  stored != nullptr ? place(job, *stored, now, effects) : make_ready(job);
}

// What was collected and did not go. What a claim has passed over because it was resident would not be claimed again.
void Scheduler::let_stay(Move& move, Moment now, Effects& effects) {
  std::set<Lane*> touched;
  const auto left = [&](JobId id) -> Job* {
    Job* const job = moving_.erase(id) > 0 ? jobs_.find(id) : nullptr;
    if (job == nullptr || job->phase != Phase::kDelayed) return nullptr;
    touched.insert(job->lane);
    return job;
  };
  for (const JobId id : move.ready) {
    if (Job* const job = left(id)) make_ready(*job);
  }
  for (const auto& [id, stored] : move.brought_in) {
    Job* const job = left(id);
    if (job == nullptr) continue;
    const bool is_on_disk = job->counted || job->in_delayed;
    is_on_disk ? back_to_backlog(*job, now, effects) : place(*job, stored, now, effects);
  }
  for (auto& [key, lane] : lanes_) {
    if (touched.contains(lane.get())) refill(*lane, effects);
  }
}

void Scheduler::audit_moves() const {
  std::size_t collected = 0;
  for (const Move& move : moves_) {
    for (const auto& [id, by] : moving_) {
      if (by != move.number) continue;
      ++collected;
      FUTURED_CHECK(move.ready.contains(id) || move.brought_in.contains(id), "a move knows what it has taken out");
    }
  }
  FUTURED_CHECK(collected == moving_.size(), "what is taken out of its place is of some move");
}

}  // namespace futured
