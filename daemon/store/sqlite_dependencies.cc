// Dependencies and named events in SQLite.
#include <sqlite3.h>

#include "daemon/store/sqlite_reader.h"
#include "daemon/store/sqlite_rows.h"
#include "daemon/store/sqlite_store.h"

namespace futured {
namespace {

DependencyRow read_dependency(const Execution& row) {
  return {JobId{row.number(0)},
          row.number32(1),
          {JobId{row.number(2)}, std::string(row.bytes(3)), static_cast<DependencyCondition>(row.integer(4))},
          static_cast<DependencyState>(row.integer(5))};
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
  Result<Statement> open = database_.prepare(
      "SELECT job, number, parent, event, condition, state FROM dependencies"
      " WHERE state = 0 ORDER BY job, number");
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

Status SqliteReader::read_dependencies(JobRecord& record) {
  dependencies_.bind(1, record.job.id.value);
  Execution row(dependencies_);
  while (row.next()) record.dependencies.push_back(read_dependency(row));
  if (row.code() != SQLITE_OK) return fault(row.code());
  return {};
}

}  // namespace futured
