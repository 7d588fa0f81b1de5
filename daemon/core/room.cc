// What a queue holds, and whether there is room for more. A submit over the queue's bounds is refused, or waits if it
// says so: then it is before all that come later.
#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

bool fits(std::uint64_t there, std::uint64_t more, std::uint64_t most) { return most == 0 || there + more <= most; }

bool fits(const QueueState& queue, std::uint64_t jobs, std::uint64_t bytes) {
  const QueueOptions& options = queue.row.options;
  return fits(queue.jobs, jobs, options.queued_jobs_max) && fits(queue.bytes, bytes, options.queued_bytes_max);
}

std::string over(const char* what, std::uint64_t there, std::uint64_t more, const char* bound, std::uint64_t most) {
  return "it has " + std::to_string(there) + " " + what + " that have not ended, and with " + std::to_string(more) +
         " more it would be over its " + bound + " of " + std::to_string(most);
}

Error full(const QueueState& queue, std::uint64_t jobs, std::uint64_t bytes) {
  const std::string name = "queue \"" + queue.row.name + "\" ";
  const QueueOptions& options = queue.row.options;
  if (queue.purging) return {ErrorCode::kResourceExhausted, name + "is being purged; try again"};
  const std::string way_out = "; try again later, or raise it with fut queue set";
  if (!fits(queue.jobs, jobs, options.queued_jobs_max)) {
    return {ErrorCode::kResourceExhausted,
            name + "is full: " + over("jobs", queue.jobs, jobs, "queued_jobs_max", options.queued_jobs_max) + way_out};
  }
  if (!fits(queue.bytes, bytes, options.queued_bytes_max)) {
    return {ErrorCode::kResourceExhausted,
            name + "is full: " +
                over("bytes of jobs", queue.bytes, bytes, "queued_bytes_max", options.queued_bytes_max) + way_out};
  }
  return {ErrorCode::kResourceExhausted, name + "is full, and others wait for room in it already; try again later"};
}

// What a submit that waits keeps in memory.
std::uint64_t bytes_of(const event::Submit& submit) { return submit.bytes ? submit.bytes->size() : 0; }

// Waiting would not help.
Status check_size(const QueueState& queue, std::uint64_t jobs, std::uint64_t bytes) {
  const std::string name = " of queue \"" + queue.row.name + "\"";
  const QueueOptions& options = queue.row.options;
  if (!fits(0, jobs, options.queued_jobs_max)) {
    return Error{ErrorCode::kInvalidArgument, std::to_string(jobs) + " jobs at once are over the queued_jobs_max of " +
                                                  std::to_string(options.queued_jobs_max) + name +
                                                  " and never fit; submit fewer at once"};
  }
  if (!fits(0, bytes, options.queued_bytes_max)) {
    return Error{ErrorCode::kInvalidArgument, std::to_string(bytes) +
                                                  " bytes at once are over the queued_bytes_max of " +
                                                  std::to_string(options.queued_bytes_max) + name +
                                                  " and never fit; submit fewer or smaller jobs at once"};
  }
  return {};
}

}  // namespace

bool Scheduler::has_room(const event::Submit& submit, QueueState& queue, std::uint64_t jobs, std::uint64_t bytes,
                         Effects& effects) {
  if (const Status sound = check_size(queue, jobs, bytes); !sound.ok()) {
    effects.refused.push_back({submit.token, sound.error()});
    return false;
  }
  const bool is_its_turn = submit.is_next || (queue.held.empty() && !queue.asks_keys);
  if (is_its_turn && !queue.purging && fits(queue, jobs, bytes)) return true;
  // One that has waited is not refused for what came meanwhile.
  const bool is_too_much =
      held_jobs_ + jobs > limits::kHeldJobsMax || held_bytes_ + bytes_of(submit) > limits::kHeldBytesMax;
  if (!submit.waits || (is_too_much && !submit.is_next)) {
    effects.refused.push_back({submit.token, full(queue, jobs, bytes)});
    return false;
  }
  queue.held.insert(submit.is_next ? queue.held.begin() : queue.held.end(), HeldSubmit{submit, jobs, bytes});
  held_jobs_ += jobs;
  held_bytes_ += bytes_of(submit);
  return false;
}

// Of jobs that do not wait for it. Who waits comes in before them.
Status Scheduler::check_room(const QueueState& queue, std::uint64_t jobs, std::uint64_t bytes) {
  if (queue.held.empty() && !queue.asks_keys && !queue.purging && fits(queue, jobs, bytes)) return {};
  return full(queue, jobs, bytes);
}

// Those that wait, as far as there is room now, or none is needed any more because they will be refused.
void Scheduler::let_in_held(Moment now, Effects& effects) {
  if (held_jobs_ == 0) return;
  for (const auto& queue : queues_) {
    while (!queue->held.empty() && !queue->purging && !queue->asks_keys) {
      const HeldSubmit& first = queue->held.front();
      if (!queue->row.draining && !fits(*queue, first.jobs, first.bytes) &&
          check_size(*queue, first.jobs, first.bytes).ok()) {
        break;
      }
      held_jobs_ -= first.jobs;
      held_bytes_ -= bytes_of(first.submit);
      event::Submit submit = std::move(queue->held.front().submit);
      queue->held.pop_front();
      submit.is_next = true;
      // It comes back when that is known: until then nobody goes past it.
      queue->asks_keys = std::ranges::any_of(submit.keys, [](const event::SubmitKey& key) { return !key.key.empty(); });
      const std::size_t before = queue->held.size();
      on(submit, now, effects);
      if (queue->held.size() > before) break;
    }
  }
}

std::vector<std::string> Scheduler::full_queues() const {
  std::vector<std::string> names;
  if (held_jobs_ == 0) return names;
  for (const auto& queue : queues_) {
    if (!queue->held.empty()) names.push_back(queue->row.name);
  }
  return names;
}

// Of the batch that gathers the last figure counts.
void Scheduler::note_bytes(QueueState& queue, Effects& effects) {
  std::vector<QueueBytes>& rows = effects.rows.queue_bytes;
  if (queue.bytes_at < rows.size() && rows[queue.bytes_at].queue == queue.row.id) {
    rows[queue.bytes_at].bytes = queue.bytes;
    return;
  }
  queue.bytes_at = rows.size();
  rows.push_back({queue.row.id, queue.bytes});
}

void Scheduler::count_added(QueueState& queue, std::uint64_t jobs, std::uint64_t bytes, Effects& effects) {
  queue.jobs += jobs;
  queue.bytes += bytes;
  note_bytes(queue, effects);
}

void Scheduler::count_left(const Job& job, Effects& effects) {
  QueueState& queue = *job.lane->queue;
  FUTURED_CHECK(queue.jobs > 0, "a queue counts its unfinished jobs");
  --queue.jobs;
  // A database of an earlier version knew the bytes only about.
  queue.bytes -= std::min<std::uint64_t>(queue.bytes, job.own_bytes());
  if (queue.jobs == 0) queue.bytes = 0;
  note_bytes(queue, effects);
}

void Scheduler::count_ended(const Job& job, JobState state, Effects& effects) {
  count_left(job, effects);
  QueueState& queue = *job.lane->queue;
  switch (state) {
    case JobState::kSucceeded:
      ++queue.succeeded;
      return;
    case JobState::kFailed:
      ++queue.failed;
      return;
    case JobState::kCancelled:
      ++queue.cancelled;
      return;
    case JobState::kTimedOut:
      ++queue.timed_out;
      return;
    case JobState::kScheduled:
    case JobState::kBlocked:
    case JobState::kQueued:
    case JobState::kRunning:
      FUTURED_CHECK(false, "an ended job is in a terminal state");
  }
}

void Scheduler::count_start(const Job& job, Instant started, Moment now) {
  QueueState& queue = *job.lane->queue;
  queue.starts.add(now.at);
  if (job.attempt == 1) queue.waits.add(wall_of(started, now) - job.waits_since());
}

}  // namespace futured
