#include "tests/store/rows_for_tests.h"

#include <sstream>

namespace futured {
namespace {

constexpr std::int64_t kNow = 1'790'000'000'000'000;  // µs, some day in 2026

std::string text(const Cause& cause) {
  std::ostringstream out;
  out << "cause(" << to_string(cause.kind) << " exit " << cause.exit_code << " signal " << cause.signal << " peak "
      << cause.peak_memory_bytes << " cpu " << cause.cpu_us << " '" << cause.error_class << "' '" << cause.message
      << "' '" << cause.stdout_tail << "' '" << cause.stderr_tail << "'" << (cause.retry_refused ? " no retry" : "")
      << ")";
  return out.str();
}

template <typename Rows>
std::string lines(const char* title, const Rows& rows) {
  std::string out = std::string(title) + ":\n";
  for (const auto& row : rows) out += "  " + futured::text(row) + "\n";
  return out;
}

}  // namespace

SpecRow spec_row(std::uint64_t id, const std::string& queue) {
  JobSpec spec;
  spec.queue = queue;
  spec.pool = "pool-" + std::to_string(id);
  spec.task = "task";
  spec.name = "näme";
  spec.priority = -7;
  spec.max_attempts = 5;
  spec.backoff = Duration(1'000'000'007);
  spec.backoff_factor = 1.5;
  spec.backoff_max = Duration(60'000'000'000);
  spec.jitter = 0.1;
  spec.queue_timeout = Duration(1);
  spec.run_timeout = Duration(2);
  spec.soft_timeout = Duration(5);
  spec.heartbeat_timeout = Duration(6);
  spec.total_timeout = Duration(31'622'400'000'000'000);
  spec.grace = Duration(4);
  spec.at_most_once = true;
  spec.retry_only = {"std::out_of_range", "exit:75"};
  spec.retry_except = {"näme"};
  spec.retry_memory_factor = 1.25;
  spec.retry_memory_bytes_max = std::uint64_t{1} << 50;
  spec.retention = std::chrono::hours(100 * 365 * 24);
  spec.front = true;
  spec.crashes_max = 7;
  spec.fairness_key = "tenant ä";
  spec.limit_key = "db=1";
  spec.needs = {{"gpu one", 2}, {"license=x", 1}};
  spec.cache = {.enabled = false, .failures = true, .explain = true, .ttl = std::chrono::seconds(77)};
  CallbackSpec callback;
  callback.condition = CompletionCondition::kNotSucceeded;
  callback.lane = 7;
  callback.address = "https://example.org/done";
  callback.credential = "ci";
  callback.headers = {{"X-One", "1"}};
  spec.callbacks = encode_callbacks({callback, callback});
  return {SpecId{id}, spec};
}

JobRow job_row(std::uint64_t id, std::uint64_t spec, const std::string& payload) {
  JobRow row;
  row.id = JobId{id};
  row.spec = SpecId{spec};
  row.owner = 4'000'000'000;
  row.retry_of = JobId{id > 1 ? id - 1 : 0};
  row.submitted_at = WallTime{kNow + static_cast<std::int64_t>(id)};
  row.payload = SharedBytes::of(payload);
  if (id > 1) row.lineage = {JobId{id - 1}, static_cast<std::uint8_t>(id % 16 + 1)};
  return row;
}

Ending ending_of(JobState state, std::uint32_t attempt) {
  Ending ending;
  ending.state = state;
  ending.attempt = attempt;
  ending.epoch = Epoch{9};
  ending.started_at = WallTime{kNow + 5'000};
  ending.finished_at = WallTime{kNow + 7'777};
  ending.result = std::string("res\0ult", 7);
  ending.cause = std::make_unique<Cause>(Cause{.kind = CauseKind::kExitCode,
                                               .exit_code = -3,
                                               .signal = 11,
                                               .peak_memory_bytes = std::uint64_t{1} << 40,
                                               .cpu_us = 123'456,
                                               .error_class = "Error",
                                               .message = "it\0broke",
                                               .stdout_tail = "last output\n",
                                               .stderr_tail = "last words\n",
                                               .retry_refused = true});
  return ending;
}

OutcomeRow outcome_row(std::uint64_t id, JobState state) { return {JobId{id}, ending_of(state)}; }

AttemptRow attempt_row(std::uint64_t id, std::uint32_t attempt, CauseKind kind) {
  AttemptRow row;
  row.fence = {JobId{id}, Epoch{9}, attempt};
  row.started_at = WallTime{kNow + 10};
  row.finished_at = WallTime{kNow + 30};
  row.slot = SlotId{3};
  row.retry_at = WallTime{kNow + 1'000'000 * attempt};
  row.cause = {.kind = kind, .message = "attempt failed"};
  const bool died = kind == CauseKind::kWorkerCrashed || kind == CauseKind::kBrokenWorker;
  row.charge = died ? Charge::kCrash : Charge::kRetry;
  row.worker_pid = 4242;
  row.memory_bytes_max = std::uint64_t{3} << 40;
  row.next_memory_bytes_max = std::uint64_t{5} << 40;
  return row;
}

BacklogKey fifo_key(std::uint64_t id, std::uint32_t queue, std::uint32_t pool) {
  return {QueueId{queue}, PoolId{pool}, order_key(Discipline::kFifo, 0, JobId{id})};
}

Ending copy_of(const Ending& ending) {
  Ending copy{ending.state,
              ending.attempt,
              ending.epoch,
              ending.started_at,
              ending.finished_at,
              ending.result,
              ending.cause ? std::make_unique<Cause>(*ending.cause) : nullptr};
  return copy;
}

std::vector<std::uint64_t> ids_of(const std::vector<StoredJob>& jobs) {
  std::vector<std::uint64_t> ids;
  for (const StoredJob& job : jobs) ids.push_back(job.id.value);
  return ids;
}

std::vector<std::uint64_t> ids_of(const ClaimAnswer& answer) {
  std::vector<std::uint64_t> ids;
  for (const ClaimedJob& job : answer.jobs) ids.push_back(job.job.id.value);
  return ids;
}

std::vector<std::uint64_t> ids_of(const JobPage& page) {
  std::vector<std::uint64_t> ids;
  for (const JobRecord& record : page.jobs) ids.push_back(record.job.id.value);
  return ids;
}

std::string text(const Ending& ending) {
  std::ostringstream out;
  out << to_string(ending.state) << " attempt " << ending.attempt << " epoch " << ending.epoch.value << " started "
      << ending.started_at.us << " finished " << ending.finished_at.us << " result '" << ending.result << "' "
      << (ending.cause ? text(*ending.cause) : "no cause");
  return out.str();
}

std::string text(const JobSpec& spec) {
  std::ostringstream out;
  out << "spec(" << spec.queue << ' ' << spec.pool << ' ' << spec.task << ' ' << spec.name << ' ' << spec.priority
      << ' ' << spec.max_attempts << ' ' << spec.backoff.count() << ' ' << spec.backoff_factor << ' '
      << spec.backoff_max.count() << ' ' << spec.jitter << ' ' << spec.queue_timeout.count() << ' '
      << spec.run_timeout.count() << ' ' << spec.total_timeout.count() << ' ' << spec.grace.count() << ' '
      << spec.at_most_once << ' ' << spec.crashes_max << ' ' << testing::PrintToString(spec.callbacks) << ' '
      << spec.soft_timeout.count() << ' ' << spec.heartbeat_timeout.count() << " memory " << spec.retry_memory_factor
      << " to " << spec.retry_memory_bytes_max << " kept " << spec.retention.count() << (spec.front ? " front" : "");
  if (spec.max_failures) out << " failures " << *spec.max_failures;
  for (const std::string& entry : spec.retry_only) out << " +" << entry;
  for (const std::string& entry : spec.retry_except) out << " -" << entry;
  out << " cache " << spec.cache.enabled << spec.cache.failures << spec.cache.explain << spec.cache.ttl.count();
  out << " fair " << spec.fairness_key << " limit " << spec.limit_key;
  for (const Need& need : spec.needs) out << " needs " << need.permits << ' ' << need.semaphore;
  out << ")";
  return out.str();
}

std::string text(const SpecRow& row) { return std::to_string(row.id.value) + " " + text(row.spec); }

std::string text(const AttemptRow& row) {
  std::ostringstream out;
  out << row.fence.job.value << '/' << row.fence.epoch.value << '/' << row.fence.attempt << " slot " << row.slot.value
      << " started " << row.started_at.us << " finished " << row.finished_at.us << " retry " << row.retry_at.us
      << " charge " << static_cast<int>(row.charge) << " pid " << row.worker_pid << " memory " << row.memory_bytes_max
      << " then " << row.next_memory_bytes_max << ' ' << text(row.cause);
  return out.str();
}

std::string text(const StoredJob& job) {
  std::ostringstream out;
  out << job.id.value << " spec " << job.spec.value << " owner " << job.owner << " retry of " << job.retry_of.value
      << " at " << job.submitted_at.us << " '" << job.payload.view() << "' " << to_string(job.state)
      << (job.in_backlog ? " in backlog" : "") << " attempts " << job.attempts << " crashes " << job.crashes
      << " spared " << job.spared << " retry at " << job.retry_at.us << " memory " << job.memory_bytes_max
      << (job.started ? " started" : "") << " child of " << job.lineage.parent.value << " at depth "
      << static_cast<int>(job.lineage.depth) << " start at " << job.start_at.us << (job.delayed ? " delayed" : "");
  return out.str();
}

std::string text(const JobRecord& record) {
  return text(record.job) + "; " + text(record.spec) + "; " + text(record.ending) +
         lines("; attempts", record.attempts);
}

std::string text(const QueueRow& row) {
  return std::to_string(row.id.value) + " " + row.name + " " + std::string(to_string(row.discipline)) +
         (row.paused ? " paused" : "") + (row.draining ? " draining" : "") + " created " +
         std::to_string(row.created_at.us) + " bytes " + std::to_string(row.bytes) + " options '" +
         encode_queue_options(row.options) + "'";
}
std::string text(const PoolRow& row) { return std::to_string(row.id.value) + " " + row.name; }
std::string text(const CancelRow& row) {
  return std::to_string(row.job.value) + " asked at " + std::to_string(row.asked_at.ns) + " kill at " +
         std::to_string(row.kill_at.ns) + " '" + row.reason + "'";
}
std::string text(const StoredSchedule& schedule) {
  const ScheduleRow& row = schedule.row;
  std::ostringstream out;
  out << row.name << " of " << row.owner << " cron '" << row.cron << "' every " << row.every.count() << " zone '"
      << row.zone << "' catch up " << static_cast<int>(row.catch_up) << " at most " << row.catch_up_max << " overlap "
      << static_cast<int>(row.overlap) << " jitter " << row.jitter.count() << (row.paused ? " paused" : "") << " spec "
      << row.spec.value << " '" << row.payload << "' anchor " << row.anchor.us << " seen " << row.seen_at.us << " last "
      << row.last_at.us << " job " << row.last_job.value << (schedule.last_is_open ? " open" : "") << " waiting";
  for (const WallTime time : row.waiting) out << " " << time.us;
  return out.str();
}
std::string text(const LaneBacklog& lane) {
  return std::to_string(lane.queue.value) + "/" + std::to_string(lane.pool.value) + ": " + std::to_string(lane.jobs);
}
std::string text(const ClaimedJob& job) {
  return std::to_string(job.key.rank) + "," + std::to_string(job.key.order) + " " + text(job.job);
}
std::string text(const OutcomeRow& row) { return std::to_string(row.id.value) + " " + text(row.ending); }

std::string text(const JobPage& page) { return lines("page", page.jobs) + "next " + std::to_string(page.next_before); }

std::string text(const DeliveryRow& row) {
  std::ostringstream out;
  out << row.id.value << " of " << row.job.value << " lane " << row.lane << " state " << static_cast<int>(row.state)
      << " attempts " << row.attempts << " at " << row.at.us << " behind";
  for (const CallbackId id : row.behind) out << " " << id.value;
  out << " '" << row.error << "'";
  return out.str();
}
std::string text(const DeliveryLane& lane) {
  return std::to_string(lane.lane) + " at " + std::to_string(lane.first_at.us);
}
std::string text(const CallbackRow& row) {
  return std::to_string(row.id.value) + " of " + std::to_string(row.job.value) + " by " + std::to_string(row.owner) +
         " " + testing::PrintToString(row.spec);
}
std::string text(const WholeBatchRow& row) {
  return std::to_string(row.first.value) + " x" + std::to_string(row.count) + ": " + std::to_string(row.ended) +
         " ended, " + std::to_string(row.failed) + " failed" +
         (row.max_failures ? ", at most " + std::to_string(*row.max_failures) : "");
}
std::string text(const CallbackRecord& record) {
  return std::to_string(record.id.value) + " of " + std::to_string(record.job.value) + " by " +
         std::to_string(record.owner) + " to " + record.spec.address + "; " + text(record.delivery);
}
std::string text(const CallbackPage& page) {
  return lines("callbacks", page.callbacks) + "next " + std::to_string(page.next_after);
}
std::string text(const DeliveryClaimAnswer& answer) { return lines("deliveries", answer.rows); }

std::string text(const Snapshot& snapshot) {
  std::ostringstream out;
  out << "epoch " << snapshot.epoch.value << " spawner '" << snapshot.spawner_instance << "' ids until "
      << snapshot.ids_reserved_until << " specs until " << snapshot.specs_until << "\n"
      << lines("queues", snapshot.queues) << lines("pools", snapshot.pools) << lines("backlog", snapshot.backlog)
      << lines("delayed", snapshot.delayed) << "next delayed "
      << (snapshot.next_delayed ? std::to_string(snapshot.next_delayed->us) : "-") << "\n"
      << lines("resident", snapshot.resident) << lines("cancels", snapshot.cancels) << lines("specs", snapshot.specs)
      << lines("schedules", snapshot.schedules) << "callbacks until " << snapshot.callbacks_until << "\n"
      << lines("delivery lanes", snapshot.deliveries) << lines("waiting", snapshot.waiting_callbacks)
      << lines("whole batches", snapshot.whole_batches);
  for (const SemaphoreRow& row : snapshot.semaphores) out << "semaphore " << row.name << ' ' << row.permits << "\n";
  for (const DependencyRow& row : snapshot.dependencies) {
    out << row.job.value << "." << row.number << " waits for " << row.on.job.value << " '" << row.on.event << "' "
        << static_cast<int>(row.on.condition) << ' ' << row.on.batch_jobs << ' ' << row.on.any_of << ' '
        << row.on.takes_result << "\n";
  }
  for (const NamedEventRow& row : snapshot.events) out << "event " << row.name << ' ' << row.set_at.us << "\n";
  for (const auto& [queue, semaphore] : snapshot.needs) out << queue << " needs " << semaphore << "\n";
  return out.str();
}

std::string text(const ClaimAnswer& answer) { return lines("claimed", answer.jobs) + lines("specs", answer.specs); }
std::string text(const DelayedAnswer& answer) {
  return lines("due", answer.jobs) + lines("specs", answer.specs) + "next " +
         (answer.next ? std::to_string(answer.next->us) : "-");
}
std::string text(const LoadAnswer& answer) { return lines("loaded", answer.jobs) + lines("specs", answer.specs); }
std::string text(const std::vector<OutcomeRow>& endings) { return lines("endings", endings); }

}  // namespace futured
