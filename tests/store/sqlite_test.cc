// What only the SQLite store promises: files, locks, versions, crashes, and a start that looks at few rows.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "base/fd.h"
#include "base/limits.h"
#include "base/payload.h"
#include "daemon/store/sqlite_schema.h"
#include "daemon/store/sqlite_store.h"
#include "tests/store/rows_for_tests.h"
#include "tests/store/scratch.h"

namespace futured {
namespace {

namespace fs = std::filesystem;

// Straight into a database file, beside the store.
std::int64_t number(const std::string& path, const std::string& sql) {
  auto database = Database::open(path, {});
  EXPECT_TRUE(database.ok());
  auto read = database->number(sql);
  EXPECT_TRUE(read.ok()) << read.error().message;
  return *read;
}

Batch first_batch(std::uint64_t jobs = 3) {
  Batch batch;
  batch.specs.push_back(spec_row(1));
  for (std::uint64_t id = 1; id <= jobs; ++id) batch.jobs.push_back(job_row(id));
  return batch;
}

Error error_of(const std::string& path) {
  auto opened = open_sqlite_store(path);
  EXPECT_FALSE(opened.ok());
  return opened.ok() ? Error{} : opened.error();
}

bool says(const Error& error, const std::string& words) { return error.message.find(words) != std::string::npos; }

TEST(SqliteFile, IsItsOwnersAloneAndShaped) {
  Scratch scratch;
  const auto store = *open_sqlite_store(scratch.database());
  ASSERT_FALSE(store->commit(first_batch()).has_value());
  for (const char* suffix : {"", "-wal", "-shm", ".lock", ".reserve"}) {
    struct stat file {};
    ASSERT_EQ(::stat((scratch.database() + suffix).c_str(), &file), 0) << suffix;
    EXPECT_EQ(file.st_mode & 0777, 0600u) << suffix;
  }
  EXPECT_EQ(number(scratch.database(), "PRAGMA auto_vacuum"), 2);
  EXPECT_EQ(number(scratch.database(), "PRAGMA page_size"), 4096);
  EXPECT_EQ(number(scratch.database(), "PRAGMA application_id"), kApplicationId);
}

TEST(SqliteFile, SecondDaemonIsToldWhoHoldsIt) {
  Scratch scratch;
  const auto store = *open_sqlite_store(scratch.database());
  const Error error = error_of(scratch.database());
  EXPECT_EQ(error.code, ErrorCode::kFailedPrecondition);
  EXPECT_TRUE(says(error, "process " + std::to_string(::getpid()))) << error.message;
  EXPECT_TRUE(says(error, scratch.database())) << error.message;
}

TEST(SqliteFile, LockGoesWithItsHolder) {
  Scratch scratch;
  const pid_t child = ::fork();
  if (child == 0) {
    auto store = open_sqlite_store(scratch.database());
    ::_exit(store.ok() ? 0 : 1);  // no destructor runs
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(open_sqlite_store(scratch.database()).ok());
}

TEST(SqliteFile, MissingDirectoryIsNamed) {
  Scratch scratch;
  const Error error = error_of((scratch.folder() / "nowhere" / "futured.db").string());
  EXPECT_EQ(error.code, ErrorCode::kNotFound);
  EXPECT_TRUE(says(error, "nowhere")) << error.message;
}

// Root may write anywhere, so it steps down for this.
class AsNobody {
 public:
  AsNobody() : stepped_down_(::geteuid() == 0 && ::seteuid(65534) == 0) {}
  ~AsNobody() {
    if (stepped_down_) (void)!::seteuid(0);
  }

 private:
  bool stepped_down_;
};

TEST(SqliteFile, UnwritableDirectoryIsNamed) {
  Scratch scratch;
  ASSERT_EQ(::chmod(scratch.folder().c_str(), 0555), 0);
  {
    const AsNobody nobody;
    const Error error = error_of(scratch.database());
    EXPECT_EQ(error.code, ErrorCode::kPermissionDenied) << error.message;
    EXPECT_TRUE(says(error, scratch.database())) << error.message;
  }
  ASSERT_EQ(::chmod(scratch.folder().c_str(), 0755), 0);
}

TEST(SqliteFile, ReadOnlyFileIsNamed) {
  Scratch scratch;
  { const auto store = *open_sqlite_store(scratch.database()); }
  ASSERT_EQ(::chmod(scratch.folder().c_str(), 0777), 0);
  ASSERT_EQ(::chmod((scratch.database() + ".lock").c_str(), 0666), 0);
  ASSERT_EQ(::chmod(scratch.database().c_str(), 0444), 0);
  const AsNobody nobody;
  const Error error = error_of(scratch.database());
  EXPECT_EQ(error.code, ErrorCode::kPermissionDenied) << error.message;
}

TEST(SqliteFile, GarbageIsDataLossAndLeftAlone) {
  Scratch scratch;
  const std::string garbage(8'192, 'g');
  std::ofstream(scratch.database()) << garbage;
  const Error error = error_of(scratch.database());
  EXPECT_EQ(error.code, ErrorCode::kDataLoss) << error.message;
  EXPECT_TRUE(says(error, scratch.database()) && says(error, "restore")) << error.message;
  std::ifstream file(scratch.database());
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), garbage);
}

TEST(SqliteFile, TruncatedIsDataLoss) {
  Scratch scratch;
  {
    const auto store = *open_sqlite_store(scratch.database());
    ASSERT_FALSE(store->commit(first_batch(1'000)).has_value());
  }
  fs::resize_file(scratch.database(), fs::file_size(scratch.database()) / 4096 / 2 * 4096);
  const Error error = error_of(scratch.database());
  EXPECT_EQ(error.code, ErrorCode::kDataLoss) << error.message;
}

TEST(SqliteFile, DamagedPagesAreDataLossWhenTheyAreRead) {
  Scratch scratch;
  { const auto store = *open_sqlite_store(scratch.database()); }
  const std::uintmax_t schema_bytes = fs::file_size(scratch.database());  // what an open reads stays sound
  {
    const auto store = *open_sqlite_store(scratch.database());
    ASSERT_FALSE(store->commit(first_batch(1'000)).has_value());
  }
  {
    std::fstream file(scratch.database(), std::ios::in | std::ios::out | std::ios::binary);
    const std::string zeros(4'096, '\xee');
    for (std::uintmax_t at = schema_bytes; at + 4096 <= fs::file_size(scratch.database()); at += 4096) {
      file.seekp(static_cast<std::streamoff>(at));
      file << zeros;
    }
  }
  auto store = open_sqlite_store(scratch.database());
  ASSERT_TRUE(store.ok()) << store.error().message;
  const auto snapshot = (*store)->snapshot();
  ASSERT_FALSE(snapshot.ok());
  EXPECT_EQ(snapshot.error().code, ErrorCode::kDataLoss) << snapshot.error().message;
  EXPECT_TRUE(says(snapshot.error(), scratch.database())) << snapshot.error().message;
  const auto commit = (*store)->commit(first_batch());
  ASSERT_TRUE(commit.has_value());
  EXPECT_EQ(commit->fault, CommitFault::kUnknown);
}

TEST(SqliteFile, NewerSchemaIsRefusedAndLeftAlone) {
  Scratch scratch;
  { const auto store = *open_sqlite_store(scratch.database()); }
  const auto newer = static_cast<std::int64_t>(schema_migrations().size()) + 1;
  (void)number(scratch.database(), "PRAGMA user_version = " + std::to_string(newer));
  const Error error = error_of(scratch.database());
  EXPECT_EQ(error.code, ErrorCode::kFailedPrecondition);
  EXPECT_TRUE(says(error, "schema version " + std::to_string(newer))) << error.message;
  EXPECT_TRUE(says(error, scratch.database())) << error.message;
  EXPECT_EQ(number(scratch.database(), "PRAGMA user_version"), newer);
}

TEST(SqliteFile, AnotherProgramsDatabaseIsLeftAlone) {
  Scratch scratch;
  std::ofstream(scratch.database()).close();
  (void)number(scratch.database(), "CREATE TABLE addresses (name)");
  const Error error = error_of(scratch.database());
  EXPECT_EQ(error.code, ErrorCode::kFailedPrecondition);
  EXPECT_EQ(number(scratch.database(), "SELECT count(*) FROM sqlite_schema"), 1);
}

TEST(SqliteFile, EmptyFileIsTakenAsNew) {
  Scratch scratch;
  std::ofstream(scratch.database()).close();
  auto store = open_sqlite_store(scratch.database());
  ASSERT_TRUE(store.ok()) << store.error().message;
  EXPECT_FALSE((*store)->commit(first_batch()).has_value());
}

TEST(SqliteFile, WriteLockOfAnotherProgramRollsBack) {
  Scratch scratch;
  const auto store = *open_sqlite_store(scratch.database());
  ASSERT_FALSE(store->commit(first_batch(1)).has_value());
  auto other = Database::open(scratch.database(), {});
  ASSERT_TRUE(other->run("BEGIN IMMEDIATE").ok());
  Batch batch;
  batch.jobs.push_back(job_row(2));
  const auto error = store->commit(batch);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->fault, CommitFault::kRolledBack);
  EXPECT_EQ(error->error.code, ErrorCode::kFailedPrecondition) << error->error.message;
  ASSERT_TRUE(other->run("ROLLBACK").ok());
  EXPECT_FALSE(store->commit(batch).has_value());
  EXPECT_EQ(store->snapshot()->resident.size(), 2u);
}

TEST(SqliteMigration, EachVersionIsReachedFromEachBefore) {
  const char* const steps[] = {"CREATE TABLE a (x); INSERT INTO a VALUES (1)", "ALTER TABLE a ADD COLUMN y DEFAULT 7",
                               "CREATE TABLE b (z); INSERT INTO b SELECT y FROM a"};
  for (std::size_t from = 0; from <= 3; ++from) {
    Scratch scratch;
    std::ofstream(scratch.database()).close();
    auto database = *Database::open(scratch.database(), {});
    ASSERT_TRUE(migrate(database, std::span(steps, from)).ok());
    EXPECT_EQ(*database.number("PRAGMA user_version"), static_cast<std::int64_t>(from));
    const Status done = migrate(database, steps);
    ASSERT_TRUE(done.ok()) << done.error().message;
    EXPECT_EQ(*database.number("PRAGMA user_version"), 3);
    EXPECT_EQ(*database.number("SELECT z FROM b"), 7);
  }
}

TEST(SqliteMigration, FailedOneLeavesTheVersionBefore) {
  const char* const steps[] = {"CREATE TABLE a (x)", "CREATE TABLE b (x); INSERT INTO nowhere VALUES (1)"};
  Scratch scratch;
  std::ofstream(scratch.database()).close();
  auto database = *Database::open(scratch.database(), {});
  EXPECT_FALSE(migrate(database, steps).ok());
  EXPECT_EQ(*database.number("PRAGMA user_version"), 1);
  EXPECT_EQ(*database.number("SELECT count(*) FROM sqlite_schema"), 1);
  EXPECT_TRUE(migrate(database, std::span(steps, 1)).ok());
}

TEST(SqliteMigration, CrashesOfVersion2KeepTheirCharge) {
  Scratch scratch;
  std::ofstream(scratch.database()).close();
  {
    auto database = *Database::open(scratch.database(), {});
    ASSERT_TRUE(migrate(database, schema_migrations().first(2)).ok());
    const Status written = database.run(
        "INSERT INTO meta VALUES ('epoch', 1), ('spawner_instance', ''), ('ids_reserved_until', 9), ('low_water', 0);"
        "INSERT INTO specs VALUES (1, 'default', 'p', 't', '', 0, 4, 0, 2.0, 0, 0.0, 0, 0, 0, 0, 0);"
        "INSERT INTO jobs (id, spec, owner, submitted_at, payload) VALUES (1, 1, 0, 5, x'');"
        "INSERT INTO attempts VALUES (1, 1, 1, 1, 9, 2, NULL, 4, x'0400160000000000'),"
        " (1, 2, 1, 1, 9, 2, NULL, 1, x'0100000000000000'), (1, 3, 1, 1, 9, 2, NULL, 13, x'0d00000000000000');");
    ASSERT_TRUE(written.ok()) << written.error().message;
  }
  auto store = open_sqlite_store(scratch.database());
  ASSERT_TRUE(store.ok()) << store.error().message;
  const auto snapshot = (*store)->snapshot();
  ASSERT_TRUE(snapshot.ok()) << snapshot.error().message;
  EXPECT_EQ(snapshot->resident.at(0).crashes, 2u);
  EXPECT_EQ(snapshot->resident.at(0).attempts, 3u);
  EXPECT_EQ(snapshot->specs.at(0).spec.crashes_max, limits::kCrashesDefault);
  EXPECT_TRUE(snapshot->specs.at(0).spec.retry_only.empty());
  EXPECT_EQ(snapshot->specs.at(0).spec.retry_memory_factor, 0);
  EXPECT_EQ(snapshot->resident.at(0).memory_bytes_max, 0u) << "its pool's, as before version 5";
}

TEST(SqliteMigration, BacklogOfVersion5KeepsItsOrder) {
  Scratch scratch;
  std::ofstream(scratch.database()).close();
  {
    auto database = *Database::open(scratch.database(), {});
    ASSERT_TRUE(migrate(database, schema_migrations().first(5)).ok());
    const Status written = database.run(
        "INSERT INTO meta VALUES ('epoch', 1), ('spawner_instance', ''), ('ids_reserved_until', 9), ('low_water', 0);"
        "INSERT INTO specs (id, queue, pool, task, name, priority, max_attempts, backoff_ns, backoff_factor,"
        " backoff_max_ns, jitter, queue_timeout_ns, run_timeout_ns, total_timeout_ns, grace_ns, at_most_once)"
        " VALUES (1, 'default', 'p', 't', '', 0, 4, 0, 2.0, 0, 0.0, 0, 0, 0, 0, 0);"
        "INSERT INTO queues VALUES (1, 'default', 1, 0), (2, 'last', 2, 0); INSERT INTO pools VALUES (1, 'p');"
        "INSERT INTO jobs (id, spec, owner, submitted_at, payload) VALUES (1, 1, 0, 5, x''), (2, 1, 0, 5, x''),"
        " (3, 1, 0, 5, x''), (4, 1, 0, 5, x''), (5, 1, 0, 5, x'');"
        "INSERT INTO backlog VALUES (1, 1, 0, 1), (1, 1, 0, 2), (2, 1, 0, -4), (2, 1, 0, -3);");
    ASSERT_TRUE(written.ok()) << written.error().message;
  }
  auto store = open_sqlite_store(scratch.database());
  ASSERT_TRUE(store.ok()) << store.error().message;
  const auto snapshot = (*store)->snapshot();
  ASSERT_TRUE(snapshot.ok()) << snapshot.error().message;
  ASSERT_EQ(snapshot->backlog.size(), 2u);
  EXPECT_EQ(snapshot->backlog[0].jobs, 2u);
  EXPECT_EQ(snapshot->backlog[1].jobs, 2u);
  ASSERT_EQ(snapshot->resident.size(), 1u);
  EXPECT_EQ(snapshot->resident[0].id, JobId{5});
  Batch ended;
  ended.outcomes.push_back(outcome_row(4));
  ended.backlog_removed.push_back({QueueId{2}, PoolId{1}, {0, -4}});
  ASSERT_FALSE((*store)->commit(ended).has_value());
  const auto claimed = (*store)->claim({QueueId{2}, PoolId{1}, std::nullopt, 10, 1'000});
  ASSERT_TRUE(claimed.ok());
  ASSERT_EQ(claimed->jobs.size(), 1u);
  EXPECT_EQ(claimed->jobs[0].key, (OrderKey{0, -3}));
}

TEST(SqliteMigration, QueuesOfVersion6CountTheBytesOfWhatHasNotEnded) {
  Scratch scratch;
  std::ofstream(scratch.database()).close();
  {
    auto database = *Database::open(scratch.database(), {});
    ASSERT_TRUE(migrate(database, schema_migrations().first(6)).ok());
    const Status written = database.run(
        "INSERT INTO meta VALUES ('epoch', 1), ('spawner_instance', ''), ('ids_reserved_until', 9), ('low_water', 0);"
        "INSERT INTO specs (id, queue, pool, task, name, priority, max_attempts, backoff_ns, backoff_factor,"
        " backoff_max_ns, jitter, queue_timeout_ns, run_timeout_ns, total_timeout_ns, grace_ns, at_most_once)"
        " VALUES (1, 'default', 'p', 't', '', 0, 4, 0, 2.0, 0, 0.0, 0, 0, 0, 0, 0);"
        "INSERT INTO queues VALUES (1, 'default', 1, 1), (2, 'idle', 2, 0); INSERT INTO pools VALUES (1, 'p');"
        "INSERT INTO jobs (id, spec, owner, submitted_at, state, payload) VALUES (1, 1, 0, 5, NULL, x'0102'),"
        " (2, 1, 0, 5, NULL, x'010203'), (3, 1, 0, 5, 5, x'01020304'), (4, 1, 0, 5, NULL, x'0102030405');"
        "INSERT INTO outcomes (job, state, attempt, epoch, finished_at) VALUES (2, 5, 1, 1, 9);");
    ASSERT_TRUE(written.ok()) << written.error().message;
  }
  auto store = open_sqlite_store(scratch.database());
  ASSERT_TRUE(store.ok()) << store.error().message;
  const auto snapshot = (*store)->snapshot();
  ASSERT_TRUE(snapshot.ok()) << snapshot.error().message;
  ASSERT_EQ(snapshot->queues.size(), 2u);
  EXPECT_EQ(snapshot->queues[0].bytes, 7u) << "jobs 1 and 4";
  EXPECT_TRUE(snapshot->queues[0].paused);
  EXPECT_EQ(snapshot->queues[0].options, QueueOptions{});
  EXPECT_FALSE(snapshot->queues[0].draining);
  EXPECT_EQ(snapshot->queues[1].bytes, 0u);
  EXPECT_FALSE(snapshot->specs.at(0).spec.front);
}

TEST(SqliteMigration, DeliveriesOfVersion3ThatWereBehindAnotherAreDue) {
  Scratch scratch;
  std::ofstream(scratch.database()).close();
  {
    auto database = *Database::open(scratch.database(), {});
    ASSERT_TRUE(migrate(database, schema_migrations().first(3)).ok());
    const Status written = database.run(
        "INSERT INTO meta VALUES ('epoch', 1), ('spawner_instance', ''), ('ids_reserved_until', 9), ('low_water', 0);"
        "INSERT INTO deliveries VALUES (32, 1, 7, 2, 1, 5, 2, ''), (34, 1, 7, 5, 0, 0, 0, '');");
    ASSERT_TRUE(written.ok()) << written.error().message;
  }
  auto store = open_sqlite_store(scratch.database());
  ASSERT_TRUE(store.ok()) << store.error().message;
  const auto due = (*store)->claim(DeliveryClaim{7, 10});
  ASSERT_TRUE(due.ok());
  EXPECT_EQ(due->rows.size(), 2u);
  for (const DeliveryRow& row : due->rows) EXPECT_TRUE(row.behind.empty());
}

TEST(SqliteMigration, Version4HasNoCancelsAndTakesThem) {
  Scratch scratch;
  std::ofstream(scratch.database()).close();
  {
    auto database = *Database::open(scratch.database(), {});
    ASSERT_TRUE(migrate(database, schema_migrations().first(4)).ok());
    const Status written = database.run(
        "INSERT INTO meta VALUES ('epoch', 1), ('spawner_instance', ''), ('ids_reserved_until', 9), ('low_water', 0);");
    ASSERT_TRUE(written.ok()) << written.error().message;
  }
  const auto store = *open_sqlite_store(scratch.database());
  EXPECT_TRUE(store->snapshot()->cancels.empty());
  Batch batch = first_batch();
  batch.cancels_added.push_back({JobId{2}, Instant{1}, Instant{2}, ""});
  ASSERT_FALSE(store->commit(batch).has_value());
  EXPECT_EQ(store->snapshot()->cancels, batch.cancels_added);
}

TEST(SqliteMigration, JobsOfVersion4HaveNoParent) {
  Scratch scratch;
  std::ofstream(scratch.database()).close();
  {
    auto database = *Database::open(scratch.database(), {});
    ASSERT_TRUE(migrate(database, schema_migrations().first(4)).ok());
    const Status written = database.run(
        "INSERT INTO meta VALUES ('epoch', 1), ('spawner_instance', ''), ('ids_reserved_until', 9), ('low_water', 0);"
        "INSERT INTO specs VALUES (1, 'default', 'p', 't', '', 0, 4, 0, 2.0, 0, 0.0, 0, 0, 0, 0, 0, '', '', 3, x'', 0, "
        "0);"
        "INSERT INTO jobs (id, spec, owner, submitted_at, payload) VALUES (1, 1, 0, 5, x'');");
    ASSERT_TRUE(written.ok()) << written.error().message;
  }
  auto store = open_sqlite_store(scratch.database());
  ASSERT_TRUE(store.ok()) << store.error().message;
  const auto snapshot = (*store)->snapshot();
  ASSERT_TRUE(snapshot.ok()) << snapshot.error().message;
  EXPECT_EQ(snapshot->resident.at(0).lineage, Lineage{});
}

TEST(SqliteCrash, CopyTakenAfterACommitHoldsIt) {
  Scratch scratch;
  Scratch copies;
  SqliteOptions options;
  options.checkpoint_pages = 8;
  const auto store = *open_sqlite_store(scratch.database(), options);
  ASSERT_FALSE(store->commit(first_batch(1)).has_value());
  for (std::uint64_t id = 2; id <= 30; ++id) {
    Batch batch;
    batch.jobs.push_back(job_row(id, 1, std::string(3'000, 'p')));
    ASSERT_FALSE(store->commit(batch).has_value());
    const std::string copy = (copies.folder() / (std::to_string(id) + ".db")).string();
    fs::copy_file(scratch.database(), copy);
    fs::copy_file(scratch.database() + "-wal", copy + "-wal");
    auto opened = open_sqlite_store(copy, options);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    EXPECT_EQ((*opened)->snapshot()->resident.size(), id);
  }
}

TEST(SqliteCrash, KilledWriterLosesNothingItWasToldIsStored) {
  Scratch scratch;
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  Fd told(ends[0]);
  Fd tell(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    SqliteOptions options;
    options.checkpoint_pages = 8;
    auto store = open_sqlite_store(scratch.database(), options);
    if (!store.ok() || (*store)->commit(first_batch(1)).has_value()) ::_exit(1);
    for (std::uint64_t id = 2;; ++id) {
      Batch batch;
      batch.jobs.push_back(job_row(id));
      if (id % 2 == 0) batch.outcomes.push_back(outcome_row(id - 1));
      if ((*store)->commit(batch).has_value()) ::_exit(1);
      if (::write(tell.get(), &id, sizeof id) != sizeof id) ::_exit(1);
    }
  }
  tell.reset();
  std::uint64_t last = 0;
  while (last < 100 && ::read(told.get(), &last, sizeof last) == sizeof last) {
  }
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  while (::read(told.get(), &last, sizeof last) == sizeof last) {
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  ASSERT_GE(last, 100u);

  auto store = open_sqlite_store(scratch.database());
  ASSERT_TRUE(store.ok()) << store.error().message;
  std::vector<JobId> ids;
  for (std::uint64_t id = 1; id <= last; ++id) ids.push_back(JobId{id});
  const auto loaded = (*store)->load(ids);
  ASSERT_EQ(loaded->jobs.size(), last);
  for (const StoredJob& job : loaded->jobs) {
    if (job.id.value % 2 == 1 && job.id.value < last) {
      EXPECT_EQ(job.state, JobState::kSucceeded) << job.id.value;
    }
  }
}

std::string large_payload(char fill) {
  std::string payload;
  append_part(payload, {.bytes = std::string(limits::kStoredInlineBytesMax + 1, fill)});
  return payload;
}

std::size_t files_of(const Scratch& scratch) {
  const std::string directory = scratch.database() + ".files";
  if (!fs::exists(directory)) return 0;
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

TEST(SqliteFiles, ManyJobsWithOnePayloadHaveOneFileThatGoesWithTheLast) {
  Scratch scratch;
  {
    const auto store = *open_sqlite_store(scratch.database());
    Batch batch = first_batch(0);
    for (std::uint64_t id = 1; id <= 3; ++id) batch.jobs.push_back(job_row(id, 1, large_payload('p')));
    batch.jobs[1].ending = ending_of(JobState::kSucceeded);
    batch.jobs[1].ending.result = large_payload('r');
    ASSERT_FALSE(store->commit(batch).has_value());
    EXPECT_EQ(files_of(scratch), 2u);
    struct stat directory {};
    ASSERT_EQ(::stat((scratch.database() + ".files").c_str(), &directory), 0);
    EXPECT_EQ(directory.st_mode & 0777, 0700u);
  }
  EXPECT_LT(number(scratch.database(), "SELECT max(length(payload)) FROM jobs"), 100);
  EXPECT_EQ(number(scratch.database(), "SELECT count(*) FROM file_uses"), 4);
  (void)number(scratch.database(), "DELETE FROM jobs WHERE id IN (2, 3)");
  EXPECT_TRUE(open_sqlite_store(scratch.database()).ok());
  EXPECT_EQ(files_of(scratch), 1u) << "the first job still has its payload";
  (void)number(scratch.database(), "DELETE FROM jobs");
  EXPECT_TRUE(open_sqlite_store(scratch.database()).ok());
  EXPECT_EQ(files_of(scratch), 0u);
  EXPECT_EQ(number(scratch.database(), "SELECT count(*) FROM file_uses"), 0);
}

TEST(SqliteFiles, ALostFileCostsItsJobAlone) {
  Scratch scratch;
  const auto store = *open_sqlite_store(scratch.database());
  Batch batch = first_batch(0);
  batch.jobs.push_back(job_row(1, 1, large_payload('a')));
  batch.jobs.push_back(job_row(2, 1, large_payload('b')));
  ASSERT_FALSE(store->commit(batch).has_value());
  const Digest lost = Digest::of(std::string(limits::kStoredInlineBytesMax + 1, 'a'));
  ASSERT_TRUE(fs::remove(scratch.database() + ".files/" + lost.hex() + ".zst"));
  const auto loaded = store->load({JobId{1}, JobId{2}});
  ASSERT_TRUE(loaded.ok());
  const auto parts = decode_parts(loaded->jobs[0].payload.view());
  ASSERT_TRUE(parts.ok());
  EXPECT_EQ((*parts)[0].kind, PartKind::kLost);
  EXPECT_NE((*parts)[0].bytes.find(lost.hex()), std::string_view::npos);
  EXPECT_EQ(loaded->jobs[1].payload.view(), large_payload('b'));
}

TEST(SqliteFiles, WhatCannotBeWrittenIsTriedAgain) {
  Scratch scratch;
  const auto store = *open_sqlite_store(scratch.database());
  std::ofstream(scratch.database() + ".files") << "in the way";
  Batch batch = first_batch(1);
  batch.jobs.push_back(job_row(2, 1, large_payload('a')));
  const auto failed = store->commit(batch);
  ASSERT_TRUE(failed.has_value());
  EXPECT_EQ(failed->fault, CommitFault::kRolledBack);
  EXPECT_TRUE(says(failed->error, scratch.database() + ".files")) << failed->error.message;
  EXPECT_EQ(number(scratch.database(), "SELECT count(*) FROM jobs"), 0);
  fs::remove(scratch.database() + ".files");
  EXPECT_FALSE(store->commit(batch).has_value());
  EXPECT_EQ(number(scratch.database(), "SELECT count(*) FROM jobs"), 2);
}

TEST(SqliteFiles, WhatAKeeperWroteStaysWhenItsBatchIsCommitted) {
  Scratch scratch;
  const auto store = *open_sqlite_store(scratch.database());
  const auto keeper = store->keeper();
  ASSERT_NE(keeper, nullptr);
  const std::string accepted = large_payload('a');
  const std::string refused = large_payload('r');
  auto hold = keeper->keep({accepted});
  auto other = keeper->keep({refused});
  ASSERT_TRUE(hold.ok() && other.ok());
  EXPECT_EQ(files_of(scratch), 2u);
  Batch batch = first_batch(0);
  batch.jobs.push_back(job_row(1, 1, accepted));
  EXPECT_TRUE(store->writes_files(batch));
  EXPECT_FALSE(store->writes_files(first_batch(1)));
  ASSERT_FALSE(store->commit(batch).has_value());
  *hold = nullptr;
  *other = nullptr;
  EXPECT_EQ(files_of(scratch), 1u);
  EXPECT_EQ(store->load({JobId{1}})->jobs[0].payload.view(), accepted);
}

TEST(SqliteMark, RisesWithTheOldestOpenJobAndPassesOverStragglers) {
  Scratch scratch;
  SqliteOptions options;
  options.mark_step_ids = 10;
  options.tail_ids_max = 100;
  const auto store = *open_sqlite_store(scratch.database(), options);
  ASSERT_FALSE(store->commit(first_batch(1)).has_value());  // job 1 never ends
  std::uint64_t next = 2;
  const auto folded_jobs = [&](int commits) {
    for (int i = 0; i < commits; ++i) {
      Batch batch;
      for (int j = 0; j < 20; ++j) {
        batch.jobs.push_back(job_row(next++));
        batch.jobs.back().ending = ending_of(JobState::kSucceeded);
      }
      ASSERT_FALSE(store->commit(batch).has_value());
    }
  };
  const auto mark = [&] { return number(scratch.database(), "SELECT value FROM meta WHERE name = 'low_water'"); };
  folded_jobs(4);
  EXPECT_LE(mark(), 1) << "it waits for job 1";
  folded_jobs(10);
  EXPECT_GE(mark(), static_cast<std::int64_t>(next) - 130);
  EXPECT_EQ(number(scratch.database(), "SELECT job FROM stragglers"), 1);
  Batch ended;
  ended.outcomes.push_back(outcome_row(1));
  ASSERT_FALSE(store->commit(ended).has_value());
  EXPECT_EQ(number(scratch.database(), "SELECT count(*) FROM stragglers"), 0);
}

TEST(SqliteMark, JobsOfTheBacklogDoNotHoldIt) {
  Scratch scratch;
  SqliteOptions options;
  options.mark_step_ids = 10;
  const auto store = *open_sqlite_store(scratch.database(), options);
  ASSERT_FALSE(store->commit(first_batch(0)).has_value());
  for (std::uint64_t id = 1; id <= 200; id += 20) {
    Batch batch;
    for (std::uint64_t job = id; job < id + 20; ++job) {
      batch.jobs.push_back(job_row(job));
      batch.backlog_added.push_back(fifo_key(job));
    }
    ASSERT_FALSE(store->commit(batch).has_value());
  }
  EXPECT_GT(number(scratch.database(), "SELECT value FROM meta WHERE name = 'low_water'"), 160);
  EXPECT_EQ(number(scratch.database(), "SELECT count(*) FROM stragglers"), 0);
}

TEST(SqliteWal, IsRecycledNotGrown) {
  Scratch scratch;
  SqliteOptions options;
  options.checkpoint_pages = 50;
  const auto store = *open_sqlite_store(scratch.database(), options);
  ASSERT_FALSE(store->commit(first_batch(1)).has_value());
  const auto reader = store->reader();
  for (std::uint64_t id = 2; id <= 1'000; ++id) {
    Batch batch;
    batch.jobs.push_back(job_row(id, 1, std::string(1'000, 'p')));
    ASSERT_FALSE(store->commit(batch).has_value());
    store->tend();
    ASSERT_TRUE(reader->list({}).ok());
  }
  EXPECT_LT(fs::file_size(scratch.database() + "-wal"), 2u * 50 * 4'120);
}

TEST(SqliteReads, StayWithinTheirIndexes) {
  Scratch scratch;
  { const auto store = *open_sqlite_store(scratch.database()); }
  auto database = *Database::open(scratch.database(), {});
  const auto plan = [&](const std::string& sql) {
    auto statement = database.prepare("EXPLAIN QUERY PLAN " + sql);
    EXPECT_TRUE(statement.ok()) << statement.error().message;
    std::string steps;
    Execution row(*statement);
    while (row.next()) steps += std::string(row.bytes(3)) + "\n";
    return steps;
  };
  for (const char* sql :
       {"SELECT * FROM job_state WHERE id = 1", "SELECT id, state FROM job_state WHERE id < 9 ORDER BY id DESC",
        "SELECT id, state FROM job_state WHERE id > 3 AND id < 9 ORDER BY id",
        "SELECT count FROM backlog WHERE queue = 1 AND pool = 1 AND (rank, first) > (1, 2) ORDER BY rank, first",
        "SELECT count FROM backlog WHERE queue = 1 AND pool = 1 AND rank = 1 AND first <= 2 ORDER BY first DESC"}) {
    const std::string steps = plan(sql);
    EXPECT_EQ(steps.find("SCAN"), std::string::npos) << steps;
    EXPECT_EQ(steps.find("TEMP B-TREE"), std::string::npos) << steps;
  }
}

}  // namespace
}  // namespace futured
