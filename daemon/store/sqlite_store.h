// SqliteStore: the store in one SQLite file. docs/formats/database.md describes the tables; here is who writes them
// when.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/store/backlog_runs.h"
#include "daemon/store/delayed_runs.h"
#include "daemon/store/key_filter.h"
#include "daemon/store/lock_file.h"
#include "daemon/store/open_jobs.h"
#include "daemon/store/reserve_file.h"
#include "daemon/store/sent_contents.h"
#include "daemon/store/sqlite_cache.h"
#include "daemon/store/sqlite_database.h"
#include "daemon/store/sqlite_retention.h"
#include "daemon/store/store.h"
#include "daemon/store/stored_bytes.h"

namespace futured {

// Tests turn these down to reach their paths with few rows; the daemon uses them as they are.
struct SqliteOptions {
  std::string vfs;                        // empty: the system's
  int page_bytes = 4096;                  // of a database that is created
  std::int64_t cache_kib = 16 * 1024;     // of the writer
  std::int64_t checkpoint_pages = 1'500;  // of the WAL; 6 MiB: a longer one makes a checkpoint's commit wait longer
  std::int64_t reserve_bytes = 4 * 1024 * 1024;
  std::uint64_t mark_step_ids = 16 * 1024;  // the low-water mark is written when it can rise so far
  std::size_t keys_per_bucket = 64 * 1024;
  std::uint64_t tail_ids_max = 256 * 1024;     // ids that a start looks through above the mark
  int compression_level = kStoredCompression;  // of files
  std::int64_t free_pages_kept = 1'024;        // new rows take them before the file grows; 4 MiB
};

[[nodiscard]] Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& path, const SqliteOptions& options);

class SqliteStore : public Store {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Store>> open(const std::string& path, const SqliteOptions& options);
  ~SqliteStore() override;

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
  void tend() override;
  [[nodiscard]] bool wants_tending() const override { return short_of_space_ || is_checkpoint_due(); }
  [[nodiscard]] bool short_of_space() const override { return short_of_space_; }
  [[nodiscard]] bool writes_files(const Batch& batch) const override;
  std::unique_ptr<PayloadKeeper> keeper() override;
  std::shared_ptr<SentContents> sent_contents() override { return sent_; }
  std::unique_ptr<StoreReader> reader() override;

 private:
  // One statement for each kind of row, prepared once.
  struct Writes {
    Statement begin, commit, rollback;
    BulkInsert job, outcome, backlog_add;
    Statement spec, queue, queue_remove, queue_bytes, pool, semaphore, semaphore_remove, attempt, start, cancel_add,
        cancel_remove;
    Statement backlog_remove, backlog_rest, deadline_add, deadline_remove, straggler_add, straggler_remove, meta;
    Statement key_add, key_filter_add;
    Statement callback, delivery, whole_batch, file_use, child;
    Statement moved, moved_to, delay, delayed_add, delayed_remove, delayed_lane, schedule, schedule_remove;
    Statement dependency_add, dependency_close, event_set, event_clear, batch;
  };
  struct Reads {
    Statement backlog_up, backlog_down, claim_up, claim_down, load, attempts, spec, key, deliveries, batch;
    Statement delayed, delayed_run, delayed_next, batch_with, result;
  };
  // How far the low-water mark can rise with a commit, and which open jobs it passes over.
  struct MarkStep {
    std::uint64_t mark = 0;
    std::vector<std::uint64_t> passed;
  };

  SqliteStore(LockFile lock, Database database, std::string path, const SqliteOptions& options);

  [[nodiscard]] Error fault(int code) const { return database_.error(code).in("database " + path_); }

  // Opening: sqlite_store.cc.
  [[nodiscard]] Status prepare();
  [[nodiscard]] Status sweep_files();
  void lengthen_wal();

  // What a start reads: sqlite_snapshot.cc.
  [[nodiscard]] Status find_open_jobs();
  [[nodiscard]] Status read_meta(Snapshot& snapshot);
  [[nodiscard]] Status read_lanes(Snapshot& snapshot);
  [[nodiscard]] Status read_semaphores(Snapshot& snapshot);
  [[nodiscard]] Status read_resident(Snapshot& snapshot);
  [[nodiscard]] Status read_cancels(Snapshot& snapshot);
  [[nodiscard]] Status read_callbacks(Snapshot& snapshot);

  // Committing: sqlite_commit.cc. The ints are SQLite's codes.
  // After these nothing of the transaction is stored, and it may be tried again.
  [[nodiscard]] static bool rolls_back(int code);
  [[nodiscard]] Status write_files(const Batch& batch);
  [[nodiscard]] int write(const Batch& batch, const MarkStep& step);
  [[nodiscard]] int write_rows(const Batch& batch, std::uint64_t mark);
  [[nodiscard]] int write_words(const Batch& batch);  // specs, pools, queues
  [[nodiscard]] int write_queues(const Batch& batch);
  [[nodiscard]] int write_semaphores(const Batch& batch);
  [[nodiscard]] int write_jobs(const std::vector<JobRow>& jobs);
  [[nodiscard]] int write_moved(const std::vector<MovedRow>& moved);
  [[nodiscard]] int write_children(const std::vector<JobRow>& jobs);
  [[nodiscard]] int write_outcomes(const std::vector<OutcomeRow>& outcomes);
  [[nodiscard]] int write_attempts(const std::vector<AttemptRow>& attempts);
  [[nodiscard]] int write_starts(const std::vector<StartRow>& starts);
  [[nodiscard]] int write_cancels(const Batch& batch);
  [[nodiscard]] int write_deadlines(const Batch& batch);
  [[nodiscard]] int write_keys(const std::vector<KeyRow>& keys);
  [[nodiscard]] int write_callbacks(const Batch& batch);
  [[nodiscard]] int write_file_uses();
  [[nodiscard]] int write_mark(const MarkStep& step);
  [[nodiscard]] int remove_stragglers(const Batch& batch, std::uint64_t mark);
  [[nodiscard]] int write_meta(const char* name, std::uint64_t value);
  [[nodiscard]] MarkStep next_mark(std::size_t new_jobs) const;
  void remember(const Batch& batch);
  [[nodiscard]] bool is_checkpoint_due() const;
  void checkpoint();
  void copy_log_back(bool waits);
  bool spend_reserve();

  // The backlog: sqlite_backlog.cc.
  [[nodiscard]] int write_backlog(const Batch& batch);
  [[nodiscard]] int remove_from_backlog(const BacklogRun& run);
  [[nodiscard]] Result<std::vector<BacklogRun>> runs_for(const Claim& claim);
  [[nodiscard]] Status settle_backlog(OpenJobs& open, std::uint64_t mark);

  // Delayed jobs: sqlite_delayed.cc.
  [[nodiscard]] int write_delayed(const Batch& batch, std::uint64_t mark);
  [[nodiscard]] int remove_delayed(const DelayedRun& run);
  [[nodiscard]] int count_delayed(const Batch& batch);
  [[nodiscard]] int write_stragglers(const Batch& batch, std::uint64_t mark);
  [[nodiscard]] Result<std::optional<DelayedRun>> delayed_run_of(WallTime at, JobId job);
  [[nodiscard]] Result<bool> is_delayed(WallTime at, JobId job);
  [[nodiscard]] Status settle_delayed(OpenJobs& open, std::uint64_t mark);
  [[nodiscard]] Status read_delayed(Snapshot& snapshot);

  // The result cache: sqlite_cache.cc.
  [[nodiscard]] int write_cache_keys(const Batch& batch);
  [[nodiscard]] int write_cache_entries(const Batch& batch);
  [[nodiscard]] int add_cache_entry(const CacheEntryRow& row);
  [[nodiscard]] int read_files_of_entry(JobId entry, std::vector<Digest>& files);
  [[nodiscard]] int remove_cache_entry(JobId entry);
  void drop_unused_files();
  [[nodiscard]] Status add_cache_keys(const std::vector<StoredJob*>& jobs, const std::vector<SpecRow>& specs);
  [[nodiscard]] Status read_cache_entries(Snapshot& snapshot);

  // Schedules: sqlite_schedules.cc.
  [[nodiscard]] int write_schedules(const std::vector<ScheduleRow>& schedules);
  [[nodiscard]] Status read_schedules(Snapshot& snapshot);

  // Dependencies and named events: sqlite_dependencies.cc.
  [[nodiscard]] int write_dependencies(const Batch& batch);
  [[nodiscard]] int write_batches(const std::vector<BatchRow>& batches);
  [[nodiscard]] Status read_dependencies(Snapshot& snapshot);

  // Reading: sqlite_reads.cc.
  [[nodiscard]] static bool has_attempts(const Execution& row);
  [[nodiscard]] Result<StoredJob> read_job(const Execution& row);
  [[nodiscard]] Status complete(StoredJob& job);  // attempts, crashes, retry_at
  [[nodiscard]] Result<std::optional<StoredJob>> load_one(std::uint64_t id);
  // Of a job whose payload names them.
  [[nodiscard]] Status put_results_in(StoredJob& job);
  [[nodiscard]] Result<std::vector<SpecRow>> read_specs(std::vector<SpecId> wanted);

  // Retention: sqlite_retention.cc.
  struct TrimStep;
  struct SpecLook;
  [[nodiscard]] Result<std::uint64_t> kept_bytes();
  [[nodiscard]] Status look_for_jobs(TrimStep& step);
  [[nodiscard]] Status look_at_listed(Statement& statement, std::int64_t bound, TrimStep& step);
  [[nodiscard]] Status look_at(const Execution& row, TrimStep& step);
  [[nodiscard]] Result<bool> is_needed(std::uint64_t id);
  [[nodiscard]] int write_trim(TrimStep& step, std::vector<Digest>& unused);
  [[nodiscard]] int remove_jobs(const TrimStep& step, std::vector<Digest>& unused);
  [[nodiscard]] int note_ends_behind_mark(const Batch& batch);
  // What no job names any more: sqlite_trim_words.cc.
  [[nodiscard]] int forget_specs(const Batch& batch);
  [[nodiscard]] int let_specs_go();
  [[nodiscard]] int trim_words(std::uint64_t mark, WordsTrimmed& trimmed);
  [[nodiscard]] int trim_specs(std::uint64_t mark, WordsTrimmed& trimmed);
  [[nodiscard]] int trim_spec(const SpecLook& look, const std::set<std::uint64_t>& scheduled, int& rows_left,
                              WordsTrimmed& trimmed);
  [[nodiscard]] int trim_keys(std::uint64_t mark, WordsTrimmed& trimmed);
  [[nodiscard]] int remember_callback_numbers();
  void remember_words(const WordsTrimmed& trimmed, bool has_freed);
  [[nodiscard]] Result<bool> give_pages_back();

  // Idempotency keys: sqlite_keys.cc.
  [[nodiscard]] Status read_key_filters();
  void remember_keys(const std::vector<KeyRow>& keys);

  LockFile lock_;
  Database database_;  // before the statements, which must go first
  std::string path_;
  SqliteOptions options_;
  Writes writes_;
  Reads reads_;
  Retention retention_;
  CacheStatements cache_;
  std::vector<Digest> unused_files_;  // when the batch that is being written is committed
  ReserveFile reserve_;
  const std::shared_ptr<ContentFiles> files_;
  const std::shared_ptr<SentContents> sent_;
  StoredForms forms_{files_};  // of the last batch; one that was rolled back finds its files again
  bool short_of_space_ = false;
  std::optional<Error> broken_;  // a failed fsync or the like: nothing is committed any more

  OpenJobs open_jobs_;
  bool open_jobs_known_ = false;
  std::uint64_t mark_ = 0;  // as stored: every open job is at or above it, or in `stragglers`

  struct KeyBucket {
    KeyFilter filter;
    std::uint64_t until = 0;  // all jobs of its keys are below this number
  };
  std::map<std::uint64_t, KeyBucket> key_buckets_;  // by number; the last one fills

  bool owes_room_ = false;               // pages were given back, and the file is shorter only once the log was copied
  std::int64_t wal_pages_ = 0;           // in the WAL after the last commit
  std::int64_t checkpointed_pages_ = 0;  // of them, those the last checkpoint saw
};

}  // namespace futured
