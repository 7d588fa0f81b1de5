// Delayed jobs in SQLite: runs by their time, each job's time, and how many there are in each lane.
#include <sqlite3.h>

#include <algorithm>
#include <map>
#include <unordered_set>
#include <utility>

#include "base/payload.h"
#include "daemon/store/delayed_runs.h"
#include "daemon/store/sqlite_rows.h"
#include "daemon/store/sqlite_store.h"

namespace futured {
namespace {

DelayedRun read_run(const Execution& row) {
  return {{WallTime{row.integer(0)}, JobId{row.number(1)}, QueueId{row.number32(3)}, PoolId{row.number32(4)}},
          row.number(2)};
}

int add_run(Statement& statement, const DelayedRun& run) {
  statement.bind(1, run.first.at.us);
  statement.bind(2, run.first.job.value);
  statement.bind(3, run.count);
  statement.bind(4, run.first.queue.value);
  statement.bind(5, run.first.pool.value);
  return statement.run();
}

}  // namespace

std::vector<DelayedRun> runs_of(std::vector<DelayedKey> keys) {
  if (!std::ranges::is_sorted(keys)) std::ranges::sort(keys);
  std::vector<DelayedRun> runs;
  for (const DelayedKey& key : keys) {
    if (!runs.empty()) {
      DelayedKey next = runs.back().first;
      next.job.value += runs.back().count;
      if (key == next) {
        ++runs.back().count;
        continue;
      }
    }
    runs.push_back({key, 1});
  }
  return runs;
}

int SqliteStore::write_delayed(const Batch& batch, std::uint64_t mark) {
  for (const JobRow& row : batch.jobs) {
    if (row.start_at.us == 0) continue;
    writes_.delay.bind(1, row.id.value);
    writes_.delay.bind(2, row.start_at.us);
    if (const int code = writes_.delay.run(); code != SQLITE_OK) return code;
  }
  for (const DelayedRun& run : runs_of(batch.delayed_removed)) {
    if (const int code = remove_delayed(run); code != SQLITE_OK) return code;
  }
  for (const DelayedRun& run : runs_of(batch.delayed_added)) {
    if (const int code = add_run(writes_.delayed_add, run); code != SQLITE_OK) return code;
  }
  if (const int code = count_delayed(batch); code != SQLITE_OK) return code;
  return write_stragglers(batch, mark);
}

// Of the rows that it touches, what lies before and behind it stays.
int SqliteStore::remove_delayed(const DelayedRun& run) {
  std::uint64_t last = run.last_id();
  while (last >= run.first.job.value) {
    const Result<std::optional<DelayedRun>> found = delayed_run_of(run.first.at, JobId{last});
    if (!found) return SQLITE_ERROR;
    if (!*found || (*found)->last_id() < last) return SQLITE_CONSTRAINT;  // it is not there
    const DelayedRun& stored = **found;
    writes_.delayed_remove.bind(1, stored.first.at.us);
    writes_.delayed_remove.bind(2, stored.first.job.value);
    if (const int code = writes_.delayed_remove.run(); code != SQLITE_OK) return code;
    if (stored.last_id() > last) {
      DelayedRun behind = stored;
      behind.first.job.value = last + 1;
      behind.count = stored.last_id() - last;
      if (const int code = add_run(writes_.delayed_add, behind); code != SQLITE_OK) return code;
    }
    if (stored.first.job < run.first.job) {
      DelayedRun before = stored;
      before.count = run.first.job.value - stored.first.job.value;
      return add_run(writes_.delayed_add, before);
    }
    last = stored.first.job.value - 1;
  }
  return SQLITE_OK;
}

int SqliteStore::count_delayed(const Batch& batch) {
  std::map<std::pair<QueueId, PoolId>, std::int64_t> lanes;
  for (const DelayedKey& key : batch.delayed_added) ++lanes[{key.queue, key.pool}];
  for (const DelayedKey& key : batch.delayed_removed) --lanes[{key.queue, key.pool}];
  for (const auto& [lane, jobs] : lanes) {
    writes_.delayed_lane.bind(1, lane.first.value);
    writes_.delayed_lane.bind(2, lane.second.value);
    writes_.delayed_lane.bind(3, jobs);
    if (const int code = writes_.delayed_lane.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

// A job whose time has come is open from now on, and so is one that left the backlog for another queue. The mark may
// have passed it by while it was not.
int SqliteStore::write_stragglers(const Batch& batch, std::uint64_t mark) {
  if (batch.delayed_removed.empty() && batch.moved.empty()) return SQLITE_OK;
  std::unordered_set<std::uint64_t> settled;
  for (const OutcomeRow& row : batch.outcomes) settled.insert(row.id.value);
  for (const BacklogKey& key : batch.backlog_added) settled.insert(job_of(key.key).value);
  for (const DelayedKey& key : batch.delayed_added) settled.insert(key.job.value);
  const auto note = [&](JobId job) {
    if (job.value >= mark || settled.contains(job.value)) return SQLITE_OK;
    writes_.straggler_add.bind(1, job.value);
    return writes_.straggler_add.run();
  };
  for (const DelayedKey& key : batch.delayed_removed) {
    if (const int code = note(key.job); code != SQLITE_OK) return code;
  }
  for (const MovedRow& row : batch.moved) {
    if (!row.opens) continue;
    if (const int code = note(row.job); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

// The last run of that time which begins at or before the job.
Result<std::optional<DelayedRun>> SqliteStore::delayed_run_of(WallTime at, JobId job) {
  reads_.delayed_run.bind(1, at.us);
  reads_.delayed_run.bind(2, job.value);
  Execution row(reads_.delayed_run);
  if (row.next()) return std::optional(read_run(row));
  if (row.code() != SQLITE_OK) return fault(row.code());
  return std::optional<DelayedRun>();
}

Result<bool> SqliteStore::is_delayed(WallTime at, JobId job) {
  if (at.us == 0) return false;
  const Result<std::optional<DelayedRun>> run = delayed_run_of(at, job);
  if (!run) return run.error();
  return run->has_value() && (*run)->last_id() >= job.value;
}

// Those that wait are not among the open jobs that a start looks for. Of jobs behind the mark only.
Status SqliteStore::settle_delayed(OpenJobs& open, std::uint64_t mark) {
  Result<Statement> statement = database_.prepare("SELECT job, start_at FROM delays WHERE job >= ?");
  if (!statement) return statement.error();
  statement->bind(1, mark);
  Execution row(*statement);
  while (row.next()) {
    if (!open.contains(row.number(0))) continue;
    const Result<bool> waits = is_delayed(WallTime{row.integer(1)}, JobId{row.number(0)});
    if (!waits) return waits.error();
    if (*waits) open.settle(row.number(0));
  }
  if (row.code() != SQLITE_OK) return database_.error(row.code());
  return {};
}

Status SqliteStore::read_delayed(Snapshot& snapshot) {
  Result<Statement> lanes = database_.prepare("SELECT queue, pool, jobs FROM delayed_lanes WHERE jobs > 0");
  if (!lanes) return lanes.error().in("database " + path_);
  Execution lane(*lanes);
  while (lane.next()) {
    snapshot.delayed.push_back({QueueId{lane.number32(0)}, PoolId{lane.number32(1)}, lane.number(2)});
  }
  if (lane.code() != SQLITE_OK) return fault(lane.code());
  reads_.delayed.bind(1, std::int64_t{INT64_MAX});
  reads_.delayed.bind(2, std::int64_t{1});
  Execution first(reads_.delayed);
  if (first.next()) snapshot.next_delayed = WallTime{first.integer(0)};
  if (first.code() != SQLITE_OK) return fault(first.code());
  return {};
}

Result<DelayedAnswer> SqliteStore::claim(const DelayedClaim& claim) {
  DelayedAnswer answer{claim, {}, {}, {}};
  std::vector<DelayedRun> runs;
  reads_.delayed.bind(1, claim.until.us);
  reads_.delayed.bind(2, claim.jobs_max);
  {
    Execution row(reads_.delayed);
    while (row.next()) runs.push_back(read_run(row));
    if (row.code() != SQLITE_OK) return fault(row.code());
  }
  std::vector<SpecId> specs;
  std::uint64_t bytes = 0;
  const auto take = [&](const DelayedRun& run) -> Result<bool> {  // false: there is room for no more
    for (std::uint64_t id = run.first.job.value; id <= run.last_id(); ++id) {
      if (answer.jobs.size() >= claim.jobs_max) return false;
      Result<std::optional<StoredJob>> job = load_one(id);
      if (!job) return job.error();
      if (!*job || is_terminal((*job)->state)) {
        return Error{ErrorCode::kDataLoss, "database " + path_ + ": job " + std::to_string(id) +
                                               " is listed as delayed and is not; restore it from a backup"};
      }
      if (names_result((*job)->payload.view())) {
        if (const Status put = put_results_in(**job); !put) return put.error();
      }
      bytes += (*job)->payload.size;
      if (bytes > claim.bytes_max && !answer.jobs.empty()) return false;
      (*job)->delayed = true;
      specs.push_back((*job)->spec);
      answer.jobs.push_back(**std::move(job));
    }
    return true;
  };
  for (const DelayedRun& run : runs) {
    const Result<bool> all = take(run);
    if (!all) return all.error();
    if (*all) continue;
    answer.next = run.first.at;
    break;
  }
  if (!answer.next) {
    reads_.delayed_next.bind(1, runs.empty() ? std::int64_t{INT64_MIN} : runs.back().first.at.us);
    reads_.delayed_next.bind(2, runs.empty() ? std::uint64_t{0} : runs.back().first.job.value);
    Execution row(reads_.delayed_next);
    if (row.next()) answer.next = WallTime{row.integer(0)};
    if (row.code() != SQLITE_OK) return fault(row.code());
  }
  Result<std::vector<SpecRow>> read = read_specs(std::move(specs));
  if (!read) return read.error();
  answer.specs = *std::move(read);
  std::vector<StoredJob*> jobs;
  for (StoredJob& job : answer.jobs) jobs.push_back(&job);
  if (const Status added = add_cache_keys(jobs, answer.specs); !added) return added.error();
  return answer;
}

}  // namespace futured
