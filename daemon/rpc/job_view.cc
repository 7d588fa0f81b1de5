#include "daemon/rpc/job_view.h"

#include <pwd.h>

#include <algorithm>
#include <array>

#include "base/limits.h"

namespace futured::rpc {

namespace {

// Attempts that the job went on after, then the last one: as its ending tells it, or as it runs.
void add_attempts(const JobView& view, const api::Outcome& outcome, api::Job& out) {
  const bool has_ended = is_terminal(view.record.ending.state);
  const auto tell_ending = [&](api::Attempt& last) {
    last.set_number(outcome.attempts());
    last.set_epoch(view.record.ending.epoch.value);
    last.set_state(outcome.state());
    last.set_started_us(outcome.started_us());
    last.set_finished_us(outcome.finished_us());
    if (outcome.has_cause() && !last.has_cause()) *last.mutable_cause() = outcome.cause();
    if (!view.record.ending.cause) return;
    last.set_cpu_us(view.record.ending.cause->cpu_us);
    last.set_peak_memory_bytes(outcome.cause().peak_memory_bytes());
  };
  bool is_told = false;
  for (const AttemptRow& row : view.record.attempts) {
    api::Attempt& attempt = *out.add_attempt_history();
    to_api(row, attempt);
    attempt.set_worker(view.pool + "/" + std::to_string(row.slot.value));
    if (row.charge != Charge::kLast || !has_ended) continue;
    if (row.cause.kind == CauseKind::kNone) attempt.clear_cause();
    tell_ending(attempt);
    is_told = true;
  }
  if (has_ended && !is_told && outcome.started_us() != 0) tell_ending(*out.add_attempt_history());
  if (has_ended || !view.live || view.live->state != JobState::kRunning) return;
  api::Attempt& now = *out.add_attempt_history();
  now.set_number(view.live->attempt);
  now.set_epoch(view.live->epoch.value);
  now.set_state(api::JOB_STATE_RUNNING);
  now.set_started_us(view.live->taken_at.us);
  now.set_worker_pid(view.live->worker_pid);
  now.set_worker(view.live->worker);
  now.set_memory_bytes_max(static_cast<std::int64_t>(view.live->memory_bytes_max));
}

std::uint32_t attempts_of(const JobView& view) {
  const Ending& ending = view.record.ending;
  if (is_terminal(ending.state)) return ending.attempt;
  // The loop is ahead of the store; but it numbers an offer, too, that no worker has taken.
  const bool began = view.live && (view.live->state == JobState::kRunning || view.live->state == JobState::kScheduled);
  return began ? std::max(view.live->attempt, view.record.job.attempts) : view.record.job.attempts;
}

CauseKind cause_of(Doom doom) {
  switch (doom) {
    case Doom::kNone:
      return CauseKind::kNone;
    case Doom::kCancel:
      return CauseKind::kCancelled;
    case Doom::kQueueTimeout:
      return CauseKind::kQueueTimeout;
    case Doom::kSoftTimeout:
      return CauseKind::kSoftTimeout;
    case Doom::kRunTimeout:
      return CauseKind::kRunTimeout;
    case Doom::kHeartbeatTimeout:
      return CauseKind::kHeartbeatTimeout;
    case Doom::kTotalTimeout:
      return CauseKind::kTotalTimeout;
  }
  return CauseKind::kNone;
}

void fill(const StopView& stop, api::Stop& out) {
  Cause cause;
  cause.kind = stop.why;
  api::Cause words;
  to_api(cause, words);
  out.set_since_us(stop.since.us);
  out.set_kill_at_us(stop.kill_at.us);
  out.set_killed(stop.is_killed);
  out.set_why(words.kind());
  out.set_timeout(words.timeout());
  out.set_reason(stop.reason);
}

std::optional<LiveView> live_view(const Loop& loop, JobId id) {
  const auto live = loop.scheduler().live(id);
  if (!live) return std::nullopt;
  LiveView view{.state = live->state,
                .attempt = live->attempt,
                .epoch = live->epoch,
                .worker_pid = live->worker_pid,
                .memory_bytes_max = live->memory_bytes_max};
  if (live->state == JobState::kRunning) {
    const Instant now = monotonic_now();
    const WallTime wall = wall_now();
    view.taken_at = wall + (live->taken_at - now);
    if (live->stop.why != Doom::kNone) {
      view.stop = {cause_of(live->stop.why), wall + (live->stop.since - now), wall + (live->stop.kill_at - now),
                   live->stop.is_killed, live->stop.reason};
    }
    view.waits_for = live->waits_for;
    const auto alive_at = loop.pools().alive_at(live->slot, {id, live->epoch, live->attempt});
    if (alive_at) view.alive_at = wall + (std::min(*alive_at, now) - now);  // of the worker: not to be trusted
    view.worker = worker_name(loop, live->slot);
    const JobProgress progress = loop.progress_of(id);
    if (progress.fence.attempt == live->attempt) {
      view.progress = progress.fraction();
      view.progress_message = as_utf8(progress.message);
    }
  }
  return view;
}

}  // namespace

const std::string& UserNames::of(std::uint32_t uid) {
  const auto [known, is_new] = names_.try_emplace(uid);
  if (!is_new) return known->second;
  std::array<char, 4096> room{};
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(uid, &entry, room.data(), room.size(), &found) == 0 && found != nullptr)
    known->second = found->pw_name;
  return known->second;
}

std::string worker_name(const Loop& loop, SlotId slot) {
  const Scheduler& scheduler = loop.scheduler();
  return scheduler.pool_name(scheduler.pool_of(slot)) + "/" + std::to_string(slot.value);
}

std::string pool_of(const Front& front, const Loop& loop, const JobSpec& spec) {
  if (!spec.pool.empty()) return spec.pool;
  const auto& tasks = loop.pools().tasks();
  for (const pool::PoolConfig& pool : front.setup.pools) {
    if (spec.task.empty() ? pool.runs_commands() : false) return pool.name;
    const auto known = tasks.find(pool.name);
    if (known != tasks.end() && std::ranges::find(known->second, spec.task, &pool::Task::name) != known->second.end()) {
      return pool.name;
    }
  }
  return "";
}

void to_api(const JobView& view, bool details, api::Job& out) {
  const JobRecord& record = view.record;
  const Ending& ending = record.ending;
  out.set_id(record.job.id.value);
  out.set_state(to_api(view.state()));
  out.set_queue(record.spec.queue);
  out.set_pool(view.pool);
  out.set_task(record.spec.task);
  out.set_name(record.spec.name);
  out.set_priority(record.spec.priority);
  out.set_owner_uid(record.job.owner);
  out.set_submitted_us(record.job.submitted_at.us);
  out.set_start_at_us(record.job.start_at.us);
  out.set_attempts(attempts_of(view));
  out.set_retry_of(record.job.retry_of.value);
  out.set_parent_id(record.job.lineage.parent.value);
  out.set_batch_id(record.batch.value);
  out.set_payload_bytes(record.job.payload.size);
  out.set_at_most_once(record.spec.at_most_once);
  if (record.spec.task.empty() && record.job.payload.size > 0) {
    api::Command command;
    if (to_command(record.job.payload.view(), command)) *out.mutable_command() = std::move(command);
  }
  api::Outcome outcome;
  if (is_terminal(ending.state)) {
    to_outcome(record.job.id, ending, ResultWanted::kNone, outcome);
    if (outcome.has_cause()) {  // an outcome has no stacks
      api::Cause whole;
      to_api(*ending.cause, whole);
      outcome.mutable_cause()->set_stacks(whole.stacks());
    }
    out.set_started_us(outcome.started_us());
    out.set_finished_us(outcome.finished_us());
    out.set_result_bytes(outcome.result_bytes());
    if (outcome.has_cause()) *out.mutable_cause() = outcome.cause();
    out.set_from_cache(outcome.from_cache());
    out.set_cache_note(outcome.cache_note());
  } else if (view.live && view.live->state == JobState::kRunning) {
    out.set_started_us(view.live->taken_at.us);
    out.set_alive_us(view.live->alive_at.us);
    out.set_progress(view.live->progress);
    out.set_progress_message(view.live->progress_message);
    if (view.live->stop) fill(*view.live->stop, *out.mutable_stop());
    for (const JobId job : view.live->waits_for) out.add_waits_for(job.value);
  } else if (view.state() == JobState::kScheduled) {
    out.set_next_attempt_us(record.job.retry_at.us);
  }
  if (!details) {
    if (out.has_cause()) out.mutable_cause()->clear_stacks();
    return;
  }
  to_api(record.spec, *out.mutable_spec());
  out.mutable_spec()->set_start_at_us(record.job.start_at.us);
  for (const DependencyRow& row : record.dependencies) to_api(row, *out.mutable_spec()->add_dependencies());
  add_attempts(view, outcome, out);
}

void add_live(Front& front, std::vector<JobRecord> records, ViewsReady done) {
  auto views = std::make_shared<std::vector<JobView>>();
  for (JobRecord& record : records) views->push_back({std::move(record), {}, {}});
  front.loop.look([&front, views, done = std::move(done)](const Loop& loop) {
    std::vector<JobId> lost;
    for (JobView& view : *views) {
      view.pool = pool_of(front, loop, view.record.spec);
      if (is_terminal(view.record.ending.state)) continue;
      view.live = live_view(loop, view.record.job.id);
      view.is_delayed = !view.live && view.record.job.start_at > wall_now();
      if (!view.live) lost.push_back(view.record.job.id);
    }
    const bool asked = front.reader.ask([views, lost = std::move(lost), done](StoreReader& reader) {
      if (lost.empty()) return done(std::move(*views));
      auto endings = reader.endings(lost);
      if (!endings.ok()) return done(endings.error());
      for (OutcomeRow& row : *endings) {
        const auto view = std::ranges::find(*views, row.id, [](const JobView& one) { return one.record.job.id; });
        if (view != views->end()) view->record.ending = std::move(row.ending);
      }
      done(std::move(*views));
    });
    if (!asked) front.pump.post([done] { done(busy_error()); });
  });
}

}  // namespace futured::rpc
