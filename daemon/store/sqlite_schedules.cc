// Schedules in SQLite.
#include <sqlite3.h>

#include "base/wire.h"
#include "daemon/store/sqlite_rows.h"
#include "daemon/store/sqlite_store.h"

namespace futured {
namespace {

std::string encode_times(const std::vector<WallTime>& times) {
  std::string encoded;
  for (const WallTime time : times) append_varint(encoded, static_cast<std::uint64_t>(time.us));
  return encoded;
}

ScheduleRow read_schedule(const Execution& row) {
  ScheduleRow schedule;
  schedule.name = row.bytes(0);
  schedule.owner = row.number32(1);
  schedule.cron = row.bytes(2);
  schedule.every = Duration(row.integer(3));
  schedule.zone = row.bytes(4);
  schedule.catch_up = static_cast<CatchUp>(row.integer(5));
  schedule.catch_up_max = row.number32(6);
  schedule.overlap = static_cast<Overlap>(row.integer(7));
  schedule.jitter = Duration(row.integer(8));
  schedule.paused = row.integer(9) != 0;
  schedule.spec = SpecId{row.number(10)};
  schedule.anchor = WallTime{row.integer(11)};
  schedule.seen_at = WallTime{row.integer(12)};
  schedule.last_at = WallTime{row.integer(13)};
  schedule.last_job = JobId{row.number(14)};
  WireReader waiting(row.bytes(15));
  while (!waiting.at_end() && !waiting.failed()) {
    schedule.waiting.push_back(WallTime{static_cast<std::int64_t>(waiting.varint())});
  }
  schedule.payload = row.bytes(16);
  return schedule;
}

}  // namespace

int SqliteStore::write_schedules(const std::vector<ScheduleRow>& schedules) {
  for (const ScheduleRow& row : schedules) {
    if (row.is_removed) {
      writes_.schedule_remove.bind_text(1, row.name);
      if (const int code = writes_.schedule_remove.run(); code != SQLITE_OK) return code;
      continue;
    }
    Statement& statement = writes_.schedule;
    const std::string waiting = encode_times(row.waiting);
    statement.bind_text(1, row.name);
    statement.bind(2, row.owner);
    statement.bind_text(3, row.cron);
    statement.bind(4, row.every.count());
    statement.bind_text(5, row.zone);
    statement.bind(6, static_cast<std::int32_t>(row.catch_up));
    statement.bind(7, row.catch_up_max);
    statement.bind(8, static_cast<std::int32_t>(row.overlap));
    statement.bind(9, row.jitter.count());
    statement.bind(10, std::int32_t{row.paused});
    statement.bind(11, row.spec.value);
    statement.bind(12, row.anchor.us);
    statement.bind(13, row.seen_at.us);
    statement.bind(14, row.last_at.us);
    statement.bind(15, row.last_job.value);
    statement.bind_blob(16, waiting);
    statement.bind_blob(17, row.payload);
    if (const int code = statement.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

// With what they name added to the specs of the snapshot.
Status SqliteStore::read_schedules(Snapshot& snapshot) {
  Result<Statement> schedules = database_.prepare(
      "SELECT s.name, s.owner, s.cron, s.every_ns, s.zone, s.catch_up, s.catch_up_max, s.overlap, s.jitter_ns,"
      " s.paused, s.spec, s.anchor, s.seen_at, s.last_at, s.last_job, s.waiting, s.payload,"
      " EXISTS (SELECT 1 FROM job_state j WHERE j.id = s.last_job AND j.state = 3) FROM schedules s ORDER BY s.name");
  if (!schedules) return schedules.error().in("database " + path_);
  std::vector<SpecId> specs;
  for (const SpecRow& row : snapshot.specs) specs.push_back(row.id);
  Execution row(*schedules);
  while (row.next()) {
    snapshot.schedules.push_back({read_schedule(row), row.integer(17) != 0});
    specs.push_back(snapshot.schedules.back().row.spec);
  }
  if (row.code() != SQLITE_OK) return fault(row.code());
  if (snapshot.schedules.empty()) return {};
  Result<std::vector<SpecRow>> read = read_specs(std::move(specs));
  if (!read) return read.error();
  snapshot.specs = *std::move(read);
  return {};
}

}  // namespace futured
