// Whether an attempt that did not succeed is followed by another, and when.
#include <algorithm>

#include "base/command.h"
#include "base/limits.h"
#include "base/payload.h"
#include "daemon/core/retry_classes.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

std::string_view last_of(std::string_view text, std::size_t bytes_max) {
  return text.substr(text.size() - std::min(text.size(), bytes_max));
}

// The result of an attempt that is followed by another is dropped: of its output the ends are kept.
void keep_output_tails(std::string_view result, Cause& cause) {
  if (result.empty()) return;
  const auto parts = decode_parts(result);
  if (!parts.ok()) return;
  for (const Part& part : *parts) {
    if (part.kind != PartKind::kInline) continue;
    const auto is = [&](std::string_view type) { return part.content_type.starts_with(type); };
    if (is(kStdoutType) || is(kEmittedType)) cause.stdout_tail = last_of(part.bytes, limits::kOutputTailBytes);
    if (is(kStderrType) || is(kLogType)) cause.stderr_tail = last_of(part.bytes, limits::kOutputTailBytes);
  }
}

// Of an at-most-once job whose worker is gone, whoever's fault that was: it may have done its work before. How the
// worker ended stays with the cause; what memory ran out tells more than that.
Cause unseen_end(Cause cause) {
  if (cause.kind == CauseKind::kWorkerCrashed || cause.kind == CauseKind::kBrokenWorker) {
    cause.kind = CauseKind::kMayHaveRun;
  }
  return cause;
}

// No wait is longer, whoever asks for it.
Duration backoff_max_of(const JobSpec& spec) {
  return spec.backoff_max.count() > 0 ? spec.backoff_max : Duration(std::chrono::milliseconds(limits::kBackoffMsMax));
}

Backoff backoff_of(const JobSpec& spec) {
  return {spec.backoff, spec.backoff_factor, backoff_max_of(spec), spec.jitter};
}

}  // namespace

bool Scheduler::is_tried_again(const Job& job, const Cause& cause) {
  const JobSpec& spec = job.spec->spec;
  return !spec.at_most_once && job.failures() < spec.max_attempts && allows_retry(spec, cause);
}

// A worker may ask for any delay; it gets no longer one than the job's options allow.
void Scheduler::retry(Job& job, Cause cause, std::string_view result, std::optional<Duration> after, Ran ran,
                      Moment now, Effects& effects) {
  const JobSpec& spec = job.spec->spec;
  const Duration delay = after ? std::clamp(*after, Duration(0), backoff_max_of(spec))
                               : wait_after(job.failures(), backoff_of(spec), random_);
  keep_output_tails(result, cause);
  run_again(job, attempt_row(job, ran, Charge::kRetry, std::move(cause), now), delay, now, effects);
}

// A worker can die between finishing a job and reporting it, so the job may run twice: we promise at-least-once. The
// crash budget is apart from max_attempts, and keeps a job that kills its workers from doing so for ever.
// `result`: what is known of its output.
void Scheduler::crashed(Job& job, const event::SlotEnded& ended, std::string_view result, Ran ran, Moment now,
                        Effects& effects) {
  // Nothing is wrong with the worker, and the next one would not fare better: this is a failure of the job's own.
  if (ended.is_over_limit && is_tried_again(job, ended.cause)) {
    return retry(job, ended.cause, result, std::nullopt, ran, now, effects);
  }
  if (job.spec->spec.at_most_once) {
    return end(job, {JobState::kFailed, std::make_unique<Cause>(unseen_end(ended.cause)), result, ran}, now, effects);
  }
  if (ended.is_over_limit) {
    return end(job, {JobState::kFailed, std::make_unique<Cause>(ended.cause), result, ran}, now, effects);
  }
  const bool is_spared = ended.is_lost && job.spared < limits::kLossesMax;
  std::uint8_t& charged = is_spared ? job.spared : job.crashes;
  if (charged < UINT8_MAX) ++charged;
  if (is_spared || job.crashes < job.spec->spec.crashes_max) {
    const Charge charge = is_spared ? Charge::kNothing : Charge::kCrash;
    Cause cause = ended.cause;
    keep_output_tails(result, cause);
    return run_again(job, attempt_row(job, ran, charge, std::move(cause), now), Duration(0), now, effects);
  }
  effects.rows.attempts.push_back(attempt_row(job, ran, Charge::kLast, ended.cause, now));
  auto cause = std::make_unique<Cause>(ended.cause);
  cause->kind = CauseKind::kQuarantined;
  cause->message = "it took down " + std::to_string(job.crashes) + (job.crashes == 1 ? " worker" : " workers") +
                   "; the last time: " + cause->message;
  if (cause->message.size() > limits::kErrorMessageBytesMax) cause->message.resize(limits::kErrorMessageBytesMax);
  ran.slot = SlotId{};  // this attempt has its row
  end(job, {JobState::kFailed, std::move(cause), result, ran}, now, effects);
}

void Scheduler::run_again(Job& job, AttemptRow row, Duration delay, Moment now, Effects& effects) {
  job.doom = Doom::kNone;
  raise_memory(job, row.cause);
  row.next_memory_bytes_max = job.memory_bytes_max;
  note_change(job, delay.count() > 0 ? JobState::kScheduled : JobState::kQueued, now.at, &row.cause, now, effects);
  if (delay.count() > 0) {
    row.retry_at = now.wall + delay;
    add_job_timer(job, TimerKind::kRetry, now.at + delay);
  } else {
    make_ready(job);
  }
  effects.rows.attempts.push_back(std::move(row));
}

AttemptRow Scheduler::attempt_row(const Job& job, Ran ran, Charge charge, Cause cause, Moment now) const {
  AttemptRow row;
  row.fence = job.fence();
  row.started_at = wall_of(ran.started, now);
  row.finished_at = wall_of(ran.finished, now);
  row.slot = ran.slot;
  row.cause = std::move(cause);
  row.charge = charge;
  if (ran.slot.is_set()) {
    const Slot& slot = *slots_[ran.slot.value - 1];
    row.worker_pid = slot.worker_pid;
    row.memory_bytes_max = memory_limit(slot);
  }
  return row;
}

}  // namespace futured
