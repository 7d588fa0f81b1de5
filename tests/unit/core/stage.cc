#include "tests/unit/core/stage.h"

#include <algorithm>
#include <utility>

namespace futured {

namespace {

std::string number(std::uint64_t value) { return std::to_string(value); }
std::string name_of(Fence fence) { return number(fence.job.value) + "." + number(fence.attempt); }
std::string at_slot(SlotId slot, Fence fence) { return name_of(fence) + " slot " + number(slot.value); }

std::string told(const effect::WaitTold& told) {
  using What = effect::WaitTold::What;
  std::string line = told.what == What::kOver      ? "over"
                     : told.what == What::kOpen    ? "open"
                     : told.what == What::kRefused ? "no wait"
                     : told.what == What::kNudge   ? "nudge"
                                                   : "read";
  line += " " + number(told.fence.job.value);
  if (told.what == What::kRefused) return line + ": " + told.error.message;
  for (const JobId job : told.jobs) line += " " + number(job.value);
  return line;
}

std::string told(const Ending& ending) {
  std::string text(to_string(ending.state));
  if (ending.cause && ending.cause->kind != CauseKind::kNone) text += " " + std::string(to_string(ending.cause->kind));
  return text;
}

}  // namespace

Lines told(const Effects& effects) {
  Lines lines;
  for (const auto& e : effects.refused) lines.push_back("refused " + number(e.token) + ": " + e.error.message);
  for (const auto& e : effects.offers) lines.push_back("offer " + at_slot(e.slot, e.fence));
  for (const auto& e : effects.revokes) lines.push_back("revoke " + at_slot(e.slot, e.fence));
  for (const auto& e : effects.stops) {
    lines.push_back("stop " + at_slot(e.slot, e.fence) + (e.why == effect::StopWhy::kSoftTimeout ? " softly" : ""));
  }
  for (const auto& e : effects.kills) {
    lines.push_back("kill slot " + number(e.slot.value) + (e.tells_stacks ? " for its stacks" : ""));
  }
  for (const auto& e : effects.pulses) lines.push_back("pulse " + at_slot(e.slot, e.fence));
  for (const SlotId slot : effects.inspects) lines.push_back("inspect slot " + number(slot.value));
  for (const auto& e : effects.starts) {
    const std::string limit = e.memory_bytes_max == 0 ? "" : " with " + number(e.memory_bytes_max >> 20) + " MiB";
    lines.push_back("start slot " + number(e.slot.value) + limit);
  }
  for (const auto& e : effects.accepted) {
    std::string line = "accepted " + number(e.token) + ": " + number(e.first.value) + " x" + number(e.count);
    for (const JobId id : e.ids) line += " " + number(id.value);
    if (!e.old_items.empty()) line += " old";
    for (const std::uint32_t item : e.old_items) line += " " + number(item);
    lines.push_back(std::move(line));
  }
  for (const auto& e : effects.cancelled) {
    lines.push_back("cancelled " + number(e.token) + ": " + number(e.job.value) + " " +
                    std::string(to_string(e.state)));
  }
  for (const auto& e : effects.schedule_problems) lines.push_back("lost firing of " + e.name + ": " + e.error.message);
  for (const auto& e : effects.schedules_changed) lines.push_back("schedule " + number(e.token) + ": " + e.row.name);
  for (const auto& e : effects.queues_put) lines.push_back("queue " + number(e.token) + ": " + e.queue.name);
  for (const auto& e : effects.queues_purged) {
    lines.push_back("purged " + number(e.token) + ": " + number(e.cancelled));
  }
  for (const effect::Moved& e : effects.moved) {
    std::string text = "moved " + number(e.token) + ":";
    constexpr const char* kWords[] = {"moved", "already there", "running", "ended", "not found"};
    for (const auto& [id, what] : e.jobs) {
      text += " " + number(id.value) + " " + kWords[static_cast<std::size_t>(what)] +
              (id == e.jobs.back().first ? "" : ",");
    }
    lines.push_back(text);
  }
  for (const auto& e : effects.queues_deleted) lines.push_back("deleted " + number(e.token));
  for (const auto& e : effects.offers_after_commit) lines.push_back("committed offer " + at_slot(e.slot, e.fence));
  for (const auto& e : effects.registered) lines.push_back("registered " + number(e.token) + ": " + number(e.id.value));
  for (const auto& e : effects.replayed) lines.push_back("replayed " + number(e.token) + ": " + number(e.count));
  for (const auto& e : effects.deliveries) {
    lines.push_back("deliver " + number(e.id.value) + " attempt " + number(e.attempt));
  }
  for (const effect::WaitTold& e : effects.waits_told) lines.push_back(told(e));
  for (const BatchQuery& query : effects.batch_queries) {
    lines.push_back("batch " + number(query.number) + "? " + number(query.first.value) + " x" + number(query.count));
  }
  for (const DelayedClaim& claim : effects.delayed_claims) {
    lines.push_back("claim delayed x" + number(claim.jobs_max));
  }
  for (const DeliveryClaim& claim : effects.delivery_claims) lines.push_back("claim lane " + number(claim.lane));
  for (const Claim& claim : effects.claims) {
    lines.push_back("claim after " + (claim.after ? number(job_of(*claim.after).value) : std::string("nothing")));
  }
  for (const JobId id : effects.loads) lines.push_back("load " + number(id.value));
  for (const JobId id : effects.due) lines.push_back("due " + number(id.value));
  for (const KeyQuery& key : effects.key_queries) lines.push_back("key? " + key.key);
  return lines;
}

Lines told(const Batch& rows) {
  Lines lines;
  for (const SpecRow& row : rows.specs) lines.push_back("spec " + number(row.id.value));
  for (const QueueId id : rows.queues_removed) lines.push_back("no queue " + number(id.value));
  for (const QueueRow& row : rows.queues) {
    lines.push_back("queue " + row.name + (row.paused ? " paused" : "") + (row.draining ? " draining" : ""));
  }
  for (const PoolRow& row : rows.pools) lines.push_back("pool " + row.name);
  for (const JobRow& row : rows.jobs) {
    const bool ended = row.ending.state != JobState::kQueued;
    lines.push_back("job " + number(row.id.value) + (ended ? " " + told(row.ending) : ""));
  }
  for (const OutcomeRow& row : rows.outcomes) lines.push_back("end " + number(row.id.value) + " " + told(row.ending));
  for (const AttemptRow& row : rows.attempts) {
    const bool last = row.charge == Charge::kLast && row.cause.kind == CauseKind::kNone;
    lines.push_back((last ? "last attempt " : "attempt ") + name_of(row.fence) +
                    (last ? "" : " " + std::string(to_string(row.cause.kind))));
  }
  for (const StartRow& row : rows.starts) lines.push_back("start " + name_of(row.fence));
  for (const CancelRow& row : rows.cancels_added) {
    lines.push_back("cancel + " + number(row.job.value) + (row.reason.empty() ? "" : ": " + row.reason));
  }
  for (const MovedRow& row : rows.moved) {
    lines.push_back("moved " + number(row.job.value) + " spec " + number(row.spec.value) + (row.opens ? " opens" : ""));
  }
  for (const JobId job : rows.cancels_removed) lines.push_back("cancel - " + number(job.value));
  for (const BacklogKey& row : rows.backlog_added) lines.push_back("backlog + " + number(job_of(row.key).value));
  for (const BacklogKey& row : rows.backlog_removed) lines.push_back("backlog - " + number(job_of(row.key).value));
  for (const DelayedKey& row : rows.delayed_added) lines.push_back("delayed + " + number(row.job.value));
  for (const DelayedKey& row : rows.delayed_removed) lines.push_back("delayed - " + number(row.job.value));
  for (const KeyRow& row : rows.keys_added) {
    lines.push_back("key " + row.key.key + ": " + number(row.first.value) + " x" + number(row.count));
  }
  if (rows.ids_reserved_until != 0) lines.push_back("ids " + number(rows.ids_reserved_until));
  return lines;
}

Stage::Stage(StageSetup setup) {
  now = setup.now;
  epoch_ = Epoch{setup.snapshot.epoch.value + 1};
  SchedulerSetup core{epoch_, 7, 0, setup.pools, setup.queues, setup.window_bytes, setup.zones};
  scheduler = std::make_unique<Scheduler>(core, std::move(setup.snapshot), std::move(setup.live), now, effects);
  generations_.resize(scheduler->slot_count() + 1);
  if (!setup.workers_ready) return;
  for (const PoolSetup& pool : setup.pools) {
    if (pool.commands) continue;
    step(event::PoolReady{scheduler->pool_named(pool.name), {"work", "other"}});
  }
  for (std::uint32_t slot = 1; slot <= scheduler->slot_count(); ++slot) {
    if (scheduler->is_wanted(SlotId{slot})) step(slot_ready(slot));
  }
  if (setup.snapshot.epoch.is_set()) return;
  history.push_back(std::move(effects));
  effects = Effects{};
  rows_told_ = history.size();
}

void Stage::step(const Event& event) {
  scheduler->step(event, now, effects);
  scheduler->audit();
}

Lines Stage::turn(std::vector<Event> events) {
  for (const Event& event : events) step(event);
  step(event::TurnEnd{});
  std::erase_if(effects.inspects, [&](SlotId slot) {
    const auto busy = busy_.find(slot.value);
    if (busy == busy_.end()) return false;
    step(event::Head{slot, fence_of(busy->second.job), busy->second.since});
    return true;
  });
  for (const effect::OfSlot& pulse : std::exchange(effects.pulses, {})) {
    ++pulses;
    const auto alive = alive_.find(pulse.fence.job.value);
    step(event::Pulse{pulse.slot, pulse.fence, alive != alive_.end() ? alive->second : Instant{}});
  }
  Lines lines = told(effects);
  claims.insert(claims.end(), effects.claims.begin(), effects.claims.end());
  for (const auto& offer : effects.offers) fences_[offer.fence.job.value] = offer.fence;
  for (const auto& offer : effects.offers_after_commit) fences_[offer.fence.job.value] = offer.fence;
  history.push_back(std::move(effects));
  effects = Effects{};
  return lines;
}

Lines Stage::pass(Duration time) {
  const Instant until = now.at + time;
  const auto move_to = [&](Instant at) {
    now.wall = now.wall + (at - now.at);
    now.at = at;
  };
  Lines lines;
  while (scheduler->next_timer() <= until) {
    move_to(std::max(now.at, scheduler->next_timer()));
    const Lines more = turn({event::TimerDue{}});
    lines.insert(lines.end(), more.begin(), more.end());
  }
  move_to(until);
  return lines;
}

Event Stage::submit(const JobSpec& spec, std::uint32_t count, std::size_t payload_bytes) {
  event::Submit submit{++token, {1000}, spec, std::make_shared<const std::string>(count * payload_bytes, 'x'), {}, {}};
  for (std::uint32_t i = 1; i <= count; ++i) submit.ends.push_back(static_cast<std::uint32_t>(i * payload_bytes));
  return submit;
}

Event Stage::cancel(std::uint64_t job, std::uint32_t uid) { return event::Cancel{++token, {uid}, JobId{job}}; }

Event Stage::hurried_cancel(std::uint64_t job) {
  event::Cancel cancel{++token, {1000}, JobId{job}};
  cancel.waits = false;
  return cancel;
}

Fence Stage::fence_of(std::uint64_t job) const {
  const auto found = fences_.find(job);
  return found != fences_.end() ? found->second : Fence{};
}

Event Stage::done(std::uint64_t job, event::DoneStatus status, bool do_not_retry) {
  const auto live = scheduler->live(JobId{job});
  std::erase_if(busy_, [&](const auto& busy) { return busy.second.job == job; });
  const Instant started = live && live->taken_at.ns != 0 ? live->taken_at : now.at;
  if (status == event::DoneStatus::kFailed) {
    causes_.push_back(std::make_unique<Cause>(Cause{.kind = CauseKind::kTaskError}));
    return event::Done{live ? live->slot : SlotId{1}, fence_of(job), status, do_not_retry, started, now.at, {},
                       causes_.back().get()};
  }
  return event::Done{live ? live->slot : SlotId{1}, fence_of(job), status, do_not_retry, started, now.at, "result"};
}

Event Stage::done_of(std::uint32_t slot, std::uint64_t job, std::uint32_t attempt) {
  const Fence fence{JobId{job}, epoch_, attempt};
  return event::Done{SlotId{slot}, fence, event::DoneStatus::kSucceeded, false, now.at, now.at, "late"};
}

Event Stage::head(std::uint32_t slot, std::uint64_t job, Duration ago) {
  return event::Head{SlotId{slot}, fence_of(job), now.at + -ago};
}

Event Stage::revoked(std::uint64_t job, bool revoked) {
  return event::Revoked{scheduler->live(JobId{job})->slot, fence_of(job), revoked};
}

Event Stage::slot_ready(std::uint32_t slot, std::uint64_t memory_bytes_max) {
  const auto worker_pid = static_cast<std::int32_t>(4000 + slot);
  return event::SlotReady{SlotId{slot}, ++generations_[slot], worker_pid, memory_bytes_max};
}

Event Stage::reports(std::uint64_t job, double fraction, std::string_view message) {
  const Fence fence = fence_of(job);
  return event::Progress{scheduler->live(JobId{job})->slot, fence, fraction, message};
}

Event Stage::slot_ended(std::uint32_t slot, std::uint64_t taken) {
  busy_.erase(slot);
  event::SlotEnded ended{SlotId{slot}, generations_[slot], std::nullopt, now.at, {}, {}};
  if (taken != 0) ended.taken = fence_of(taken);
  ended.cause.kind = CauseKind::kWorkerCrashed;
  return ended;
}

Event Stage::adopt(std::uint32_t slot, Fence fence, bool done) {
  fences_[fence.job.value] = fence;
  return event::Adopt{SlotId{slot}, fence, now.at, done};
}

JobSpec Stage::work() {
  JobSpec spec;
  spec.task = "work";
  return spec;
}

JobSpec Stage::in_queue(std::string queue) {
  JobSpec spec = work();
  spec.queue = std::move(queue);
  return spec;
}

Lines Stage::rows() {
  Lines lines;
  for (; rows_told_ < history.size(); ++rows_told_) {
    const Lines more = told(history[rows_told_].rows);
    lines.insert(lines.end(), more.begin(), more.end());
  }
  return lines;
}

const Ending* Stage::ending(std::uint64_t job) const {
  for (const Effects& turn : history) {
    for (const JobRow& row : turn.rows.jobs) {
      if (row.id.value == job && row.ending.state != JobState::kQueued) return &row.ending;
    }
    for (const OutcomeRow& row : turn.rows.outcomes) {
      if (row.id.value == job) return &row.ending;
    }
  }
  return nullptr;
}

Lines Stage::attempts(std::uint64_t job) const {
  Lines lines;
  for (const Effects& turn : history) {
    for (const AttemptRow& row : turn.rows.attempts) {
      if (row.fence.job.value != job || row.charge == Charge::kLast) continue;
      lines.push_back(number(row.fence.attempt) + " " + std::string(to_string(row.cause.kind)));
    }
  }
  return lines;
}

}  // namespace futured
