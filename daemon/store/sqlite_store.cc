#include "daemon/store/sqlite_store.h"

#include <fcntl.h>
#include <sqlite3.h>

#include <cerrno>
#include <tuple>

#include "daemon/store/sqlite_keys.h"
#include "daemon/store/sqlite_reader.h"
#include "daemon/store/sqlite_rows.h"
#include "daemon/store/sqlite_schema.h"

namespace futured {
namespace {

// SQLite would create it with the umask's mode; its -wal and -shm files take over this one's.
Status create_file(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.is_open()) {
    Error error = system_error("cannot open it");
    if (errno == EACCES || errno == EROFS) error.message += "; the daemon's user must be able to read and write it";
    return error;
  }
  const std::string folder = path.substr(0, path.find_last_of('/') + 1);
  const Fd directory(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.is_open() || ::fsync(directory.get()) != 0) return system_error("cannot sync its directory");
  return {};
}

Status use_wal(Database& database, int page_bytes) {
  // The first two only count before the first table is made.
  const Status shaped = database.run("PRAGMA page_size = " + std::to_string(page_bytes) +
                                     "; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
                                     // Acknowledged means on disk: each commit is synced.
                                     "PRAGMA synchronous = FULL;"
                                     // Debian's SQLite overwrites what is deleted; our rows are not secrets to a disk's
                                     // reader, and the backlog is deleted as it shrinks.
                                     "PRAGMA secure_delete = OFF;"
                                     // A WAL that a long read made long is cut back to this when it begins anew.
                                     "PRAGMA journal_size_limit = 33554432; PRAGMA temp_store = MEMORY");
  if (!shaped) return shaped.error();
  Result<Statement> mode = database.prepare("PRAGMA journal_mode");
  if (!mode) return mode.error();
  Execution execution(*mode);
  if (!execution.next() || execution.bytes(0) != "wal") {
    return Error{ErrorCode::kFailedPrecondition,
                 "its file system cannot share memory between processes; use a local one"};
  }
  return {};
}

// By a connection of its own, for releases are rare. What cannot be told now the next start's sweep finds.
bool is_file_used(const std::string& path, const std::string& vfs, const Digest& digest) {
  Result<Database> database = Database::open(path, {.read_only = true, .vfs = vfs, .cache_kib = 64});
  if (!database) return true;
  Result<Statement> used = database->prepare("SELECT 1 FROM file_uses WHERE digest = ? LIMIT 1");
  if (!used) return true;
  used->bind_blob(1, digest.raw());
  Execution row(*used);
  return row.next() || row.code() != SQLITE_OK;
}

}  // namespace

StoreVersion sqlite_version() {
  return {std::string("sqlite ") + sqlite3_libversion(), static_cast<std::uint32_t>(schema_migrations().size())};
}

Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& path, int compression_level) {
  SqliteOptions options;
  options.compression_level = compression_level;
  return SqliteStore::open(path, options);
}

Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& path, const SqliteOptions& options) {
  return SqliteStore::open(path, options);
}

Result<std::unique_ptr<Store>> SqliteStore::open(const std::string& path, const SqliteOptions& options) {
  const std::string what = "database " + path;
  Result<LockFile> lock = LockFile::take(path + ".lock");
  if (!lock) return lock.error().in(what);
  if (const Status created = create_file(path); !created) return created.error().in(what);
  Result<Database> database =
      Database::open(path, {.read_only = false, .vfs = options.vfs, .cache_kib = options.cache_kib});
  if (!database) return database.error().in(what);
  // Before anything is changed: a file that is not ours stays as it is.
  if (const Status known = check_schema(*database, schema_migrations()); !known) return known.error().in(what);
  if (const Status shaped = use_wal(*database, options.page_bytes); !shaped) return shaped.error().in(what);
  if (const Status migrated = migrate(*database, schema_migrations()); !migrated) return migrated.error().in(what);

  std::unique_ptr<SqliteStore> store(new SqliteStore(*std::move(lock), *std::move(database), path, options));
  if (const Status prepared = store->prepare(); !prepared) return prepared.error().in(what);
  return std::unique_ptr<Store>(std::move(store));
}

SqliteStore::SqliteStore(LockFile lock, Database database, std::string path, const SqliteOptions& options)
    : lock_(std::move(lock)),
      database_(std::move(database)),
      path_(std::move(path)),
      options_(options),
      reserve_(path_ + ".reserve", options.reserve_bytes),
      files_(std::make_shared<ContentFiles>(path_ + ".files", options.compression_level)),
      sent_(std::make_shared<SentContents>(path_ + ".files", files_)) {
  sqlite3_wal_hook(
      database_.raw(),
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<SqliteStore*>(self)->wal_pages_ = pages;
        return SQLITE_OK;
      },
      this);
  short_of_space_ = !reserve_.fill();
}

SqliteStore::~SqliteStore() {
  files_->close();  // before the lock is given up
  // What a failed fsync left behind is for the next start to read from the WAL, not for this one to copy.
  if (broken_) sqlite3_db_config(database_.raw(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

Status SqliteStore::prepare() {
  const std::string claim =
      "SELECT j.id, j.spec, j.owner, j.retry_of, j.submitted_at, j.payload, 3,"
      " EXISTS (SELECT 1 FROM attempts a WHERE a.job = j.id), EXISTS (SELECT 1 FROM starts s WHERE s.job = j.id),"
      " coalesce(c.parent, 0), coalesce(c.depth, 0), (SELECT start_at FROM delays d WHERE d.job = j.id)"
      " FROM jobs j LEFT JOIN children c ON c.job = j.id"
      " WHERE j.id BETWEEN ? AND ?";
  const std::pair<Statement*, std::string> statements[] = {
      {&writes_.begin, "BEGIN IMMEDIATE"},
      {&writes_.commit, "COMMIT"},
      {&writes_.rollback, "ROLLBACK"},
      {&writes_.spec, std::string("INSERT INTO specs (") + kSpecColumns +
                          ", first_job) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
                          " ON CONFLICT (id) DO UPDATE SET waits_for = NULL"},
      {&writes_.moved, "UPDATE jobs SET spec = ?2 WHERE id = ?1"},
      {&writes_.moved_to, "UPDATE specs SET first_job = min(first_job, ?1) WHERE id = ?2"},
      {&writes_.queue,
       "INSERT INTO queues (id, name, discipline, paused, options, draining, created_at) VALUES (?1,?2,?3,?4,?5,?6,?7) "
       "ON CONFLICT (id) DO UPDATE SET name = ?2, discipline = ?3, paused = ?4, options = ?5, draining = ?6, "
       "created_at = ?7"},
      {&writes_.queue_remove, "DELETE FROM queues WHERE id = ?"},
      {&writes_.queue_bytes, "UPDATE queues SET bytes = ?2 WHERE id = ?1"},
      {&writes_.pool, "INSERT OR REPLACE INTO pools VALUES (?,?)"},
      {&writes_.semaphore, "INSERT OR REPLACE INTO semaphores VALUES (?,?)"},
      {&writes_.semaphore_remove, "DELETE FROM semaphores WHERE name = ?"},
      {&writes_.attempt, "INSERT INTO attempts VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"},
      {&writes_.start, "INSERT OR REPLACE INTO starts VALUES (?,?,?)"},
      {&writes_.cancel_add, "INSERT OR REPLACE INTO cancels VALUES (?,?,?,?)"},
      {&writes_.cancel_remove, "DELETE FROM cancels WHERE job = ?"},
      {&writes_.backlog_remove,
       "DELETE FROM backlog WHERE queue = ? AND pool = ? AND rank = ? AND first BETWEEN ? AND ?"},
      {&writes_.backlog_rest, "INSERT INTO backlog VALUES (?,?,?,?,?)"},
      {&writes_.deadline_add, "INSERT OR REPLACE INTO deadlines VALUES (?,?,?)"},
      {&writes_.deadline_remove, "DELETE FROM deadlines WHERE at = ? AND first = ?"},
      {&writes_.delay, "INSERT INTO delays VALUES (?,?)"},
      {&writes_.delayed_add, "INSERT INTO delayed VALUES (?,?,?,?,?)"},
      {&writes_.delayed_remove, "DELETE FROM delayed WHERE at = ? AND first = ?"},
      {&writes_.delayed_lane,
       "INSERT INTO delayed_lanes VALUES (?,?,?) ON CONFLICT (queue, pool) DO UPDATE SET jobs = jobs + excluded.jobs"},
      {&reads_.delayed, "SELECT at, first, count, queue, pool FROM delayed WHERE at <= ? ORDER BY at, first LIMIT ?"},
      {&reads_.delayed_run,
       "SELECT at, first, count, queue, pool FROM delayed WHERE at = ? AND first <= ? ORDER BY first DESC LIMIT 1"},
      {&reads_.delayed_next, "SELECT at FROM delayed WHERE (at, first) > (?, ?) ORDER BY at, first LIMIT 1"},
      {&writes_.schedule, "INSERT OR REPLACE INTO schedules VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"},
      {&writes_.schedule_remove, "DELETE FROM schedules WHERE name = ?"},
      {&writes_.dependency_add, "INSERT INTO dependencies VALUES (?,?,?,?,?,?,?,?,?)"},
      {&writes_.dependency_close, "UPDATE dependencies SET state = ?3 WHERE job = ?1 AND number = ?2"},
      {&writes_.event_set, "INSERT OR REPLACE INTO named_events VALUES (?,?)"},
      {&writes_.event_clear, "DELETE FROM named_events WHERE name = ?"},
      {&writes_.straggler_add, "INSERT OR IGNORE INTO stragglers VALUES (?)"},
      {&writes_.straggler_remove, "DELETE FROM stragglers WHERE job = ?"},
      {&writes_.callback, "INSERT INTO callbacks VALUES (?,?,?,?,?)"},
      {&writes_.delivery,
       std::string("INSERT OR REPLACE INTO deliveries (") + kDeliveryColumns + ") VALUES (?,?,?,?,?,?,?,?)"},
      {&writes_.whole_batch, "INSERT OR REPLACE INTO whole_batches VALUES (?,?,?,?,?)"},
      {&writes_.batch, "INSERT INTO batches VALUES (?,?)"},
      {&reads_.batch_with, kBatchWith},
      {&reads_.result, "SELECT state, result FROM job_state WHERE id = ?"},
      {&writes_.file_use, "INSERT OR IGNORE INTO file_uses VALUES (?,?)"},
      {&writes_.child, "INSERT INTO children VALUES (?,?,?)"},
      {&writes_.meta, "INSERT OR REPLACE INTO meta VALUES (?,?)"},
      {&writes_.key_add,
       "INSERT INTO keys VALUES (?,?,?,?,?,?,?) ON CONFLICT DO UPDATE"
       " SET first = excluded.first, count = excluded.count, fingerprint = excluded.fingerprint"
       " WHERE keys.first + keys.count <= coalesce((SELECT value FROM meta WHERE name = 'trimmed_until'), 0)"
       " AND NOT EXISTS (SELECT 1 FROM jobs WHERE id >= keys.first AND id < keys.first + keys.count)"},
      {&writes_.key_filter_add, "INSERT INTO key_filters (bucket, filter, until) VALUES (?,?,?)"},
      {&reads_.key, kFindKey},
      {&reads_.backlog_up,
       "SELECT rank, first, count FROM backlog WHERE queue = ? AND pool = ? AND (rank, first) > (?, ?)"
       " ORDER BY rank, first"},
      {&reads_.backlog_down,
       "SELECT rank, first, count FROM backlog WHERE queue = ? AND pool = ? AND rank = ? AND first <= ?"
       " ORDER BY first DESC"},
      {&reads_.claim_up, claim + " ORDER BY j.id LIMIT ?"},
      {&reads_.claim_down, claim + " ORDER BY j.id DESC LIMIT ?"},
      {&reads_.load,
       "SELECT j.id, j.spec, j.owner, j.retry_of, j.submitted_at, j.payload, j.state,"
       " EXISTS (SELECT 1 FROM attempts a WHERE a.job = j.id), EXISTS (SELECT 1 FROM starts s WHERE s.job = j.id),"
       " j.parent, j.depth, (SELECT start_at FROM delays d WHERE d.job = j.id) FROM job_state j WHERE j.id = ?"},
      {&reads_.attempts,
       "SELECT attempt, charge, retry_at, next_memory_bytes_max FROM attempts WHERE job = ? ORDER BY attempt, epoch"},
      {&reads_.spec, std::string("SELECT ") + kSpecColumns + " FROM specs WHERE id = ?"},
      {&reads_.batch, "SELECT id, owner, state FROM job_state WHERE id BETWEEN ? AND ? ORDER BY id"},
      {&reads_.deliveries,
       "SELECT id, job, lane, state, attempts, at, behind, '' FROM deliveries"
       " WHERE state = 2 AND lane = ? ORDER BY at, id LIMIT ?"},
  };
  for (const auto& [statement, sql] : statements) {
    Result<Statement> prepared = database_.prepare(sql);
    if (!prepared) return prepared.error();
    *statement = *std::move(prepared);
  }
  const std::tuple<BulkInsert*, const char*, int> inserts[] = {
      {&writes_.job,
       "jobs (id, spec, owner, retry_of, submitted_at, payload, state, attempt, epoch, finished_after, ran, cause, "
       "result)",
       13},
      {&writes_.outcome, "outcomes", 8},
      {&writes_.backlog_add, "backlog", 5},
  };
  for (const auto& [insert, into, columns] : inserts) {
    Result<BulkInsert> prepared = database_.prepare_insert(into, columns);
    if (!prepared) return prepared.error();
    *insert = *std::move(prepared);
  }
  if (const Status prepared = retention_.prepare(database_); !prepared) return prepared;
  if (const Status prepared = cache_.prepare(database_); !prepared) return prepared;
  if (const Status loaded = sent_->load(monotonic_now()); !loaded) return loaded;
  if (const Status swept = sweep_files(); !swept) return swept;
  return read_key_filters();
}

// A file goes with the last job, or kept outcome, that it is of. One look-up a file, however many jobs there are.
Status SqliteStore::sweep_files() {
  Result<Statement> used = database_.prepare(
      "SELECT 1 FROM file_uses u WHERE u.digest = ? AND (EXISTS (SELECT 1 FROM jobs j WHERE j.id = u.job) OR"
      " EXISTS (SELECT 1 FROM cache_entries c WHERE c.job = -u.job)) LIMIT 1");
  if (!used) return used.error();
  Result<Statement> forget = database_.prepare("DELETE FROM file_uses WHERE digest = ?");
  if (!forget) return forget.error();
  return files_->sweep([&](const Digest& digest) -> Result<bool> {
    if (sent_->has(digest)) return true;
    used->bind_blob(1, digest.raw());
    {
      Execution row(*used);
      if (row.next()) return true;
      if (row.code() != SQLITE_OK) return database_.error(row.code());
    }
    forget->bind_blob(1, digest.raw());
    if (const int code = forget->run(); code != SQLITE_OK) return database_.error(code);
    return false;
  });
}

std::unique_ptr<StoreReader> SqliteStore::reader() {
  return std::make_unique<SqliteReader>(path_, options_.vfs, files_);
}

std::unique_ptr<PayloadKeeper> SqliteStore::keeper() {
  return std::make_unique<FileKeeper>(
      files_, [path = path_, vfs = options_.vfs](const Digest& digest) { return is_file_used(path, vfs, digest); });
}

Status SqliteStore::begin_epoch(Epoch epoch, const std::string& spawner_instance) {
  int code = writes_.begin.run();
  if (code == SQLITE_OK) code = let_specs_go();
  if (code == SQLITE_OK) code = write_meta("epoch", epoch.value);
  if (code == SQLITE_OK) {
    writes_.meta.bind_text(1, "spawner_instance");
    writes_.meta.bind_text(2, spawner_instance);
    code = writes_.meta.run();
  }
  if (code == SQLITE_OK) code = writes_.commit.run();
  if (code == SQLITE_OK) {
    lengthen_wal();
    return {};
  }
  const Error error = fault(code);
  if (sqlite3_get_autocommit(database_.raw()) == 0) (void)writes_.rollback.run();
  return error;
}

// A sync of a file that grew costs nearly twice one of a file that did not, so the WAL has its usual length from the
// start. Zeros behind its last frame are no frames. Where there is no room it grows as it goes.
void SqliteStore::lengthen_wal() {
  const std::int64_t wanted = options_.checkpoint_pages * 5 / 4 * options_.page_bytes;
  sqlite3_file* wal = nullptr;
  const int found = sqlite3_file_control(database_.raw(), "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
  sqlite3_int64 size = 0;
  if (found != SQLITE_OK || wal == nullptr || wal->pMethods == nullptr) return;
  if (wal->pMethods->xFileSize(wal, &size) != SQLITE_OK) return;
  const std::string zeros(256 * 1024, '\0');
  while (size < wanted) {
    if (wal->pMethods->xWrite(wal, zeros.data(), static_cast<int>(zeros.size()), size) != SQLITE_OK) return;
    size += static_cast<std::int64_t>(zeros.size());
  }
  (void)wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL);
}

}  // namespace futured
