#include <sqlite3.h>

#include <algorithm>

#include "base/payload.h"
#include "daemon/store/sqlite_rows.h"
#include "daemon/store/sqlite_store.h"

namespace futured {

// The columns of the statements `claim_up`, `claim_down` and `load`.
bool SqliteStore::has_attempts(const Execution& row) { return row.integer(7) != 0; }

Result<StoredJob> SqliteStore::read_job(const Execution& row) {
  Result<std::string> payload = restore(row.bytes(5), *files_);
  if (!payload) return payload.error();
  StoredJob job;
  job.id = JobId{row.number(0)};
  job.spec = SpecId{row.number(1)};
  job.owner = row.number32(2);
  job.retry_of = JobId{row.number(3)};
  job.submitted_at = WallTime{row.integer(4)};
  job.payload = SharedBytes::of(*std::move(payload));
  job.state = static_cast<JobState>(row.integer(6));
  job.started = row.integer(8) != 0;
  job.lineage = read_lineage(row, 9);
  job.start_at = WallTime{row.integer(11)};  // NULL reads as 0
  return job;
}

Result<DeliveryClaimAnswer> SqliteStore::claim(const DeliveryClaim& claim) {
  DeliveryClaimAnswer answer{claim, {}};
  reads_.deliveries.bind(1, claim.lane);
  reads_.deliveries.bind(2, claim.rows_max);
  Execution row(reads_.deliveries);
  while (row.next()) answer.rows.push_back(read_delivery(row));
  if (row.code() != SQLITE_OK) return fault(row.code());
  return answer;
}

Result<BatchAnswer> SqliteStore::read_batch(const BatchQuery& query) {
  BatchAnswer answer{query, {}};
  answer.batch = {query.first, query.count};
  if (query.count == 0) {
    reads_.batch_with.bind(1, query.first.value);
    Execution batch(reads_.batch_with);
    if (!batch.next()) return batch.code() == SQLITE_OK ? Result<BatchAnswer>(answer) : fault(batch.code());
    answer.batch = {JobId{batch.number(0)}, batch.number32(1)};
    if (answer.batch.first != query.first) return answer;  // it is refused for that, however many there are
  }
  reads_.batch.bind(1, answer.batch.first.value);
  reads_.batch.bind(2, answer.batch.first.value + answer.batch.count - 1);
  Execution row(reads_.batch);
  while (row.next()) {
    answer.jobs.push_back({JobId{row.number(0)}, row.number32(1), static_cast<JobState>(row.integer(2))});
  }
  if (row.code() != SQLITE_OK) return fault(row.code());
  return answer;
}

Result<LoadAnswer> SqliteStore::load(const std::vector<JobId>& ids) {
  if (const Status found = find_open_jobs(); !found) return found.error();
  std::vector<JobId> wanted = ids;
  std::ranges::sort(wanted);
  wanted.erase(std::ranges::unique(wanted).begin(), wanted.end());

  LoadAnswer answer;
  std::vector<SpecId> specs;
  for (const JobId id : wanted) {
    Result<std::optional<StoredJob>> job = load_one(id.value);
    if (!job) return job.error();
    if (!*job) continue;
    if (!is_terminal((*job)->state) && names_result((*job)->payload.view())) {
      if (const Status put = put_results_in(**job); !put) return put.error();
    }
    if (!is_terminal((*job)->state) && !open_jobs_.contains(id.value)) {
      const Result<bool> delayed = is_delayed((*job)->start_at, id);
      if (!delayed) return delayed.error();
      (*job)->delayed = *delayed;
      (*job)->in_backlog = !*delayed;
    }
    specs.push_back((*job)->spec);
    answer.jobs.push_back(**std::move(job));
  }
  Result<std::vector<SpecRow>> read = read_specs(std::move(specs));
  if (!read) return read.error();
  answer.specs = *std::move(read);
  std::vector<StoredJob*> jobs;
  for (StoredJob& job : answer.jobs) jobs.push_back(&job);
  if (const Status added = add_cache_keys(jobs, answer.specs); !added) return added.error();
  return answer;
}

Result<std::optional<StoredJob>> SqliteStore::load_one(std::uint64_t id) {
  std::optional<StoredJob> job;
  bool attempted = false;
  reads_.load.bind(1, id);
  {
    Execution row(reads_.load);
    if (row.next()) {
      Result<StoredJob> read = read_job(row);
      if (!read) return read.error();
      job = *std::move(read);
      attempted = has_attempts(row);
    }
    if (row.code() != SQLITE_OK) return fault(row.code());
  }
  if (attempted) {
    if (const Status done = complete(*job); !done) return done.error();
  }
  return job;
}

Status SqliteStore::complete(StoredJob& job) {
  reads_.attempts.bind(1, job.id.value);
  Execution row(reads_.attempts);
  while (row.next()) {
    job.count_attempt(row.number32(0), static_cast<Charge>(row.integer(1)), WallTime{row.integer(2)}, row.number(3));
  }
  if (row.code() != SQLITE_OK) return fault(row.code());
  return {};
}

Result<std::vector<SpecRow>> SqliteStore::read_specs(std::vector<SpecId> wanted) {
  std::ranges::sort(wanted);
  wanted.erase(std::ranges::unique(wanted).begin(), wanted.end());
  std::vector<SpecRow> specs;
  for (const SpecId id : wanted) {
    reads_.spec.bind(1, id.value);
    Execution row(reads_.spec);
    if (row.next()) {
      specs.push_back(read_spec(row));
    } else if (row.code() != SQLITE_OK) {
      return fault(row.code());
    } else {
      return Error{ErrorCode::kDataLoss, "database " + path_ + ": spec " + std::to_string(id.value) +
                                             " is named by a job and is missing; restore it from a backup"};
    }
  }
  return specs;
}

}  // namespace futured
