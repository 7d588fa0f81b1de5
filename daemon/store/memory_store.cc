// The store without a disk: the same promises except durability, in plain maps. The conformance suite holds both to
// them.
#include <algorithm>
#include <iterator>
#include <map>
#include <mutex>
#include <set>

#include "base/check.h"
#include "base/limits.h"
#include "base/payload.h"
#include "daemon/store/callback_reads.h"
#include "daemon/store/store.h"
#include "daemon/store/taken_results.h"

namespace futured {
namespace {

Ending copy_of(const Ending& ending, bool with_result = true) {
  Ending copy;
  copy.state = ending.state;
  copy.attempt = ending.attempt;
  copy.epoch = ending.epoch;
  copy.started_at = ending.started_at;
  copy.finished_at = ending.finished_at;
  if (with_result) copy.result = ending.result;
  if (ending.cause) copy.cause = std::make_unique<Cause>(*ending.cause);
  return copy;
}

struct Job {
  StoredJob row;  // attempts, in_backlog and the like are worked out when it is read
  Ending ending;
  std::map<std::pair<std::uint32_t, Epoch>, AttemptRow> attempts;
};

// What a Batch changes; readers of other threads share it under `mutex`.
struct Rows {
  std::mutex mutex;
  Epoch epoch;
  std::string spawner_instance;
  std::uint64_t ids_reserved_until = 1;
  std::map<SpecId, JobSpec> specs;
  std::set<SpecId> held_specs;  // that the core has not forgotten
  std::map<QueueId, QueueRow> queues;
  std::map<PoolId, PoolRow> pools;
  std::map<std::string, std::uint32_t> semaphores;
  std::map<JobId, Job> jobs;
  std::set<JobId> started;
  std::map<JobId, CancelRow> cancels;
  std::set<BacklogKey> backlog;
  std::set<JobId> in_backlog;
  std::set<DelayedKey> delayed;
  std::set<JobId> waiting;  // of them
  std::map<std::pair<WallTime, JobId>, std::uint32_t> deadlines;
  std::map<KeyQuery, KeyRow> keys;
  std::map<CallbackId, CallbackRow> callbacks;
  std::map<CallbackId, DeliveryRow> deliveries;
  std::map<JobId, WholeBatchRow> whole_batches;
  std::map<std::string, ScheduleRow> schedules;
  std::map<JobId, std::shared_ptr<const CacheKey>> cache_keys;
  std::map<JobId, std::pair<CacheEntryRow, std::shared_ptr<const CachedOutcome>>> cache;
  std::map<DependencyKey, DependencyRow> dependencies;
  std::map<std::string, WallTime> events;
  std::map<JobId, std::uint32_t> batches;
  std::set<JobId> open;             // unfinished, and neither in the backlog nor delayed
  JobId newest;                     // that ever was
  CallbackId newest_callback;       // likewise, of those that were registered later
  std::uint64_t trimmed_until = 0;  // as SQLite would have it: no job below it is due that may go
};

std::vector<SpecRow> specs_of(const Rows& rows, const std::set<SpecId>& wanted) {
  std::vector<SpecRow> specs;
  for (const SpecId id : wanted) specs.push_back({id, rows.specs.at(id)});
  return specs;
}

void count_attempts(const Job& job, StoredJob& stored) {
  for (const auto& [key, attempt] : job.attempts) {
    stored.count_attempt(attempt.fence.attempt, attempt.charge, attempt.retry_at, attempt.next_memory_bytes_max);
  }
}

StoredJob stored(const Rows& rows, const Job& job) {
  StoredJob read = job.row;
  read.state = job.ending.state;
  read.in_backlog = rows.in_backlog.contains(read.id);
  read.delayed = rows.waiting.contains(read.id);
  read.started = rows.started.contains(read.id);
  if (const auto key = rows.cache_keys.find(read.id); key != rows.cache_keys.end()) read.cache_key = key->second;
  count_attempts(job, read);
  return read;
}

// As a claim or a load has it.
StoredJob with_results(const Rows& rows, StoredJob job) {
  if (is_terminal(job.state) || !names_result(job.payload.view())) return job;
  const Status put = put_results(job, [&](JobId parent) -> Result<std::optional<std::string>> {
    const auto found = rows.jobs.find(parent);
    if (found == rows.jobs.end()) return Error{ErrorCode::kNotFound, "it is not kept any more"};
    const Ending& ending = found->second.ending;
    return ending.state == JobState::kSucceeded ? std::optional(ending.result) : std::nullopt;
  });
  FUTURED_CHECK(put.ok(), "memory can be read");
  return job;
}

BatchRow batch_of_job(const Rows& rows, JobId job) {
  const auto after = rows.batches.upper_bound(job);
  if (after != rows.batches.begin()) {
    const auto& [first, count] = *std::prev(after);
    if (job.value < first.value + count) return {first, count};
  }
  return {job, rows.jobs.contains(job) ? 1U : 0U};
}

class MemoryReader : public StoreReader, private CallbackTables {
 public:
  explicit MemoryReader(std::shared_ptr<Rows> rows) : rows_(std::move(rows)) {}

  Result<std::optional<JobRecord>> get(JobId id, bool with_payload) override;
  Result<JobPage> list(const JobQuery& query) override;
  using StoreReader::endings;
  Result<EndingsPage> endings(const std::vector<JobId>& ids, std::size_t bytes_max) override;
  Result<std::optional<KeyRow>> find_key(const KeyQuery& key) override;
  Result<std::optional<CallbackRecord>> callback(CallbackId id) override;
  Result<std::optional<DeliveryRecord>> delivery(CallbackId id) override;
  Result<CallbackPage> callbacks(const CallbackQuery& query) override;
  Result<BatchRow> batch_with(JobId job) override {
    const std::lock_guard lock(rows_->mutex);
    return batch_of_job(*rows_, job);
  }
  Result<std::uint64_t> trimmed_until() override {
    const std::lock_guard lock(rows_->mutex);
    return rows_->trimmed_until;
  }
  Result<std::vector<JobId>> gone(const std::vector<JobId>& ids) override {
    const std::lock_guard lock(rows_->mutex);
    std::vector<JobId> gone = ids;
    std::erase_if(gone, [this](JobId id) { return id.value >= rows_->trimmed_until || rows_->jobs.contains(id); });
    return gone;
  }

 private:
  Result<std::optional<JobRecord>> job_row(JobId id, bool with_result) override;
  Result<std::optional<DeliveryRow>> delivery_row(CallbackId id) override;
  Result<std::optional<CallbackRow>> callback_row(CallbackId id) override;
  Result<std::uint32_t> not_succeeded(JobId first, std::uint32_t count) override;
  Result<std::vector<CallbackId>> later_callbacks(JobId job, std::uint64_t after, std::uint32_t rows_max) override;
  Result<std::vector<DeliveryRow>> delivery_rows(std::uint64_t after, std::uint32_t rows_max,
                                                 bool failed_only) override;
  Result<std::optional<WholeBatchRow>> batch_of(JobId job) override;

  std::shared_ptr<Rows> rows_;
};

class MemoryStore : public Store {
 public:
  Result<Snapshot> snapshot() override;
  Status begin_epoch(Epoch epoch, const std::string& spawner_instance) override;
  std::optional<CommitError> commit(const Batch& batch) override;
  Result<ClaimAnswer> claim(const Claim& claim) override;
  Result<LoadAnswer> load(const std::vector<JobId>& ids) override;
  Result<KeyAnswer> find_keys(const std::vector<KeyQuery>& keys) override;
  Result<DelayedAnswer> claim(const DelayedClaim& claim) override;
  Result<DeliveryClaimAnswer> claim(const DeliveryClaim& claim) override;
  Result<BatchAnswer> read_batch(const BatchQuery& query) override;
  Result<CacheAnswer> read_cache(const std::vector<JobId>& entries) override;
  Result<TrimAnswer> trim(const TrimQuestion& question) override;
  std::unique_ptr<StoreReader> reader() override { return std::make_unique<MemoryReader>(rows_); }

 private:
  std::shared_ptr<Rows> rows_ = std::make_shared<Rows>();
};

// A key goes with the last of its jobs.
std::optional<KeyRow> find(const Rows& rows, const KeyQuery& key) {
  const auto found = rows.keys.find(key);
  if (found == rows.keys.end()) return std::nullopt;
  const std::uint64_t until = found->second.first.value + found->second.count;
  const auto job = rows.jobs.lower_bound(found->second.first);
  const bool is_left = until > rows.trimmed_until || (job != rows.jobs.end() && job->first.value < until);
  return is_left ? std::optional<KeyRow>(found->second) : std::nullopt;
}

// What SQLite's primary keys refuse, asked before anything is changed.
bool contradicts(const Rows& rows, const Batch& batch) {
  JobId newest = rows.newest;
  std::set<JobId> ended;
  for (const JobRow& row : batch.jobs) {
    if (row.id <= newest) return true;
    newest = row.id;
  }
  for (const OutcomeRow& row : batch.outcomes) {
    const auto job = rows.jobs.find(row.id);
    const bool ended_before = job != rows.jobs.end() && is_terminal(job->second.ending.state);
    if (ended_before || !ended.insert(row.id).second) return true;
  }
  const auto has_no_delay = [&](const DelayedKey& key) { return !rows.delayed.contains(key); };
  if (std::ranges::any_of(batch.delayed_removed, has_no_delay)) return true;
  const std::set<BacklogKey> gone(batch.backlog_removed.begin(), batch.backlog_removed.end());
  const auto has_key = [&](const BacklogKey& key) { return rows.backlog.contains(key) && !gone.contains(key); };
  const auto has_callback = [&](const CallbackRow& row) { return rows.callbacks.contains(row.id); };
  if (std::ranges::any_of(batch.callbacks, has_callback)) return true;
  const auto has_used = [&](const KeyRow& row) { return find(rows, row.key).has_value(); };
  return std::ranges::any_of(batch.backlog_added, has_key) || std::ranges::any_of(batch.keys_added, has_used);
}

void commit_cache(Rows& rows, const Batch& batch) {
  for (const CacheKeyRow& row : batch.cache_keys_added) rows.cache_keys[row.job] = row.key;
  for (const JobId job : batch.cache_keys_removed) rows.cache_keys.erase(job);
  for (const CacheEntryRow& row : batch.cache_added) {
    const Ending& ending = rows.jobs.at(row.job).ending;
    CachedOutcome outcome{ending.state, nullptr, ending.result};
    if (ending.cause) outcome.cause = std::make_shared<const Cause>(*ending.cause);
    rows.cache[row.job] = {row, std::make_shared<const CachedOutcome>(std::move(outcome))};
  }
  for (const CacheUseRow& row : batch.cache_used) {
    const auto entry = rows.cache.find(row.job);
    if (entry == rows.cache.end()) continue;
    entry->second.first.hits = row.hits;
    entry->second.first.used_at = row.used_at;
  }
  for (const JobId job : batch.cache_removed) rows.cache.erase(job);
}

std::optional<CommitError> MemoryStore::commit(const Batch& batch) {
  Rows& rows = *rows_;
  const std::lock_guard lock(rows.mutex);
  if (contradicts(rows, batch)) {
    return CommitError{CommitFault::kUnknown, {ErrorCode::kInternal, "a batch contradicts what is stored"}};
  }
  for (const SpecRow& row : batch.specs) {
    rows.specs.emplace(row.id, row.spec);
    rows.held_specs.insert(row.id);
  }
  for (const SpecForgotten& row : batch.specs_forgotten) rows.held_specs.erase(row.id);
  for (const QueueId id : batch.queues_removed) rows.queues.erase(id);
  for (const QueueRow& row : batch.queues) {
    QueueRow& queue = rows.queues[row.id];
    const std::uint64_t bytes = queue.bytes;
    queue = row;
    queue.bytes = bytes;
  }
  for (const QueueBytes& row : batch.queue_bytes) {
    if (const auto queue = rows.queues.find(row.queue); queue != rows.queues.end()) queue->second.bytes = row.bytes;
  }
  for (const PoolRow& row : batch.pools) rows.pools.insert_or_assign(row.id, row);
  for (const SemaphoreRow& row : batch.semaphores) rows.semaphores[row.name] = row.permits;
  for (const std::string& name : batch.semaphores_removed) rows.semaphores.erase(name);
  for (const JobRow& row : batch.jobs) {
    Job& job = rows.jobs[row.id];
    job.row = {.id = row.id,
               .spec = row.spec,
               .owner = row.owner,
               .retry_of = row.retry_of,
               .submitted_at = row.submitted_at,
               .payload = SharedBytes::of(std::string(row.payload.view())),
               .lineage = row.lineage,
               .start_at = row.start_at};
    job.ending = copy_of(row.ending);
    if (!is_terminal(job.ending.state)) rows.open.insert(row.id);
    rows.newest = row.id;
  }
  for (const MovedRow& row : batch.moved) {
    rows.jobs.at(row.job).row.spec = row.spec;
    if (row.opens) rows.open.insert(row.job);
  }
  for (const DelayedKey& key : batch.delayed_removed) {
    rows.delayed.erase(key);
    rows.waiting.erase(key.job);
    rows.open.insert(key.job);
  }
  for (const DelayedKey& key : batch.delayed_added) {
    rows.delayed.insert(key);
    rows.waiting.insert(key.job);
    rows.open.erase(key.job);
  }
  for (const OutcomeRow& row : batch.outcomes) {
    FUTURED_CHECK(is_terminal(row.ending.state), "only what has ended has an ending");
    rows.jobs[row.id].ending = copy_of(row.ending);
    rows.open.erase(row.id);
  }
  for (const AttemptRow& row : batch.attempts) {
    rows.jobs[row.fence.job].attempts.insert_or_assign({row.fence.attempt, row.fence.epoch}, row);
  }
  for (const StartRow& row : batch.starts) rows.started.insert(row.fence.job);
  for (const CancelRow& row : batch.cancels_added) rows.cancels.insert_or_assign(row.job, row);
  for (const JobId job : batch.cancels_removed) rows.cancels.erase(job);
  for (const BacklogKey& key : batch.backlog_removed) {
    rows.backlog.erase(key);
    rows.in_backlog.erase(job_of(key.key));
  }
  for (const BacklogKey& key : batch.backlog_added) {
    rows.backlog.insert(key);
    rows.in_backlog.insert(job_of(key.key));
    rows.open.erase(job_of(key.key));
  }
  for (const DeadlineRow& row : batch.deadlines_removed) rows.deadlines.erase({row.at, row.first});
  for (const DeadlineRow& row : batch.deadlines_added) rows.deadlines[{row.at, row.first}] = row.count;
  for (const KeyRow& row : batch.keys_added) rows.keys.insert_or_assign(row.key, row);
  for (const CallbackRow& row : batch.callbacks) {
    rows.callbacks.emplace(row.id, row);
    rows.newest_callback = row.id;
  }
  for (const DeliveryRow& row : batch.deliveries) rows.deliveries.insert_or_assign(row.id, row);
  for (const WholeBatchRow& row : batch.whole_batches) rows.whole_batches.insert_or_assign(row.first, row);
  for (const ScheduleRow& row : batch.schedules) {
    if (row.is_removed) {
      rows.schedules.erase(row.name);
    } else {
      rows.schedules.insert_or_assign(row.name, row);
    }
  }
  commit_cache(rows, batch);
  for (const DependencyRow& row : batch.dependencies)
    rows.dependencies.emplace(DependencyKey{row.job, row.number}, row);
  for (const DependencyClosed& closed : batch.dependencies_closed) {
    rows.dependencies.at({closed.job, closed.number}).state = closed.state;
  }
  for (const NamedEventRow& row : batch.events_set) rows.events[row.name] = row.set_at;
  for (const std::string& name : batch.events_cleared) rows.events.erase(name);
  for (const BatchRow& row : batch.batches) rows.batches[row.first] = row.count;
  if (batch.ids_reserved_until != 0) rows.ids_reserved_until = batch.ids_reserved_until;
  return std::nullopt;
}

Result<Snapshot> MemoryStore::snapshot() {
  Rows& rows = *rows_;
  const std::lock_guard lock(rows.mutex);
  Snapshot snapshot;
  snapshot.epoch = rows.epoch;
  snapshot.spawner_instance = rows.spawner_instance;
  snapshot.ids_reserved_until = rows.ids_reserved_until;
  snapshot.specs_until = rows.specs.empty() ? 1 : rows.specs.rbegin()->first.value + 1;
  for (const auto& [id, queue] : rows.queues) snapshot.queues.push_back(queue);
  for (const auto& [id, pool] : rows.pools) snapshot.pools.push_back(pool);
  for (const auto& [name, permits] : rows.semaphores) snapshot.semaphores.push_back({name, permits});
  std::set<std::pair<std::string, std::string>> needs;
  for (const auto& [id, spec] : rows.specs) {
    for (const Need& need : spec.needs) needs.emplace(spec.queue, need.semaphore);
  }
  snapshot.needs.assign(needs.begin(), needs.end());
  for (const BacklogKey& key : rows.backlog) {
    if (snapshot.backlog.empty() || snapshot.backlog.back().queue != key.queue ||
        snapshot.backlog.back().pool != key.pool) {
      snapshot.backlog.push_back({key.queue, key.pool, 0});
    }
    ++snapshot.backlog.back().jobs;
  }
  std::map<std::pair<QueueId, PoolId>, std::uint64_t> delayed;
  for (const DelayedKey& key : rows.delayed) ++delayed[{key.queue, key.pool}];
  for (const auto& [lane, jobs] : delayed) snapshot.delayed.push_back({lane.first, lane.second, jobs});
  if (!rows.delayed.empty()) snapshot.next_delayed = rows.delayed.begin()->at;
  for (const auto& [key, count] : rows.deadlines) snapshot.deadlines.push_back({key.first, key.second, count});
  std::set<SpecId> specs;
  for (const JobId id : rows.open) {
    snapshot.resident.push_back(stored(rows, rows.jobs.at(id)));
    specs.insert(snapshot.resident.back().spec);
  }
  for (const auto& [name, row] : rows.schedules) {
    const auto last = rows.jobs.find(row.last_job);
    snapshot.schedules.push_back({row, last != rows.jobs.end() && !is_terminal(last->second.ending.state)});
    specs.insert(row.spec);
  }
  snapshot.specs = specs_of(rows, specs);
  for (const auto& [job, entry] : rows.cache) snapshot.cache.push_back(entry.first);
  for (const auto& [key, row] : rows.dependencies) {
    if (row.state == DependencyState::kOpen) snapshot.dependencies.push_back(row);
  }
  for (const auto& [name, set_at] : rows.events) snapshot.events.push_back({name, set_at});
  for (const auto& [job, row] : rows.cancels) {
    if (!is_terminal(rows.jobs.at(job).ending.state)) snapshot.cancels.push_back(row);
  }
  snapshot.callbacks_until = rows.newest_callback.value / 2 + 1;
  std::map<std::uint32_t, WallTime> lanes;
  for (const auto& [id, row] : rows.deliveries) {
    if (row.state == DeliveryState::kWaiting) snapshot.waiting_callbacks.push_back(rows.callbacks.at(id));
    if (row.state != DeliveryState::kDelivering) continue;
    const auto [lane, is_new] = lanes.emplace(row.lane, row.at);
    if (!is_new) lane->second = std::min(lane->second, row.at);
  }
  for (const auto& [lane, first_at] : lanes) snapshot.deliveries.push_back({lane, first_at});
  for (const auto& [first, row] : rows.whole_batches) {
    if (row.ended < row.count) snapshot.whole_batches.push_back(row);
  }
  return snapshot;
}

Status MemoryStore::begin_epoch(Epoch epoch, const std::string& spawner_instance) {
  const std::lock_guard lock(rows_->mutex);
  rows_->epoch = epoch;
  rows_->held_specs.clear();
  rows_->spawner_instance = spawner_instance;
  return {};
}

Result<ClaimAnswer> MemoryStore::claim(const Claim& claim) {
  Rows& rows = *rows_;
  const std::lock_guard lock(rows.mutex);
  ClaimAnswer answer{.claim = claim, .jobs = {}, .specs = {}};
  std::set<SpecId> specs;
  std::uint64_t bytes = 0;
  const OrderKey first{INT64_MIN, INT64_MIN};
  for (auto at = rows.backlog.upper_bound({claim.queue, claim.pool, claim.after.value_or(first)});
       at != rows.backlog.end() && at->queue == claim.queue && at->pool == claim.pool; ++at) {
    if (answer.jobs.size() == claim.jobs_max) break;
    StoredJob job = with_results(rows, stored(rows, rows.jobs.at(job_of(at->key))));
    bytes += job.payload.size;
    if (bytes > claim.bytes_max && !answer.jobs.empty()) break;
    specs.insert(job.spec);
    answer.jobs.push_back({at->key, std::move(job)});
  }
  answer.specs = specs_of(rows, specs);
  return answer;
}

Result<DelayedAnswer> MemoryStore::claim(const DelayedClaim& claim) {
  Rows& rows = *rows_;
  const std::lock_guard lock(rows.mutex);
  DelayedAnswer answer{claim, {}, {}, {}};
  std::set<SpecId> specs;
  std::uint64_t bytes = 0;
  for (const DelayedKey& key : rows.delayed) {
    StoredJob job = with_results(rows, stored(rows, rows.jobs.at(key.job)));
    bytes += job.payload.size;
    const bool is_full = answer.jobs.size() == claim.jobs_max || (bytes > claim.bytes_max && !answer.jobs.empty());
    if (key.at > claim.until || is_full) {
      answer.next = key.at;
      break;
    }
    specs.insert(job.spec);
    answer.jobs.push_back(std::move(job));
  }
  answer.specs = specs_of(rows, specs);
  return answer;
}

Result<BatchAnswer> MemoryStore::read_batch(const BatchQuery& query) {
  const std::lock_guard lock(rows_->mutex);
  BatchAnswer answer{query, {}};
  answer.batch = query.count != 0 ? BatchRow{query.first, query.count} : batch_of_job(*rows_, query.first);
  if (answer.batch.first != query.first) return answer;
  const JobId end{answer.batch.first.value + answer.batch.count};
  for (auto job = rows_->jobs.lower_bound(answer.batch.first); job != rows_->jobs.end() && job->first < end; ++job) {
    answer.jobs.push_back({job->first, job->second.row.owner, job->second.ending.state});
  }
  return answer;
}

Result<CacheAnswer> MemoryStore::read_cache(const std::vector<JobId>& entries) {
  const std::lock_guard lock(rows_->mutex);
  CacheAnswer answer;
  for (const JobId entry : entries) {
    const auto found = rows_->cache.find(entry);
    answer.push_back(found != rows_->cache.end() ? found->second.second : nullptr);
  }
  return answer;
}

Result<DeliveryClaimAnswer> MemoryStore::claim(const DeliveryClaim& claim) {
  Rows& rows = *rows_;
  const std::lock_guard lock(rows.mutex);
  DeliveryClaimAnswer answer{claim, {}};
  for (const auto& [id, row] : rows.deliveries) {
    if (row.lane == claim.lane && row.state == DeliveryState::kDelivering) answer.rows.push_back(row);
  }
  std::ranges::sort(answer.rows, {}, [](const DeliveryRow& row) { return std::pair(row.at, row.id); });
  if (answer.rows.size() > claim.rows_max) answer.rows.resize(claim.rows_max);
  for (DeliveryRow& row : answer.rows) row.error.clear();
  return answer;
}

bool is_pending(const DeliveryRow& row) {
  return row.state == DeliveryState::kWaiting || row.state == DeliveryState::kDelivering ||
         row.state == DeliveryState::kBehind;
}

// By a callback of its own or of its batch that has still to be delivered, by a batch that has not ended, by a job that
// takes its result, or by one that waits for its batch.
bool is_needed(const Rows& rows, JobId id) {
  const auto covers = [&](JobId first, std::uint32_t count) {
    return first <= id && id.value < first.value + std::max(count, 1U);
  };
  const bool is_waited_for = std::ranges::any_of(rows.dependencies, [&](const auto& entry) {
    const DependencyRow& row = entry.second;
    if (row.state == DependencyState::kOpen && row.on.batch_jobs > 0 && covers(row.on.job, row.on.batch_jobs)) {
      return true;
    }
    return row.on.takes_result && row.on.job == id && !is_terminal(rows.jobs.at(row.job).ending.state);
  });
  if (is_waited_for) return true;
  std::set<JobId> asked{id};
  for (const auto& [first, batch] : rows.whole_batches) {
    if (!covers(first, batch.count)) continue;
    if (batch.ended < batch.count) return true;
    asked.insert(first);
  }
  return std::ranges::any_of(rows.deliveries, [&](const auto& entry) {
    if (!is_pending(entry.second)) return false;
    if (!is_later(entry.first)) return asked.contains(job_of(entry.first));
    const CallbackRow& callback = rows.callbacks.at(entry.first);
    return covers(callback.job, callback.batch_jobs);
  });
}

void remove_job(Rows& rows, JobId id) {
  rows.jobs.erase(id);
  rows.started.erase(id);
  rows.cancels.erase(id);
  std::erase_if(rows.dependencies, [&](const auto& entry) { return entry.first.job == id; });
  std::erase_if(rows.deliveries, [&](const auto& entry) {
    return is_later(entry.first) ? rows.callbacks.at(entry.first).job == id : job_of(entry.first) == id;
  });
  std::erase_if(rows.callbacks, [&](const auto& entry) { return entry.second.job == id; });
  std::erase_if(rows.whole_batches, [&](const auto& entry) {
    const auto left = rows.jobs.lower_bound(entry.first);
    return entry.second.ended >= entry.second.count &&
           (left == rows.jobs.end() || left->first.value >= entry.first.value + entry.second.count);
  });
  std::erase_if(rows.batches, [&](const auto& entry) {
    const auto left = rows.jobs.lower_bound(entry.first);
    return left == rows.jobs.end() || left->first.value >= entry.first.value + entry.second;
  });
}

// Options that no job and no schedule names, and keys whose jobs are gone. The newest options stay, so that no number
// is given twice.
void remove_unused(Rows& rows, TrimAnswer& answer) {
  std::set<SpecId> used = rows.held_specs;
  for (const auto& [id, job] : rows.jobs) used.insert(job.row.spec);
  for (const auto& [name, schedule] : rows.schedules) used.insert(schedule.spec);
  if (!rows.specs.empty()) used.insert(rows.specs.rbegin()->first);
  answer.removed_specs = std::erase_if(rows.specs, [&](const auto& entry) { return !used.contains(entry.first); });
  answer.removed_keys = std::erase_if(rows.keys, [&](const auto& entry) { return !find(rows, entry.first); });
}

// Looks at all jobs at every step, and has no size that bytes_max could be held against: this store is for tests.
Result<TrimAnswer> MemoryStore::trim(const TrimQuestion& question) {
  Rows& rows = *rows_;
  const std::lock_guard lock(rows.mutex);
  const std::uint64_t surplus = surplus_until(question.policy, rows.newest.value);
  TrimAnswer answer;
  for (const auto& [id, job] : rows.jobs) {
    if (answer.removed.size() == question.jobs_max) break;
    if (!is_terminal(job.ending.state)) continue;
    const Duration own = rows.specs.at(job.row.spec).retention;
    const WallTime due = kept_until(job.ending.finished_at, age_of(question.policy, job.ending.state, own));
    if (due > question.now && id.value > surplus) continue;
    if (!is_needed(rows, id)) answer.removed.push_back(id);
  }
  for (const JobId id : answer.removed) {
    const Job& job = rows.jobs.at(id);
    answer.removed_bytes += job.row.payload.size + job.ending.result.size();
    remove_job(rows, id);
    rows.trimmed_until = std::max(rows.trimmed_until, id.value + 1);
  }
  remove_unused(rows, answer);
  answer.trimmed_until = rows.trimmed_until;
  answer.more = answer.removed.size() == question.jobs_max;
  return answer;
}

Result<LoadAnswer> MemoryStore::load(const std::vector<JobId>& ids) {
  Rows& rows = *rows_;
  const std::lock_guard lock(rows.mutex);
  LoadAnswer answer;
  std::set<SpecId> specs;
  for (const JobId id : std::set<JobId>(ids.begin(), ids.end())) {
    const auto job = rows.jobs.find(id);
    if (job == rows.jobs.end()) continue;
    answer.jobs.push_back(with_results(rows, stored(rows, job->second)));
    specs.insert(job->second.row.spec);
  }
  answer.specs = specs_of(rows, specs);
  return answer;
}

Result<KeyAnswer> MemoryStore::find_keys(const std::vector<KeyQuery>& keys) {
  const std::lock_guard lock(rows_->mutex);
  KeyAnswer answer;
  for (const KeyQuery& key : keys) answer.push_back(find(*rows_, key));
  return answer;
}

Result<std::optional<KeyRow>> MemoryReader::find_key(const KeyQuery& key) {
  const std::lock_guard lock(rows_->mutex);
  return find(*rows_, key);
}

// What a page and a single job have in common: no payload, no attempts.
JobRecord record_of(const Rows& rows, const Job& job, bool with_result) {
  JobRecord record{.job = job.row, .spec = rows.specs.at(job.row.spec), .ending = {}, .attempts = {}};
  record.job.payload = {};
  record.job.state = job.ending.state;
  record.ending = copy_of(job.ending, with_result);
  return record;
}

Result<std::optional<JobRecord>> MemoryReader::get(JobId id, bool with_payload) {
  const std::lock_guard lock(rows_->mutex);
  const auto job = rows_->jobs.find(id);
  if (job == rows_->jobs.end()) return std::optional<JobRecord>();
  JobRecord record = record_of(*rows_, job->second, true);
  if (with_payload) record.job.payload = job->second.row.payload;
  count_attempts(job->second, record.job);
  for (const auto& [key, attempt] : job->second.attempts) record.attempts.push_back(attempt);
  record.batch = batch_of_job(*rows_, id).first;
  for (auto row = rows_->dependencies.lower_bound({id, 0}); row != rows_->dependencies.end() && row->first.job == id;
       ++row) {
    record.dependencies.push_back(row->second);
  }
  return std::optional<JobRecord>(std::move(record));
}

Result<JobPage> MemoryReader::list(const JobQuery& query) {
  const std::lock_guard lock(rows_->mutex);
  const auto wanted = [](const std::string& asked, const std::string& is) { return asked.empty() || asked == is; };
  JobPage page;
  std::uint64_t scanned = 0;
  const auto begin = query.oldest_first ? rows_->jobs.upper_bound(JobId{query.after}) : rows_->jobs.begin();
  const auto end = query.before == 0 ? rows_->jobs.end() : rows_->jobs.lower_bound(JobId{query.before});
  // False: the page is full.
  const auto look_at = [&](const Job& job) {
    if (query.parent.is_set() && query.parent != job.row.lineage.parent) return true;
    if (scanned++ == query.scan_max || page.jobs.size() == query.jobs_max) return false;
    page.next_before = job.row.id.value;
    if (!query.wants(job.ending)) return true;
    const JobSpec& spec = rows_->specs.at(job.row.spec);
    if (!query.states.empty() && std::ranges::find(query.states, job.ending.state) == query.states.end()) return true;
    if (!wanted(query.queue, spec.queue) || !wanted(query.name, spec.name) || !wanted(query.task, spec.task)) {
      return true;
    }
    page.jobs.push_back(record_of(*rows_, job, false));
    page.jobs.back().batch = batch_of_job(*rows_, job.row.id).first;
    return true;
  };
  if (query.oldest_first) {
    if (query.before != 0 && query.after >= query.before) return page;
    for (auto at = begin; at != end; ++at) {
      if (!look_at(at->second)) return page;
    }
  } else {
    for (auto at = std::make_reverse_iterator(end); at != rows_->jobs.rend(); ++at) {
      if (!look_at(at->second)) return page;
    }
  }
  page.next_before = 0;
  return page;
}

Result<EndingsPage> MemoryReader::endings(const std::vector<JobId>& ids, std::size_t bytes_max) {
  if (ids.size() > limits::kListPageMax) {
    return Error{ErrorCode::kInvalidArgument,
                 "endings of more than " + std::to_string(limits::kListPageMax) + " jobs asked at once"};
  }
  const std::lock_guard lock(rows_->mutex);
  EndingsPage page;
  std::size_t bytes = 0;
  for (const JobId id : ids) {
    if (page.ids > 0 && bytes >= bytes_max) break;
    ++page.ids;
    const auto job = rows_->jobs.find(id);
    if (job == rows_->jobs.end()) continue;
    page.rows.push_back({id, copy_of(job->second.ending)});
    bytes += page.rows.back().ending.result.size();
  }
  return page;
}

Result<std::optional<CallbackRecord>> MemoryReader::callback(CallbackId id) {
  const std::lock_guard lock(rows_->mutex);
  return read_callback_record(*this, id);
}

Result<std::optional<DeliveryRecord>> MemoryReader::delivery(CallbackId id) {
  const std::lock_guard lock(rows_->mutex);
  return read_delivery_record(*this, id);
}

Result<CallbackPage> MemoryReader::callbacks(const CallbackQuery& query) {
  const std::lock_guard lock(rows_->mutex);
  return read_callback_page(*this, query);
}

// From here on under the mutex.
Result<std::optional<JobRecord>> MemoryReader::job_row(JobId id, bool with_result) {
  const auto job = rows_->jobs.find(id);
  if (job == rows_->jobs.end()) return std::optional<JobRecord>();
  return std::optional(record_of(*rows_, job->second, with_result));
}

Result<std::optional<DeliveryRow>> MemoryReader::delivery_row(CallbackId id) {
  const auto row = rows_->deliveries.find(id);
  return row != rows_->deliveries.end() ? std::optional(row->second) : std::nullopt;
}

Result<std::optional<CallbackRow>> MemoryReader::callback_row(CallbackId id) {
  const auto row = rows_->callbacks.find(id);
  return row != rows_->callbacks.end() ? std::optional(row->second) : std::nullopt;
}

Result<std::vector<CallbackId>> MemoryReader::later_callbacks(JobId job, std::uint64_t after, std::uint32_t rows_max) {
  std::vector<CallbackId> ids;
  for (auto at = rows_->callbacks.upper_bound(CallbackId{after}); at != rows_->callbacks.end(); ++at) {
    if (at->second.job == job && ids.size() < rows_max) ids.push_back(at->first);
  }
  return ids;
}

Result<std::uint32_t> MemoryReader::not_succeeded(JobId first, std::uint32_t count) {
  std::uint32_t found = 0;
  const JobId end{first.value + count};
  for (auto job = rows_->jobs.lower_bound(first); job != rows_->jobs.end() && job->first < end; ++job) {
    if (job->second.ending.state != JobState::kSucceeded) ++found;
  }
  return found;
}

Result<std::vector<DeliveryRow>> MemoryReader::delivery_rows(std::uint64_t after, std::uint32_t rows_max,
                                                             bool failed_only) {
  std::vector<DeliveryRow> rows;
  for (auto at = rows_->deliveries.upper_bound(CallbackId{after}); at != rows_->deliveries.end(); ++at) {
    if (failed_only && at->second.state != DeliveryState::kFailed) continue;
    if (rows.size() < rows_max) rows.push_back(at->second);
  }
  return rows;
}

Result<std::optional<WholeBatchRow>> MemoryReader::batch_of(JobId job) {
  auto at = rows_->whole_batches.upper_bound(job);
  if (at == rows_->whole_batches.begin()) return std::optional<WholeBatchRow>();
  const WholeBatchRow& row = (--at)->second;
  return job.value < row.first.value + row.count ? std::optional(row) : std::nullopt;
}

}  // namespace

std::unique_ptr<Store> make_memory_store() { return std::make_unique<MemoryStore>(); }

}  // namespace futured
