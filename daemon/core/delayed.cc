// Jobs that may not start before a time. They lie on disk by that time, and memory knows only when the first of them is
// due. The wall clock rules here and nowhere else: a step forward makes jobs due, a step back delays them.
#include <algorithm>
#include <string>
#include <utility>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

// 0: at once, and always has been.
WallTime Scheduler::start_of(const event::Submit& submit, Moment now) {
  return submit.start_after.count() > 0 ? now.wall + submit.start_after : submit.start_at;
}

Status Scheduler::check_start(const event::Submit& submit, const JobSpec& spec, Moment now) {
  const WallTime start = start_of(submit, now);
  if (start <= now.wall) return {};
  const char* const field = submit.start_after.count() > 0 ? "spec.start_after_ms: " : "spec.start_at_us: ";
  if (start.us - now.wall.us > limits::kDelayMsMax * 1000) {
    return Error{ErrorCode::kResourceExhausted, field + std::string("a job starts at most ") +
                                                    std::to_string(limits::kDelayMsMax / (24LL * 3600 * 1000)) +
                                                    " days after its submit"};
  }
  if (spec.total_timeout.count() > 0 && now.wall + spec.total_timeout <= start) {
    return Error{ErrorCode::kInvalidArgument,
                 field + std::string("its total_timeout, which counts from the submit, would end it before it may "
                                     "start; raise spec.timeouts.total_ms, or use queue_ms and run_ms")};
  }
  return {};
}

void Scheduler::delay(const event::Submit& submit, const std::vector<std::uint32_t>& items, SpecState& spec,
                      JobId first, Moment now, Effects& effects) {
  Lane& lane = *spec.lane;
  const WallTime start = start_of(submit, now);
  const std::size_t count = items.empty() ? submit.ends.size() : items.size();
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const JobId id{first.value + i};
    const std::size_t item = items.empty() ? i : items[i];
    const std::uint32_t begin = item == 0 ? 0 : submit.ends[item - 1];
    effects.rows.delayed_added.push_back({start, id, lane.queue->row.id, lane.pool->row.id});
    if (recording_) {
      const effect::JobChange scheduled{
          .job = id, .state = JobState::kScheduled, .owner = submit.who.uid, .spec = spec.shared};
      effects.changes.push_back({now.wall, scheduled});
    }
    SharedBytes payload{submit.bytes, begin, submit.ends[item] - begin};
    bytes += payload.size;
    if (!submit.cache_digests.empty()) note_new_key(id, cache_key_of(submit, item, spec));
    effects.rows.jobs.push_back(
        {id, spec.id, submit.who.uid, submit.retry_of, now.wall, std::move(payload), {}, submit.lineage, start});
  }
  lane.delayed_jobs += count;
  count_added(*lane.queue, count, bytes, effects);
  note_delayed(start, now);
}

void Scheduler::note_delayed(WallTime at, Moment now) {
  std::optional<WallTime>& next = delayed_.claiming ? delayed_.added_next : delayed_.next;
  next = next ? std::min(*next, at) : at;
  arm_delayed(now);
}

// The clock may be set at any time, and says nothing when it is: so it is looked at now and then.
void Scheduler::arm_delayed(Moment now) {
  if (delayed_.claiming || !delayed_.next) return;
  const Duration left = std::clamp(*delayed_.next - now.wall, Duration(0), Duration(limits::kWallCheckNs));
  const Instant at = now.at + left;
  if (at >= delayed_.timer) return;
  delayed_.timer = at;
  timers_.add({at, TimerKind::kDelayed, 0, 0});
}

void Scheduler::claim_delayed(Moment now, Effects& effects) {
  if (delayed_.claiming || !delayed_.next) return;
  if (*delayed_.next > now.wall) return arm_delayed(now);
  effects.delayed_claims.push_back({now.wall, limits::kDelayedClaimJobsMax, limits::kDelayedClaimBytesMax});
  delayed_.claiming = true;
  delayed_.added_next.reset();
  delayed_.ended_meanwhile.clear();
}

void Scheduler::on(const event::DelayedClaimed& claimed, Moment now, Effects& effects) {
  const DelayedAnswer& answer = claimed.answer;
  know_specs(answer.specs);
  std::unordered_set<Lane*> touched;
  for (const StoredJob& stored : answer.jobs) {
    if (delayed_.ended_meanwhile.contains(stored.id)) continue;
    // The clock was put back meanwhile; or a move to another queue has the job at hand, and its row goes or stays with
    // that.
    if (stored.start_at > now.wall || jobs_.find(stored.id) != nullptr) {
      note_delayed(stored.start_at, now);
      continue;
    }
    take_up_due(stored, now, effects);
    touched.insert(specs_by_id_.at(stored.spec)->lane);
  }
  delayed_.claiming = false;
  delayed_.ended_meanwhile.clear();
  delayed_.next = answer.next;
  if (const auto added = std::exchange(delayed_.added_next, std::nullopt)) note_delayed(*added, now);
  for (auto& [key, lane] : lanes_) {
    if (!touched.contains(lane.get())) continue;
    spill_excess(*lane, now, effects);
    refill(*lane, effects);
  }
  claim_delayed(now, effects);
}

// Its place is that of its submit, among all that wait.
void Scheduler::take_up_due(const StoredJob& stored, Moment now, Effects& effects) {
  const SpecState& spec = *specs_by_id_.at(stored.spec);
  Lane& lane = *spec.lane;
  leave_delayed(stored.start_at, stored.id, lane, effects);
  if (recording_) {
    const effect::JobChange queued{.job = stored.id, .owner = stored.owner, .spec = spec.shared};
    effects.changes.push_back({now.wall, queued});
  }
  const WallTime since = std::max(stored.submitted_at, stored.start_at);
  const OrderKey key = order_key(lane.queue->row.discipline, spec.spec, stored.id, since);
  // It is not new: where nothing is known of the backlog, newer jobs of a lifo lane may lie there, and they go first.
  const bool is_unknown = lane.backlog_jobs > 0 && !lane.boundary;
  if (is_unknown || goes_to_backlog(lane, key, sizeof(Job) + stored.payload.size)) {
    spill(lane, key, false, effects);
    note_deadline(spec.spec, 0, stored.submitted_at, stored.start_at, stored.id, 1, now, effects);
    return;
  }
  Job& job = take_up_held(stored, lane);
  job.in_delayed = false;
  arm_submit_timers(job, now);
  admit(job, now);
  if (lane.backlog_jobs > 0 && !lane.boundary && job.phase == Phase::kReady) lane.boundary = key;
}

void Scheduler::leave_delayed(Job& job, Effects& effects) {
  if (!job.in_delayed) return;
  job.in_delayed = false;
  leave_delayed(job.start_at, job.id, *job.lane, effects);
  if (delayed_.claiming) delayed_.ended_meanwhile.insert(job.id);
}

void Scheduler::leave_delayed(WallTime at, JobId job, Lane& lane, Effects& effects) {
  effects.rows.delayed_removed.push_back({at, job, lane.queue->row.id, lane.pool->row.id});
  --lane.delayed_jobs;
}

}  // namespace futured
