// Dependencies and named events in SQLite.
#include <sqlite3.h>

#include "daemon/store/sqlite_reader.h"
#include "daemon/store/sqlite_rows.h"
#include "daemon/store/sqlite_store.h"
#include "daemon/store/stored_bytes.h"
#include "daemon/store/taken_results.h"

namespace futured {
namespace {

DependencyRow read_dependency(const Execution& row) {
  const Dependency on{JobId{row.number(2)}, std::string(row.bytes(3)), static_cast<DependencyCondition>(row.integer(4)),
                      row.number32(6),      row.number32(7),           row.integer(8) != 0};
  return {JobId{row.number(0)}, row.number32(1), on, static_cast<DependencyState>(row.integer(5))};
}

}  // namespace

int SqliteStore::write_dependencies(const Batch& batch) {
  for (const DependencyRow& row : batch.dependencies) {
    writes_.dependency_add.bind(1, row.job.value);
    writes_.dependency_add.bind(2, row.number);
    writes_.dependency_add.bind(3, row.on.job.value);
    writes_.dependency_add.bind_text(4, row.on.event);
    writes_.dependency_add.bind(5, static_cast<std::int32_t>(row.on.condition));
    writes_.dependency_add.bind(6, static_cast<std::int32_t>(row.state));
    writes_.dependency_add.bind(7, row.on.batch_jobs);
    writes_.dependency_add.bind(8, row.on.any_of);
    writes_.dependency_add.bind(9, std::int32_t{row.on.takes_result});
    if (const int code = writes_.dependency_add.run(); code != SQLITE_OK) return code;
  }
  for (const DependencyClosed& closed : batch.dependencies_closed) {
    writes_.dependency_close.bind(1, closed.job.value);
    writes_.dependency_close.bind(2, closed.number);
    writes_.dependency_close.bind(3, static_cast<std::int32_t>(closed.state));
    if (const int code = writes_.dependency_close.run(); code != SQLITE_OK) return code;
  }
  for (const NamedEventRow& row : batch.events_set) {
    writes_.event_set.bind_text(1, row.name);
    writes_.event_set.bind(2, row.set_at.us);
    if (const int code = writes_.event_set.run(); code != SQLITE_OK) return code;
  }
  for (const std::string& name : batch.events_cleared) {
    writes_.event_clear.bind_text(1, name);
    if (const int code = writes_.event_clear.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

Status SqliteStore::read_dependencies(Snapshot& snapshot) {
  Result<Statement> open = database_.prepare(std::string("SELECT ") + kDependencyColumns +
                                             " FROM dependencies WHERE state = 0 ORDER BY job, number");
  if (!open) return open.error().in("database " + path_);
  Result<Statement> events = database_.prepare("SELECT name, set_at FROM named_events ORDER BY name");
  if (!events) return events.error().in("database " + path_);
  Execution row(*open);
  while (row.next()) snapshot.dependencies.push_back(read_dependency(row));
  if (row.code() != SQLITE_OK) return fault(row.code());
  Execution event(*events);
  while (event.next()) snapshot.events.push_back({std::string(event.bytes(0)), WallTime{event.integer(1)}});
  if (event.code() != SQLITE_OK) return fault(event.code());
  return {};
}

int SqliteStore::write_batches(const std::vector<BatchRow>& batches) {
  for (const BatchRow& row : batches) {
    writes_.batch.bind(1, row.first.value);
    writes_.batch.bind(2, row.count);
    if (const int code = writes_.batch.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

// The parts that its payload names, and the row's own payload where they are not all there yet.
Status SqliteStore::put_results_in(StoredJob& job) {
  return put_results(job, [this](JobId parent) -> Result<std::optional<std::string>> {
    reads_.result.bind(1, parent.value);
    Execution row(reads_.result);
    if (!row.next()) {
      if (row.code() != SQLITE_OK) return fault(row.code());
      return Error{ErrorCode::kNotFound, "it is not kept any more"};
    }
    if (static_cast<JobState>(row.integer(0)) != JobState::kSucceeded) return std::optional<std::string>();
    Result<std::string> result = restore(row.bytes(1), *files_);
    if (!result) return result.error();
    return std::optional(*std::move(result));
  });
}

Result<BatchRow> SqliteReader::batch_with(JobId job) {
  if (const Status ready = prepare(); !ready) return ready.error();
  batch_with_.bind(1, job.value);
  Execution row(batch_with_);
  if (row.next()) return BatchRow{JobId{row.number(0)}, row.number32(1)};
  if (row.code() != SQLITE_OK) return fault(row.code());
  return BatchRow{job, 0};
}

Status SqliteReader::read_dependencies(JobRecord& record) {
  dependencies_.bind(1, record.job.id.value);
  Execution row(dependencies_);
  while (row.next()) record.dependencies.push_back(read_dependency(row));
  if (row.code() != SQLITE_OK) return fault(row.code());
  return {};
}

}  // namespace futured
