#include "daemon/store/sqlite_schema.h"

#include <array>
#include <string>

namespace futured {
namespace {

// Rows are written in ascending id and never moved, so every insert lands at the end of its table. A job that ended in
// the commit that brought it has its terminal columns in `jobs` and no row in `outcomes`. The large columns come last:
// SQLite reads a row from its front.
constexpr const char* kVersion1 = R"sql(
CREATE TABLE meta (
  name TEXT PRIMARY KEY,
  value
) WITHOUT ROWID;

CREATE TABLE queues (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  discipline INTEGER NOT NULL,
  paused INTEGER NOT NULL
);

CREATE TABLE pools (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL
);

CREATE TABLE specs (
  id INTEGER PRIMARY KEY,
  queue TEXT NOT NULL,
  pool TEXT NOT NULL,
  task TEXT NOT NULL,
  name TEXT NOT NULL,
  priority INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  backoff_ns INTEGER NOT NULL,
  backoff_factor REAL NOT NULL,
  backoff_max_ns INTEGER NOT NULL,
  jitter REAL NOT NULL,
  queue_timeout_ns INTEGER NOT NULL,
  run_timeout_ns INTEGER NOT NULL,
  total_timeout_ns INTEGER NOT NULL,
  grace_ns INTEGER NOT NULL,
  at_most_once INTEGER NOT NULL
);

CREATE TABLE jobs (
  id INTEGER PRIMARY KEY,
  spec INTEGER NOT NULL,
  owner INTEGER NOT NULL,
  retry_of INTEGER,
  submitted_at INTEGER NOT NULL,
  state INTEGER,
  attempt INTEGER,
  epoch INTEGER,
  finished_after INTEGER,
  ran INTEGER,
  cause BLOB,
  result BLOB,
  payload BLOB
);

CREATE TABLE outcomes (
  job INTEGER PRIMARY KEY,
  state INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  finished_at INTEGER NOT NULL,
  ran INTEGER,
  cause BLOB,
  result BLOB
);

CREATE TABLE attempts (
  job INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  finished_at INTEGER NOT NULL,
  ran INTEGER,
  retry_at INTEGER,
  kind INTEGER NOT NULL,
  cause BLOB NOT NULL,
  PRIMARY KEY (job, attempt, epoch)
) WITHOUT ROWID;

CREATE TABLE starts (
  job INTEGER PRIMARY KEY,
  epoch INTEGER NOT NULL,
  attempt INTEGER NOT NULL
);

CREATE TABLE backlog (
  queue INTEGER NOT NULL,
  pool INTEGER NOT NULL,
  rank INTEGER NOT NULL,
  ord INTEGER NOT NULL,
  PRIMARY KEY (queue, pool, rank, ord)
) WITHOUT ROWID;

CREATE TABLE stragglers (
  job INTEGER PRIMARY KEY
);

CREATE VIEW job_state AS
SELECT
  j.id AS id,
  j.spec AS spec,
  j.owner AS owner,
  j.retry_of AS retry_of,
  j.submitted_at AS submitted_at,
  coalesce(j.state, o.state, 3) AS state,
  coalesce(j.attempt, o.attempt, 0) AS attempt,
  coalesce(j.epoch, o.epoch, 0) AS epoch,
  coalesce(j.submitted_at + j.finished_after, o.finished_at) - coalesce(j.ran, o.ran) AS started_at,
  coalesce(j.submitted_at + j.finished_after, o.finished_at) AS finished_at,
  coalesce(j.cause, o.cause) AS cause,
  coalesce(j.result, o.result) AS result,
  j.payload AS payload
FROM jobs j LEFT JOIN outcomes o ON o.job = j.id AND j.state IS NULL;
)sql";

constexpr const char* kVersion2 = R"sql(
CREATE TABLE deadlines (
  at INTEGER NOT NULL,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (at, first)
) WITHOUT ROWID;
)sql";

// Before it, attempts were charged by their kind: 4 a worker that died, 13 one that broke its channel.
constexpr const char* kVersion3 = R"sql(
ALTER TABLE specs ADD COLUMN retry_only TEXT NOT NULL DEFAULT '';
ALTER TABLE specs ADD COLUMN retry_except TEXT NOT NULL DEFAULT '';
ALTER TABLE specs ADD COLUMN crashes_max INTEGER NOT NULL DEFAULT 3;
ALTER TABLE attempts ADD COLUMN charge INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN worker_pid INTEGER NOT NULL DEFAULT 0;
UPDATE attempts SET charge = 1 WHERE kind IN (4, 13);
ALTER TABLE specs ADD COLUMN callbacks BLOB NOT NULL DEFAULT x'';
ALTER TABLE specs ADD COLUMN soft_timeout_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE specs ADD COLUMN heartbeat_timeout_ns INTEGER NOT NULL DEFAULT 0;

CREATE TABLE callbacks (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL,
  owner INTEGER NOT NULL,
  spec BLOB NOT NULL
);
CREATE INDEX callbacks_of_job ON callbacks (job);

CREATE TABLE deliveries (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  state INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  at INTEGER NOT NULL,
  behind INTEGER NOT NULL,
  error TEXT NOT NULL
);
CREATE INDEX deliveries_due ON deliveries (lane, at) WHERE state = 2;
CREATE INDEX deliveries_waiting ON deliveries (id) WHERE state = 1;
CREATE INDEX deliveries_failed ON deliveries (id) WHERE state = 4;

CREATE TABLE whole_batches (
  first INTEGER PRIMARY KEY,
  count INTEGER NOT NULL,
  ended INTEGER NOT NULL,
  failed INTEGER NOT NULL
);
CREATE INDEX whole_batches_open ON whole_batches (first) WHERE ended < count;

-- Idempotency keys, the only rows in random order: a bucket holds so few that its pages stay in memory, and the filter
-- of a bucket that is full says of most keys that they are not in it.
CREATE TABLE keys (
  bucket INTEGER NOT NULL,
  hash INTEGER NOT NULL,
  owner INTEGER NOT NULL,
  key TEXT NOT NULL,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  fingerprint INTEGER NOT NULL,
  PRIMARY KEY (bucket, hash, owner, key)
) WITHOUT ROWID;

CREATE TABLE key_filters (
  bucket INTEGER PRIMARY KEY,
  filter BLOB NOT NULL
);
)sql";

// Those that were behind another one are due at once: their order is lost, and they are not.
constexpr const char* kVersion4 = R"sql(
UPDATE deliveries SET state = 2 WHERE state = 5;
ALTER TABLE deliveries DROP COLUMN behind;
ALTER TABLE deliveries ADD COLUMN behind BLOB NOT NULL DEFAULT x'';
ALTER TABLE callbacks ADD COLUMN batch_jobs INTEGER NOT NULL DEFAULT 0;
)sql";

// Which jobs need a file of payloads and results: a job's row names its files, too, and this is the way back. Who is to
// stop. What an attempt may take of memory. Of the few jobs that have one, the parent.
constexpr const char* kVersion5 = R"sql(
CREATE TABLE file_uses (
  digest BLOB NOT NULL,
  job INTEGER NOT NULL,
  PRIMARY KEY (digest, job)
) WITHOUT ROWID;
CREATE TABLE cancels (
  job INTEGER PRIMARY KEY,
  asked_at INTEGER NOT NULL,
  kill_at INTEGER NOT NULL,
  reason TEXT NOT NULL
);
ALTER TABLE specs ADD COLUMN retry_memory_factor REAL NOT NULL DEFAULT 0;
ALTER TABLE specs ADD COLUMN retry_memory_bytes_max INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN memory_bytes_max INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN next_memory_bytes_max INTEGER NOT NULL DEFAULT 0;
CREATE TABLE children (
  job INTEGER PRIMARY KEY,
  parent INTEGER NOT NULL,
  depth INTEGER NOT NULL
);

DROP VIEW job_state;
CREATE VIEW job_state AS
SELECT
  j.id AS id,
  j.spec AS spec,
  j.owner AS owner,
  j.retry_of AS retry_of,
  j.submitted_at AS submitted_at,
  coalesce(j.state, o.state, 3) AS state,
  coalesce(j.attempt, o.attempt, 0) AS attempt,
  coalesce(j.epoch, o.epoch, 0) AS epoch,
  coalesce(j.submitted_at + j.finished_after, o.finished_at) - coalesce(j.ran, o.ran) AS started_at,
  coalesce(j.submitted_at + j.finished_after, o.finished_at) AS finished_at,
  coalesce(j.cause, o.cause) AS cause,
  coalesce(j.result, o.result) AS result,
  j.payload AS payload,
  coalesce(c.parent, 0) AS parent,
  coalesce(c.depth, 0) AS depth
FROM jobs j LEFT JOIN outcomes o ON o.job = j.id AND j.state IS NULL LEFT JOIN children c ON c.job = j.id;
)sql";

// Neighbours of the backlog share a row: `count` jobs, whose keys follow one another from `first` on.
constexpr const char* kVersion6 = R"sql(
ALTER TABLE backlog RENAME COLUMN ord TO first;
ALTER TABLE backlog ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
)sql";

// Retention. Of the numbers below meta's trimmed_until only those in `kept` are left: at: when it is due, NULL while it
// is unfinished; again: not to be looked at before.
constexpr const char* kVersion7 = R"sql(
CREATE INDEX children_of ON children (parent, job);
ALTER TABLE specs ADD COLUMN retention_ns INTEGER NOT NULL DEFAULT 0;
CREATE INDEX specs_retained ON specs (retention_ns) WHERE retention_ns > 0;
CREATE TABLE kept (
  job INTEGER PRIMARY KEY,
  at INTEGER,
  again INTEGER NOT NULL
);
CREATE INDEX kept_due ON kept (at) WHERE at IS NOT NULL;
CREATE INDEX kept_ended ON kept (job) WHERE at IS NOT NULL;
CREATE INDEX callbacks_of_batch ON callbacks (job) WHERE batch_jobs > 0;
-- When a job may start, of the few that may not at once; those that still wait for it, neighbours in a row, by that
-- time; and how many these are, so that a start need not count them. What fires by itself.
CREATE TABLE delays (
  job INTEGER PRIMARY KEY,
  start_at INTEGER NOT NULL
);
CREATE TABLE delayed (
  at INTEGER NOT NULL,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  queue INTEGER NOT NULL,
  pool INTEGER NOT NULL,
  PRIMARY KEY (at, first)
) WITHOUT ROWID;
CREATE TABLE delayed_lanes (
  queue INTEGER NOT NULL,
  pool INTEGER NOT NULL,
  jobs INTEGER NOT NULL,
  PRIMARY KEY (queue, pool)
) WITHOUT ROWID;
CREATE TABLE schedules (
  name TEXT PRIMARY KEY,
  owner INTEGER NOT NULL,
  cron TEXT NOT NULL,
  every_ns INTEGER NOT NULL,
  zone TEXT NOT NULL,
  catch_up INTEGER NOT NULL,
  catch_up_max INTEGER NOT NULL,
  overlap INTEGER NOT NULL,
  jitter_ns INTEGER NOT NULL,
  paused INTEGER NOT NULL,
  spec INTEGER NOT NULL,
  anchor INTEGER NOT NULL,
  seen_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  last_job INTEGER NOT NULL,
  waiting BLOB NOT NULL,
  payload BLOB NOT NULL
) WITHOUT ROWID;
-- Options of queues. The payloads of unfinished jobs are counted once here, and kept by every commit from then on.
ALTER TABLE queues ADD COLUMN options BLOB NOT NULL DEFAULT x'';
ALTER TABLE queues ADD COLUMN draining INTEGER NOT NULL DEFAULT 0;
ALTER TABLE queues ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE queues ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE specs ADD COLUMN front INTEGER NOT NULL DEFAULT 0;
UPDATE queues SET bytes = (
  SELECT coalesce(sum(length(j.payload)), 0) FROM jobs j JOIN specs s ON s.id = j.spec
  WHERE s.queue = queues.name AND j.state IS NULL AND NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.job = j.id));
-- What jobs need besides their turn. Who holds a permit is not stored: it is known from the attempts that run.
ALTER TABLE specs ADD COLUMN fairness_key TEXT NOT NULL DEFAULT '';
ALTER TABLE specs ADD COLUMN limit_key TEXT NOT NULL DEFAULT '';
ALTER TABLE specs ADD COLUMN needs TEXT NOT NULL DEFAULT '';
CREATE TABLE semaphores (
  name TEXT PRIMARY KEY,
  permits INTEGER NOT NULL
) WITHOUT ROWID;
)sql";

// The result cache: keys of jobs that have not ended; outcomes that are kept, each with what it needs of the job's row,
// which may go before it.
constexpr const char* kVersion8 = R"sql(
ALTER TABLE specs ADD COLUMN cache INTEGER NOT NULL DEFAULT 0;
ALTER TABLE specs ADD COLUMN cache_ttl_ns INTEGER NOT NULL DEFAULT 0;
CREATE TABLE cache_keys (
  job INTEGER PRIMARY KEY,
  owner INTEGER NOT NULL,
  task TEXT NOT NULL,
  version TEXT NOT NULL,
  digest BLOB NOT NULL
);
CREATE TABLE cache_entries (
  job INTEGER PRIMARY KEY,
  owner INTEGER NOT NULL,
  task TEXT NOT NULL,
  version TEXT NOT NULL,
  digest BLOB NOT NULL,
  state INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  hits INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at INTEGER NOT NULL,
  cause BLOB,
  result BLOB
);
-- What jobs wait for. A start looks only at what is open (state 0).
CREATE TABLE dependencies (
  job INTEGER NOT NULL,
  number INTEGER NOT NULL,
  parent INTEGER NOT NULL,
  event TEXT NOT NULL,
  condition INTEGER NOT NULL,
  state INTEGER NOT NULL,
  PRIMARY KEY (job, number)
) WITHOUT ROWID;
CREATE INDEX open_dependencies ON dependencies (job) WHERE state = 0;
CREATE TABLE named_events (
  name TEXT PRIMARY KEY,
  set_at INTEGER NOT NULL
) WITHOUT ROWID;
)sql";

// A step of priority for every so long of waiting. What retention needs to remove options that no job names, and keys
// whose jobs are gone (docs/formats/database.md).
// specs: jobs below first_job, and above last_job, do not name it; waits_for: while that job is there, or NULL, it
// stays. key_filters: all jobs of the bucket's keys are below `until`. What names the arguments of a cached job to
// people. Which jobs one request made, when they are several. What else jobs wait for, and whose results they take:
// those are kept for them. When too many jobs of a batch have failed.
constexpr const char* kVersion9 = R"sql(
ALTER TABLE specs ADD COLUMN ageing_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE specs ADD COLUMN first_job INTEGER NOT NULL DEFAULT 0;
ALTER TABLE specs ADD COLUMN last_job INTEGER NOT NULL DEFAULT 0;
ALTER TABLE specs ADD COLUMN waits_for INTEGER;
CREATE INDEX specs_waiting ON specs (waits_for, id);
ALTER TABLE key_filters ADD COLUMN until INTEGER NOT NULL DEFAULT 0;
UPDATE key_filters SET until =
  (SELECT coalesce(max(k.first + k.count), 0) FROM keys k WHERE k.bucket = key_filters.bucket);
ALTER TABLE specs ADD COLUMN cache_words BLOB NOT NULL DEFAULT x'';
ALTER TABLE cache_entries ADD COLUMN name TEXT NOT NULL DEFAULT '';
CREATE TABLE batches (
  first INTEGER PRIMARY KEY,
  count INTEGER NOT NULL
);
ALTER TABLE dependencies ADD COLUMN batch_jobs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dependencies ADD COLUMN any_of INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dependencies ADD COLUMN takes_result INTEGER NOT NULL DEFAULT 0;
CREATE INDEX takers_of ON dependencies (parent) WHERE takes_result = 1;
CREATE INDEX batches_awaited ON dependencies (parent) WHERE batch_jobs > 0 AND state = 0;
ALTER TABLE specs ADD COLUMN max_failures INTEGER;
ALTER TABLE whole_batches ADD COLUMN max_failures INTEGER;
)sql";

constexpr std::array kMigrations{kVersion1, kVersion2, kVersion3, kVersion4, kVersion5,
                                 kVersion6, kVersion7, kVersion8, kVersion9};

Status migrate_one(Database& database, const char* migration, std::int64_t version) {
  const std::string script = std::string("BEGIN IMMEDIATE;") + migration +
                             ";PRAGMA application_id = " + std::to_string(kApplicationId) +
                             ";PRAGMA user_version = " + std::to_string(version) + ";COMMIT";
  Status done = database.run(script);
  if (!done) (void)database.run("ROLLBACK");
  return done;
}

}  // namespace

std::span<const char* const> schema_migrations() { return kMigrations; }

Status check_schema(Database& database, std::span<const char* const> migrations) {
  const Result<std::int64_t> version = database.number("PRAGMA user_version");
  if (!version) return version.error();
  const Result<std::int64_t> application = database.number("PRAGMA application_id");
  if (!application) return application.error();
  const Result<std::int64_t> tables = database.number("SELECT count(*) FROM sqlite_schema");
  if (!tables) return tables.error();

  if (*application != kApplicationId && (*application != 0 || *version != 0 || *tables != 0)) {
    return Error{ErrorCode::kFailedPrecondition, "it is the database of another program; name another file"};
  }
  const auto newest = static_cast<std::int64_t>(migrations.size());
  if (*version > newest) {
    return Error{ErrorCode::kFailedPrecondition, "it has schema version " + std::to_string(*version) +
                                                     ", this program knows none above " + std::to_string(newest) +
                                                     "; run the newer futured that wrote it"};
  }
  if (*version < 0) return Error{ErrorCode::kDataLoss, "it has schema version " + std::to_string(*version)};
  return {};
}

Status migrate(Database& database, std::span<const char* const> migrations) {
  if (const Status known = check_schema(database, migrations); !known) return known;
  const Result<std::int64_t> version = database.number("PRAGMA user_version");
  if (!version) return version.error();
  const auto newest = static_cast<std::int64_t>(migrations.size());
  for (std::int64_t at = *version; at < newest; ++at) {
    const Status done = migrate_one(database, migrations[static_cast<std::size_t>(at)], at + 1);
    if (!done) return done.error().in("migration to schema version " + std::to_string(at + 1));
  }
  return {};
}

}  // namespace futured
