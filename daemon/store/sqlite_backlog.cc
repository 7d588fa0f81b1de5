#include <sqlite3.h>

#include <algorithm>
#include <unordered_set>

#include "base/payload.h"
#include "daemon/store/backlog_runs.h"
#include "daemon/store/sqlite_rows.h"
#include "daemon/store/sqlite_store.h"

namespace futured {
namespace {

void bind_lane(Statement& statement, const BacklogKey& key) {
  statement.bind(1, key.queue.value);
  statement.bind(2, key.pool.value);
  statement.bind(3, key.key.rank);
}

// The columns rank, first, count.
BacklogRun read_run(const Execution& row, QueueId queue, PoolId pool) {
  return {{queue, pool, {row.integer(0), row.integer(1)}}, row.number(2)};
}

}  // namespace

int SqliteStore::write_backlog(const Batch& batch) {
  for (const BacklogRun& run : runs_of(batch.backlog_removed)) {
    if (const int code = remove_from_backlog(run); code != SQLITE_OK) return code;
  }
  const std::vector<BacklogRun> added = runs_of(batch.backlog_added);
  std::unordered_set<std::uint64_t> come_anew;  // from elsewhere
  for (const DelayedKey& key : batch.delayed_removed) come_anew.insert(key.job.value);
  for (const MovedRow& row : batch.moved) {
    if (row.opens) come_anew.insert(row.job.value);
  }
  for (const BacklogRun& run : added) {
    for (std::uint64_t id = run.smallest_id(); id <= run.largest_id(); ++id) {
      const bool waits = id > open_jobs_.newest() || open_jobs_.contains(id) || come_anew.contains(id);
      if (!waits) return SQLITE_CONSTRAINT;  // it is there, or has ended
    }
  }
  return writes_.backlog_add.run(std::span(added), [](Statement& statement, int first, const BacklogRun& run) {
    statement.bind(first, run.first.queue.value);
    statement.bind(first + 1, run.first.pool.value);
    statement.bind(first + 2, run.first.key.rank);
    statement.bind(first + 3, run.first.key.order);
    statement.bind(first + 4, run.count);
  });
}

// Of the rows that it touches, what lies before and behind it stays.
int SqliteStore::remove_from_backlog(const BacklogRun& run) {
  bind_lane(reads_.backlog_down, run.first);
  reads_.backlog_down.bind(4, run.last());
  std::int64_t lowest = 0;
  std::vector<BacklogRun> rests;
  {
    Execution row(reads_.backlog_down);
    while (row.next()) {
      const BacklogRun stored = read_run(row, run.first.queue, run.first.pool);
      if (stored.last() < run.first.key.order) break;
      lowest = stored.first.key.order;
      if (stored.last() > run.last()) {
        BacklogKey behind = run.first;
        behind.key.order = run.last() + 1;
        rests.push_back({behind, static_cast<std::uint64_t>(stored.last() - run.last())});
      }
      if (lowest < run.first.key.order) {
        rests.push_back({stored.first, static_cast<std::uint64_t>(run.first.key.order - lowest)});
      }
    }
    if (row.code() != SQLITE_OK) return row.code();
  }
  if (lowest == 0) return SQLITE_OK;  // no job has id 0: nothing was touched
  bind_lane(writes_.backlog_remove, run.first);
  writes_.backlog_remove.bind(4, lowest);
  writes_.backlog_remove.bind(5, run.last());
  if (const int code = writes_.backlog_remove.run(); code != SQLITE_OK) return code;
  for (const BacklogRun& rest : rests) {
    bind_lane(writes_.backlog_rest, rest.first);
    writes_.backlog_rest.bind(4, rest.first.key.order);
    writes_.backlog_rest.bind(5, rest.count);
    if (const int code = writes_.backlog_rest.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

// Enough for a claim: what is left of the run that it stops in, and those behind.
Result<std::vector<BacklogRun>> SqliteStore::runs_for(const Claim& claim) {
  const OrderKey after = claim.after.value_or(OrderKey{INT64_MIN, INT64_MIN});
  const BacklogKey at{claim.queue, claim.pool, after};
  std::vector<BacklogRun> runs;
  std::uint64_t jobs = 0;
  bind_lane(reads_.backlog_down, at);
  reads_.backlog_down.bind(4, after.order);
  {
    Execution row(reads_.backlog_down);
    if (row.next()) {
      BacklogRun run = read_run(row, claim.queue, claim.pool);
      if (run.last() > after.order) {
        run.count = static_cast<std::uint64_t>(run.last() - after.order);
        run.first.key.order = after.order + 1;
        jobs += run.count;
        runs.push_back(run);
      }
    }
    if (row.code() != SQLITE_OK) return fault(row.code());
  }
  bind_lane(reads_.backlog_up, at);
  reads_.backlog_up.bind(4, after.order);
  Execution row(reads_.backlog_up);
  while (jobs < claim.jobs_max && row.next()) {
    runs.push_back(read_run(row, claim.queue, claim.pool));
    jobs += runs.back().count;
  }
  if (row.code() != SQLITE_OK) return fault(row.code());
  return runs;
}

Result<ClaimAnswer> SqliteStore::claim(const Claim& claim) {
  ClaimAnswer answer{.claim = claim, .jobs = {}, .specs = {}};
  const Result<std::vector<BacklogRun>> runs = runs_for(claim);
  if (!runs) return runs.error();
  std::vector<SpecId> specs;
  std::vector<std::size_t> attempted;
  std::uint64_t bytes = 0;
  const auto take = [&](const BacklogRun& run) -> Status {
    Statement& jobs = run.first.key.order < 0 ? reads_.claim_down : reads_.claim_up;
    jobs.bind(1, run.smallest_id());
    jobs.bind(2, run.largest_id());
    jobs.bind(3, claim.jobs_max - answer.jobs.size());
    Execution row(jobs);
    while (row.next()) {
      Result<StoredJob> job = read_job(row);
      if (!job) return job.error();
      if (names_result(job->payload.view())) {
        if (const Status put = put_results_in(*job); !put) return put;
      }
      bytes += job->payload.size;
      if (bytes > claim.bytes_max && !answer.jobs.empty()) return {};
      if (has_attempts(row)) attempted.push_back(answer.jobs.size());
      job->in_backlog = true;
      if (specs.empty() || specs.back() != job->spec) specs.push_back(job->spec);
      const auto id = static_cast<std::int64_t>(job->id.value);
      answer.jobs.push_back({{run.first.key.rank, run.first.key.order < 0 ? -id : id}, *std::move(job)});
    }
    if (row.code() != SQLITE_OK) return fault(row.code());
    return {};
  };
  for (const BacklogRun& run : *runs) {
    if (bytes > claim.bytes_max || answer.jobs.size() >= claim.jobs_max) break;
    if (const Status taken = take(run); !taken) return taken.error();
  }
  for (const std::size_t at : attempted) {
    if (const Status done = complete(answer.jobs[at].job); !done) return done.error();
  }
  Result<std::vector<SpecRow>> read = read_specs(std::move(specs));
  if (!read) return read.error();
  answer.specs = *std::move(read);
  std::vector<StoredJob*> jobs;
  for (ClaimedJob& claimed : answer.jobs) jobs.push_back(&claimed.job);
  if (const Status added = add_cache_keys(jobs, answer.specs); !added) return added.error();
  return answer;
}

// Those of the backlog are not among the open jobs that a start looks for.
Status SqliteStore::settle_backlog(OpenJobs& open, std::uint64_t mark) {
  Result<Statement> statement = database_.prepare("SELECT rank, first, count FROM backlog");
  if (!statement) return statement.error();
  Execution row(*statement);
  while (row.next()) {
    const BacklogRun run = read_run(row, {}, {});
    for (std::uint64_t id = std::max(run.smallest_id(), mark); id <= run.largest_id(); ++id) open.settle(id);
  }
  if (row.code() != SQLITE_OK) return database_.error(row.code());
  return {};
}

}  // namespace futured
