#include <sqlite3.h>

#include <algorithm>
#include <set>

#include "daemon/store/sqlite_rows.h"
#include "daemon/store/sqlite_store.h"

namespace futured {

Result<Snapshot> SqliteStore::snapshot() {
  Snapshot snapshot;
  if (const Status found = find_open_jobs(); !found) return found.error();
  if (const Status read = read_meta(snapshot); !read) return read.error();
  if (const Status read = read_lanes(snapshot); !read) return read.error();
  if (const Status read = read_delayed(snapshot); !read) return read.error();
  if (const Status read = read_semaphores(snapshot); !read) return read.error();
  if (const Status read = read_resident(snapshot); !read) return read.error();
  if (const Status read = read_schedules(snapshot); !read) return read.error();
  if (const Status read = read_cache_entries(snapshot); !read) return read.error();
  if (const Status read = read_cancels(snapshot); !read) return read.error();
  if (const Status read = read_callbacks(snapshot); !read) return read.error();
  if (const Status read = read_dependencies(snapshot); !read) return read.error();
  return snapshot;
}

// Every open job is at or above the low-water mark, or a straggler: so this looks at few rows of `jobs` however many
// there are. Of `backlog` it looks at all.
Status SqliteStore::find_open_jobs() {
  if (open_jobs_known_) return {};
  const Result<std::int64_t> mark = database_.number("SELECT value FROM meta WHERE name = 'low_water'");
  if (!mark) return mark.error().in("database " + path_);
  const Result<std::int64_t> newest = database_.number("SELECT max(id) FROM jobs");
  if (!newest) return newest.error().in("database " + path_);

  OpenJobs found;
  const std::string from = std::to_string(*mark);
  const auto each = [&](const std::string& sql, const auto& use) -> Status {
    Result<Statement> statement = database_.prepare(sql);
    if (!statement) return statement.error();
    Execution row(*statement);
    while (row.next()) use(row.number(0));
    if (row.code() != SQLITE_OK) return database_.error(row.code());
    return {};
  };
  Status read = each("SELECT job FROM stragglers", [&](std::uint64_t id) { found.open(id); });
  if (read) {
    read =
        each("SELECT id FROM job_state WHERE state = 3 AND id >= " + from, [&](std::uint64_t id) { found.open(id); });
  }
  if (read) {
    read = settle_backlog(found, static_cast<std::uint64_t>(*mark));
  }
  if (read) read = settle_delayed(found, static_cast<std::uint64_t>(*mark));
  if (!read) return read.error().in("database " + path_);

  found.note(static_cast<std::uint64_t>(*newest));
  open_jobs_ = std::move(found);
  mark_ = static_cast<std::uint64_t>(*mark);
  open_jobs_known_ = true;
  return {};
}

Status SqliteStore::read_meta(Snapshot& snapshot) {
  Result<Statement> statement = database_.prepare("SELECT name, value FROM meta");
  if (!statement) return statement.error().in("database " + path_);
  {
    Execution row(*statement);
    while (row.next()) {
      const std::string_view name = row.bytes(0);
      if (name == "epoch") snapshot.epoch = Epoch{row.number32(1)};
      if (name == "spawner_instance") snapshot.spawner_instance = row.bytes(1);
      if (name == "ids_reserved_until") snapshot.ids_reserved_until = row.number(1);
    }
    if (row.code() != SQLITE_OK) return fault(row.code());
  }
  const Result<std::int64_t> spec = database_.number("SELECT max(id) FROM specs");
  if (!spec) return spec.error().in("database " + path_);
  snapshot.specs_until = static_cast<std::uint64_t>(*spec) + 1;
  return {};
}

Status SqliteStore::read_lanes(Snapshot& snapshot) {
  Result<Statement> queues = database_.prepare(
      "SELECT id, name, discipline, paused, options, draining, created_at, bytes FROM queues ORDER BY id");
  Result<Statement> pools = database_.prepare("SELECT id, name FROM pools ORDER BY id");
  Result<Statement> lanes = database_.prepare("SELECT queue, pool, sum(count) FROM backlog GROUP BY queue, pool");
  if (!queues) return queues.error().in("database " + path_);
  if (!pools) return pools.error().in("database " + path_);
  if (!lanes) return lanes.error().in("database " + path_);
  Result<Statement> deadlines = database_.prepare("SELECT at, first, count FROM deadlines ORDER BY at, first");
  if (!deadlines) return deadlines.error().in("database " + path_);
  Execution queue(*queues);
  while (queue.next()) {
    Result<QueueOptions> options = decode_queue_options(queue.bytes(4));
    if (!options) return options.error().in("database " + path_ + ", queue \"" + std::string(queue.bytes(1)) + "\"");
    snapshot.queues.push_back({QueueId{queue.number32(0)}, std::string(queue.bytes(1)),
                               static_cast<Discipline>(queue.integer(2)), queue.integer(3) != 0, *std::move(options),
                               queue.integer(5) != 0, WallTime{queue.integer(6)}, queue.number(7)});
  }
  if (queue.code() != SQLITE_OK) return fault(queue.code());
  Execution pool(*pools);
  while (pool.next()) snapshot.pools.push_back({PoolId{pool.number32(0)}, std::string(pool.bytes(1))});
  if (pool.code() != SQLITE_OK) return fault(pool.code());
  Execution lane(*lanes);
  while (lane.next()) {
    snapshot.backlog.push_back({QueueId{lane.number32(0)}, PoolId{lane.number32(1)}, lane.number(2)});
  }
  if (lane.code() != SQLITE_OK) return fault(lane.code());
  Execution deadline(*deadlines);
  while (deadline.next()) {
    snapshot.deadlines.push_back({WallTime{deadline.integer(0)}, JobId{deadline.number(1)}, deadline.number32(2)});
  }
  if (deadline.code() != SQLITE_OK) return fault(deadline.code());
  return {};
}

Status SqliteStore::read_semaphores(Snapshot& snapshot) {
  Result<Statement> semaphores = database_.prepare("SELECT name, permits FROM semaphores ORDER BY name");
  Result<Statement> needs = database_.prepare("SELECT DISTINCT queue, needs FROM specs WHERE needs <> ''");
  if (!semaphores) return semaphores.error().in("database " + path_);
  if (!needs) return needs.error().in("database " + path_);
  Execution semaphore(*semaphores);
  while (semaphore.next()) snapshot.semaphores.push_back({std::string(semaphore.bytes(0)), semaphore.number32(1)});
  if (semaphore.code() != SQLITE_OK) return fault(semaphore.code());
  std::set<std::pair<std::string, std::string>> pairs;
  Execution need(*needs);
  while (need.next()) {
    for (const Need& one : decode_needs(need.bytes(1))) pairs.emplace(std::string(need.bytes(0)), one.semaphore);
  }
  if (need.code() != SQLITE_OK) return fault(need.code());
  snapshot.needs.assign(pairs.begin(), pairs.end());
  return {};
}

Status SqliteStore::read_resident(Snapshot& snapshot) {
  std::vector<SpecId> specs;
  for (std::uint64_t id = open_jobs_.first_from(0); id != 0; id = open_jobs_.first_from(id + 1)) {
    Result<std::optional<StoredJob>> job = load_one(id);
    if (!job) return job.error();
    if (!*job || is_terminal((*job)->state)) {
      return Error{ErrorCode::kDataLoss, "database " + path_ + ": job " + std::to_string(id) +
                                             " is listed as unfinished and is not; restore it from a backup"};
    }
    specs.push_back((*job)->spec);
    snapshot.resident.push_back(**std::move(job));
  }
  Result<std::vector<SpecRow>> read = read_specs(std::move(specs));
  if (!read) return read.error();
  snapshot.specs = *std::move(read);
  std::vector<StoredJob*> jobs;
  for (StoredJob& job : snapshot.resident) jobs.push_back(&job);
  return add_cache_keys(jobs, snapshot.specs);
}

Status SqliteStore::read_cancels(Snapshot& snapshot) {
  Result<Statement> cancels = database_.prepare(
      "SELECT c.job, c.asked_at, c.kill_at, c.reason FROM cancels c JOIN job_state j ON j.id = c.job"
      " WHERE j.state = 3 ORDER BY c.job");
  if (!cancels) return cancels.error().in("database " + path_);
  Execution row(*cancels);
  while (row.next()) {
    snapshot.cancels.push_back(
        {JobId{row.number(0)}, Instant{row.integer(1)}, Instant{row.integer(2)}, std::string(row.bytes(3))});
  }
  if (row.code() != SQLITE_OK) return fault(row.code());
  return {};
}

Status SqliteStore::read_callbacks(Snapshot& snapshot) {
  const Result<std::int64_t> newest = database_.number("SELECT max(id) FROM callbacks");
  if (!newest) return newest.error().in("database " + path_);
  snapshot.callbacks_until = std::max(static_cast<std::uint64_t>(*newest) / 2 + 1, retention_.callbacks_until);
  Result<Statement> lanes =
      database_.prepare("SELECT lane, min(at) FROM deliveries WHERE state = 2 GROUP BY lane ORDER BY lane");
  Result<Statement> waiting = database_.prepare(
      "SELECT c.id, c.job, c.owner, c.spec, c.batch_jobs FROM deliveries d JOIN callbacks c ON c.id = d.id"
      " WHERE d.state = 1 ORDER BY d.id");
  Result<Statement> batches = database_.prepare(
      "SELECT first, count, ended, failed, max_failures FROM whole_batches WHERE ended < count ORDER BY first");
  if (!lanes) return lanes.error().in("database " + path_);
  if (!waiting) return waiting.error().in("database " + path_);
  if (!batches) return batches.error().in("database " + path_);
  Execution lane(*lanes);
  while (lane.next()) snapshot.deliveries.push_back({lane.number32(0), WallTime{lane.integer(1)}});
  if (lane.code() != SQLITE_OK) return fault(lane.code());
  Execution callback(*waiting);
  while (callback.next()) {
    snapshot.waiting_callbacks.push_back({CallbackId{callback.number(0)}, JobId{callback.number(1)},
                                          callback.number32(2), std::string(callback.bytes(3)), callback.number32(4)});
  }
  if (callback.code() != SQLITE_OK) return fault(callback.code());
  Execution batch(*batches);
  while (batch.next()) snapshot.whole_batches.push_back(read_whole_batch(batch));
  if (batch.code() != SQLITE_OK) return fault(batch.code());
  return {};
}

}  // namespace futured
