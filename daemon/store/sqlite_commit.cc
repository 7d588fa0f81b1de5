#include <sqlite3.h>

#include <algorithm>

#include "base/check.h"
#include "daemon/store/cause_code.h"
#include "daemon/store/sqlite_rows.h"
#include "daemon/store/sqlite_store.h"

namespace futured {
namespace {

// Work that a commit may do for the low-water mark beside its own rows.
constexpr std::size_t kPassedMin = 1024;
// The WAL has grown to so many times its length: a reader was always in the way, so wait for it once.
constexpr std::int64_t kWalLengthsMax = 16;

constexpr int kEndingParameters = 7;

// `since` is what finished_at is counted from.
void bind_ending(Statement& statement, int first, const Ending& ending, WallTime since, const StoredForms& forms) {
  statement.bind(first, static_cast<std::int32_t>(ending.state));
  statement.bind(first + 1, ending.attempt);
  statement.bind(first + 2, ending.epoch.value);
  statement.bind(first + 3, ending.finished_at.us - since.us);
  bind_ran(statement, first + 4, ending.started_at, ending.finished_at);
  if (ending.cause) {
    statement.bind_copy(first + 5, encode_cause(*ending.cause));
  } else {
    statement.bind_null(first + 5);
  }
  if (ending.result.empty()) {
    statement.bind_null(first + 6);
  } else {
    statement.bind_blob(first + 6, forms.of(ending.result));
  }
}

}  // namespace

bool SqliteStore::rolls_back(int code) {
  const int primary = code & 0xff;
  return primary == SQLITE_FULL || primary == SQLITE_BUSY || primary == SQLITE_NOMEM || code == SQLITE_IOERR_NOMEM;
}

std::optional<CommitError> SqliteStore::commit(const Batch& batch) {
  if (!broken_) {
    if (const Status found = find_open_jobs(); !found) broken_ = found.error();
  }
  if (!broken_) tend();
  if (broken_) return CommitError{CommitFault::kUnknown, *broken_};
  if (batch.empty()) return std::nullopt;

  Status filed = write_files(batch);
  if (!filed && filed.error().code == ErrorCode::kResourceExhausted && spend_reserve()) filed = write_files(batch);
  // Nothing was stored, and what is tried again begins with files of its own: so it may be, whatever went wrong.
  if (!filed) return CommitError{CommitFault::kRolledBack, filed.error().in("database " + path_)};
  forms_.stay();

  const MarkStep step = next_mark(batch.jobs.size());
  int code = write(batch, step);
  if ((code & 0xff) == SQLITE_FULL && spend_reserve()) code = write(batch, step);
  if (code == SQLITE_OK) {
    remember(batch);
    drop_unused_files();
    mark_ = step.mark;
    return std::nullopt;
  }
  if (rolls_back(code) && !broken_) return CommitError{CommitFault::kRolledBack, fault(code)};
  if (!broken_) {
    broken_ = (code & 0xff) == SQLITE_CONSTRAINT
                  ? Error{ErrorCode::kInternal, "database " + path_ + ": a batch contradicts what is stored"}
                  : fault(code);
  }
  return CommitError{CommitFault::kUnknown, *broken_};
}

bool SqliteStore::writes_files(const Batch& batch) const {
  return std::ranges::any_of(batch.jobs,
                             [](const JobRow& row) {
                               return StoredForms::has_files(row.payload.view()) ||
                                      StoredForms::has_files(row.ending.result);
                             }) ||
         std::ranges::any_of(batch.outcomes,
                             [](const OutcomeRow& row) { return StoredForms::has_files(row.ending.result); });
}

// Those that are there already, as what a keeper wrote, cost their hash.
Status SqliteStore::write_files(const Batch& batch) {
  StoredForms forms(files_);
  for (const JobRow& row : batch.jobs) {
    if (const Status added = forms.add_payload(row.id, row.payload.view()); !added) return added;
    if (const Status added = forms.add(row.id, row.ending.result); !added) return added;
  }
  for (const OutcomeRow& row : batch.outcomes) {
    if (const Status added = forms.add(row.id, row.ending.result); !added) return added;
  }
  forms_ = std::move(forms);
  return {};
}

int SqliteStore::write(const Batch& batch, const MarkStep& step) {
  int code = writes_.begin.run();
  if (code != SQLITE_OK) return code;
  code = write_mark(step);
  if (code == SQLITE_OK) code = write_rows(batch, step.mark);
  if (code == SQLITE_OK) code = remove_stragglers(batch, step.mark);
  if (code == SQLITE_OK) code = writes_.commit.run();
  if (code == SQLITE_OK) return code;
  // SQLite has rolled back by itself after some errors. A transaction that stays open is no state to go on from.
  if (sqlite3_get_autocommit(database_.raw()) == 0 && writes_.rollback.run() != SQLITE_OK) broken_ = fault(code);
  return code;
}

int SqliteStore::write_rows(const Batch& batch, std::uint64_t mark) {
  int code = write_words(batch);
  if (code == SQLITE_OK) code = write_jobs(batch.jobs);
  if (code == SQLITE_OK) code = write_moved(batch.moved);
  if (code == SQLITE_OK) code = write_children(batch.jobs);
  if (code == SQLITE_OK) code = write_outcomes(batch.outcomes);
  if (code == SQLITE_OK) code = note_ends_behind_mark(batch);
  if (code == SQLITE_OK) code = write_attempts(batch.attempts);
  if (code == SQLITE_OK) code = write_starts(batch.starts);
  if (code == SQLITE_OK) code = write_cancels(batch);
  if (code == SQLITE_OK) code = write_backlog(batch);
  if (code == SQLITE_OK) code = write_delayed(batch, mark);
  if (code == SQLITE_OK) code = write_deadlines(batch);
  if (code == SQLITE_OK) code = write_keys(batch.keys_added);
  if (code == SQLITE_OK) code = write_callbacks(batch);
  if (code == SQLITE_OK) code = write_schedules(batch.schedules);
  if (code == SQLITE_OK) code = write_dependencies(batch);
  if (code == SQLITE_OK) code = write_batches(batch.batches);
  if (code == SQLITE_OK) code = write_file_uses();
  if (code == SQLITE_OK) code = write_cache_keys(batch);
  if (code == SQLITE_OK) code = write_cache_entries(batch);
  if (code == SQLITE_OK && batch.ids_reserved_until != 0) {
    code = write_meta("ids_reserved_until", batch.ids_reserved_until);
  }
  return code;
}

int SqliteStore::write_words(const Batch& batch) {
  // Jobs that name them come with this batch or later.
  const std::uint64_t first_job = batch.jobs.empty() ? open_jobs_.newest() + 1 : batch.jobs.front().id.value;
  for (const SpecRow& row : batch.specs) {
    Statement& statement = writes_.spec;
    const JobSpec& spec = row.spec;
    statement.bind(1, row.id.value);
    statement.bind_text(2, spec.queue);
    statement.bind_text(3, spec.pool);
    statement.bind_text(4, spec.task);
    statement.bind_text(5, spec.name);
    statement.bind(6, spec.priority);
    statement.bind(7, spec.max_attempts);
    statement.bind(8, spec.backoff.count());
    statement.bind(9, spec.backoff_factor);
    statement.bind(10, spec.backoff_max.count());
    statement.bind(11, spec.jitter);
    statement.bind(12, spec.queue_timeout.count());
    statement.bind(13, spec.run_timeout.count());
    statement.bind(14, spec.total_timeout.count());
    statement.bind(15, spec.grace.count());
    statement.bind(16, std::int32_t{spec.at_most_once});
    const std::string retry_only = join_words(spec.retry_only);
    const std::string retry_except = join_words(spec.retry_except);
    statement.bind_text(17, retry_only);
    statement.bind_text(18, retry_except);
    statement.bind(19, spec.crashes_max);
    statement.bind_blob(20, spec.callbacks);
    statement.bind(21, spec.soft_timeout.count());
    statement.bind(22, spec.heartbeat_timeout.count());
    statement.bind(23, spec.retry_memory_factor);
    statement.bind(24, spec.retry_memory_bytes_max);
    statement.bind(25, spec.retention.count());
    statement.bind(26, std::int32_t{spec.front});
    const std::string needs = encode_needs(spec.needs);
    statement.bind_text(27, spec.fairness_key);
    statement.bind_text(28, spec.limit_key);
    statement.bind_text(29, needs);
    statement.bind(30, encode_cache_terms(spec.cache));
    statement.bind(31, spec.cache.ttl.count());
    statement.bind(32, spec.ageing.count());
    const std::string cache_words = encode_cache_words(spec.cache);
    statement.bind_blob(33, cache_words);
    if (spec.max_failures) {
      statement.bind(34, *spec.max_failures);
    } else {
      statement.bind_null(34);
    }
    statement.bind(35, first_job);
    if (const int code = statement.run(); code != SQLITE_OK) return code;
  }
  if (const int code = forget_specs(batch); code != SQLITE_OK) return code;
  for (const PoolRow& row : batch.pools) {
    writes_.pool.bind(1, row.id.value);
    writes_.pool.bind_text(2, row.name);
    if (const int code = writes_.pool.run(); code != SQLITE_OK) return code;
  }
  if (const int code = write_queues(batch); code != SQLITE_OK) return code;
  return write_semaphores(batch);
}

int SqliteStore::write_queues(const Batch& batch) {
  for (const QueueId id : batch.queues_removed) {
    writes_.queue_remove.bind(1, id.value);
    if (const int code = writes_.queue_remove.run(); code != SQLITE_OK) return code;
  }
  for (const QueueRow& row : batch.queues) {
    const std::string options = encode_queue_options(row.options);
    writes_.queue.bind(1, row.id.value);
    writes_.queue.bind_text(2, row.name);
    writes_.queue.bind(3, static_cast<std::int32_t>(row.discipline));
    writes_.queue.bind(4, std::int32_t{row.paused});
    writes_.queue.bind_blob(5, options);
    writes_.queue.bind(6, std::int32_t{row.draining});
    writes_.queue.bind(7, row.created_at.us);
    if (const int code = writes_.queue.run(); code != SQLITE_OK) return code;
  }
  for (const QueueBytes& row : batch.queue_bytes) {
    writes_.queue_bytes.bind(1, row.queue.value);
    writes_.queue_bytes.bind(2, row.bytes);
    if (const int code = writes_.queue_bytes.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

int SqliteStore::write_semaphores(const Batch& batch) {
  for (const SemaphoreRow& row : batch.semaphores) {
    writes_.semaphore.bind_text(1, row.name);
    writes_.semaphore.bind(2, row.permits);
    if (const int code = writes_.semaphore.run(); code != SQLITE_OK) return code;
  }
  for (const std::string& name : batch.semaphores_removed) {
    writes_.semaphore_remove.bind_text(1, name);
    if (const int code = writes_.semaphore_remove.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

int SqliteStore::write_jobs(const std::vector<JobRow>& jobs) {
  std::uint64_t newest = open_jobs_.newest();
  for (const JobRow& row : jobs) {
    // Order is what makes an insert cheap, and what lets the low-water mark rise.
    if (row.id.value <= newest) return SQLITE_CONSTRAINT;
    newest = row.id.value;
  }
  return writes_.job.run(std::span(jobs), [this](Statement& statement, int first, const JobRow& row) {
    statement.bind(first, row.id.value);
    statement.bind(first + 1, row.spec.value);
    statement.bind(first + 2, row.owner);
    if (row.retry_of.is_set()) {
      statement.bind(first + 3, row.retry_of.value);
    } else {
      statement.bind_null(first + 3);
    }
    statement.bind(first + 4, row.submitted_at.us);
    statement.bind_blob(first + 5, forms_.of(row.payload.view()));
    if (is_terminal(row.ending.state)) {
      bind_ending(statement, first + 6, row.ending, row.submitted_at, forms_);
    } else {
      for (int i = 0; i < kEndingParameters; ++i) statement.bind_null(first + 6 + i);
    }
  });
}

int SqliteStore::write_moved(const std::vector<MovedRow>& moved) {
  for (const MovedRow& row : moved) {
    writes_.moved.bind(1, row.job.value);
    writes_.moved.bind(2, row.spec.value);
    if (const int code = writes_.moved.run(); code != SQLITE_OK) return code;
    // It may be older than all others with these options, which are looked for from there.
    writes_.moved_to.bind(1, row.job.value);
    writes_.moved_to.bind(2, row.spec.value);
    if (const int code = writes_.moved_to.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

int SqliteStore::write_children(const std::vector<JobRow>& jobs) {
  for (const JobRow& row : jobs) {
    if (!row.lineage.parent.is_set()) continue;
    writes_.child.bind(1, row.id.value);
    writes_.child.bind(2, row.lineage.parent.value);
    writes_.child.bind(3, std::uint32_t{row.lineage.depth});
    if (const int code = writes_.child.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

int SqliteStore::write_outcomes(const std::vector<OutcomeRow>& outcomes) {
  return writes_.outcome.run(std::span(outcomes), [this](Statement& statement, int first, const OutcomeRow& row) {
    FUTURED_CHECK(is_terminal(row.ending.state), "only what has ended has an outcome");
    statement.bind(first, row.id.value);
    bind_ending(statement, first + 1, row.ending, WallTime{0}, forms_);
  });
}

int SqliteStore::write_attempts(const std::vector<AttemptRow>& attempts) {
  for (const AttemptRow& row : attempts) {
    Statement& statement = writes_.attempt;
    const std::string cause = encode_cause(row.cause);
    statement.bind(1, row.fence.job.value);
    statement.bind(2, row.fence.attempt);
    statement.bind(3, row.fence.epoch.value);
    statement.bind(4, row.slot.value);
    statement.bind(5, row.finished_at.us);
    bind_ran(statement, 6, row.started_at, row.finished_at);
    if (row.retry_at.us != 0) {
      statement.bind(7, row.retry_at.us);
    } else {
      statement.bind_null(7);
    }
    statement.bind(8, static_cast<std::int32_t>(row.cause.kind));
    statement.bind_blob(9, cause);
    statement.bind(10, static_cast<std::int32_t>(row.charge));
    statement.bind(11, row.worker_pid);
    statement.bind(12, row.memory_bytes_max);
    statement.bind(13, row.next_memory_bytes_max);
    if (const int code = statement.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

int SqliteStore::write_starts(const std::vector<StartRow>& starts) {
  for (const StartRow& row : starts) {
    writes_.start.bind(1, row.fence.job.value);
    writes_.start.bind(2, row.fence.epoch.value);
    writes_.start.bind(3, row.fence.attempt);
    if (const int code = writes_.start.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

int SqliteStore::write_cancels(const Batch& batch) {
  for (const CancelRow& row : batch.cancels_added) {
    writes_.cancel_add.bind(1, row.job.value);
    writes_.cancel_add.bind(2, row.asked_at.ns);
    writes_.cancel_add.bind(3, row.kill_at.ns);
    writes_.cancel_add.bind_text(4, row.reason);
    if (const int code = writes_.cancel_add.run(); code != SQLITE_OK) return code;
  }
  for (const JobId job : batch.cancels_removed) {
    writes_.cancel_remove.bind(1, job.value);
    if (const int code = writes_.cancel_remove.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

int SqliteStore::write_deadlines(const Batch& batch) {
  for (const DeadlineRow& row : batch.deadlines_removed) {
    writes_.deadline_remove.bind(1, row.at.us);
    writes_.deadline_remove.bind(2, row.first.value);
    if (const int code = writes_.deadline_remove.run(); code != SQLITE_OK) return code;
  }
  for (const DeadlineRow& row : batch.deadlines_added) {
    writes_.deadline_add.bind(1, row.at.us);
    writes_.deadline_add.bind(2, row.first.value);
    writes_.deadline_add.bind(3, row.count);
    if (const int code = writes_.deadline_add.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

int SqliteStore::write_callbacks(const Batch& batch) {
  for (const CallbackRow& row : batch.callbacks) {
    writes_.callback.bind(1, row.id.value);
    writes_.callback.bind(2, row.job.value);
    writes_.callback.bind(3, row.owner);
    writes_.callback.bind_blob(4, row.spec);
    writes_.callback.bind(5, row.batch_jobs);
    if (const int code = writes_.callback.run(); code != SQLITE_OK) return code;
  }
  for (const DeliveryRow& row : batch.deliveries) {
    writes_.delivery.bind(1, row.id.value);
    writes_.delivery.bind(2, row.job.value);
    writes_.delivery.bind(3, row.lane);
    writes_.delivery.bind(4, static_cast<std::int32_t>(row.state));
    writes_.delivery.bind(5, row.attempts);
    writes_.delivery.bind(6, row.at.us);
    const std::string behind = encode_ids(row.behind);
    writes_.delivery.bind_blob(7, behind);
    writes_.delivery.bind_text(8, row.error);
    if (const int code = writes_.delivery.run(); code != SQLITE_OK) return code;
  }
  for (const WholeBatchRow& row : batch.whole_batches) {
    writes_.whole_batch.bind(1, row.first.value);
    writes_.whole_batch.bind(2, row.count);
    writes_.whole_batch.bind(3, row.ended);
    writes_.whole_batch.bind(4, row.failed);
    if (row.max_failures) {
      writes_.whole_batch.bind(5, *row.max_failures);
    } else {
      writes_.whole_batch.bind_null(5);
    }
    if (const int code = writes_.whole_batch.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

int SqliteStore::write_file_uses() {
  for (const StoredForms::Use& use : forms_.uses()) {
    writes_.file_use.bind_blob(1, use.file.raw());
    writes_.file_use.bind(2, use.job.value);
    if (const int code = writes_.file_use.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

int SqliteStore::write_meta(const char* name, std::uint64_t value) {
  writes_.meta.bind_text(1, name);
  writes_.meta.bind(2, value);
  return writes_.meta.run();
}

// The mark rises to the first open job. One that stays open while 256 k ids go by becomes a straggler, by name, and the
// mark passes over it: so a start never looks through more than that.
SqliteStore::MarkStep SqliteStore::next_mark(std::size_t new_jobs) const {
  const std::uint64_t until = open_jobs_.newest() + 1;
  std::uint64_t first = open_jobs_.first_from(mark_);
  const std::uint64_t reachable = first == 0 ? until : first;
  if (reachable >= mark_ + options_.mark_step_ids) return {reachable, {}};
  if (until - mark_ <= options_.tail_ids_max) return {mark_, {}};

  MarkStep step;
  const std::uint64_t enough = until - options_.tail_ids_max / 4 * 3;
  const std::size_t passed_max = kPassedMin + 2 * new_jobs;
  while (first != 0 && first < enough && step.passed.size() < passed_max) {
    step.passed.push_back(first);
    first = open_jobs_.first_from(first + 1);
  }
  step.mark = first == 0 ? until : first;
  return step;
}

int SqliteStore::write_mark(const MarkStep& step) {
  if (step.mark == mark_) return SQLITE_OK;
  for (const std::uint64_t id : step.passed) {
    writes_.straggler_add.bind(1, id);
    if (const int code = writes_.straggler_add.run(); code != SQLITE_OK) return code;
  }
  return write_meta("low_water", step.mark);
}

int SqliteStore::remove_stragglers(const Batch& batch, std::uint64_t mark) {
  const auto settle = [&](JobId id) {
    if (id.value >= mark || !open_jobs_.contains(id.value)) return SQLITE_OK;
    writes_.straggler_remove.bind(1, id.value);
    return writes_.straggler_remove.run();
  };
  for (const OutcomeRow& row : batch.outcomes) {
    if (const int code = settle(row.id); code != SQLITE_OK) return code;
  }
  for (const BacklogKey& key : batch.backlog_added) {
    if (const int code = settle(job_of(key.key)); code != SQLITE_OK) return code;
  }
  for (const DelayedKey& key : batch.delayed_added) {  // of those that were blocked
    if (const int code = settle(key.job); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

void SqliteStore::remember(const Batch& batch) {
  remember_keys(batch.keys_added);
  for (const SpecRow& row : batch.specs) retention_.note(row);
  for (const JobRow& row : batch.jobs) {
    if (is_terminal(row.ending.state)) {
      open_jobs_.note(row.id.value);
    } else {
      open_jobs_.open(row.id.value);
    }
  }
  for (const MovedRow& row : batch.moved) {
    if (row.opens) open_jobs_.open(row.job.value);
  }
  for (const DelayedKey& key : batch.delayed_removed) open_jobs_.open(key.job.value);
  for (const DelayedKey& key : batch.delayed_added) open_jobs_.settle(key.job.value);
  for (const OutcomeRow& row : batch.outcomes) open_jobs_.settle(row.id.value);
  for (const BacklogKey& key : batch.backlog_added) open_jobs_.settle(job_of(key.key).value);
}

bool SqliteStore::spend_reserve() {
  short_of_space_ = true;
  return reserve_.spend();
}

void SqliteStore::tend() {
  if (broken_) return;
  checkpoint();
  if (short_of_space_) short_of_space_ = !reserve_.fill();
}

bool SqliteStore::is_checkpoint_due() const {
  const bool begun_anew = wal_pages_ < checkpointed_pages_;
  return wal_pages_ - (begun_anew ? 0 : checkpointed_pages_) >= options_.checkpoint_pages;
}

void SqliteStore::checkpoint() {
  if (wal_pages_ < checkpointed_pages_) checkpointed_pages_ = 0;  // the WAL began anew
  if (!is_checkpoint_due()) return;
  copy_log_back(/*waits=*/wal_pages_ >= kWalLengthsMax * options_.checkpoint_pages);
}

void SqliteStore::copy_log_back(bool waits) {
  int pages = 0;
  int copied = 0;
  const int code = sqlite3_wal_checkpoint_v2(
      database_.raw(), nullptr, waits ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, &pages, &copied);
  checkpointed_pages_ = wal_pages_;
  if (code == SQLITE_OK && pages == copied) owes_room_ = false;
  if (code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY) return;
  // Nothing is lost: the WAL holds it all. But it cannot be recycled, and so grows.
  if (rolls_back(code)) {
    if ((code & 0xff) == SQLITE_FULL) spend_reserve();
    return;
  }
  broken_ = fault(code).in("checkpoint");
}

}  // namespace futured
