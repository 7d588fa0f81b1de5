#include <sqlite3.h>

#include "daemon/store/sqlite_reader.h"
#include "daemon/store/sqlite_rows.h"

namespace futured {

Status SqliteReader::prepare_callbacks() {
  const std::string rows = std::string("SELECT ") + kDeliveryColumns + " FROM deliveries WHERE ";
  const std::pair<Statement*, std::string> statements[] = {
      {&delivery_, rows + "id = ?"},
      {&deliveries_, rows + "id > ? ORDER BY id LIMIT ?"},
      {&failed_, rows + "state = 4 AND id > ? ORDER BY id LIMIT ?"},
      {&callback_, "SELECT id, job, owner, spec, batch_jobs FROM callbacks WHERE id = ?"},
      {&later_, "SELECT id FROM callbacks WHERE job = ? AND id > ? ORDER BY id LIMIT ?"},
      {&not_succeeded_, "SELECT count(*) FROM job_state WHERE id BETWEEN ? AND ? AND state <> ?"},
      {&batch_,
       "SELECT first, count, ended, failed, max_failures FROM whole_batches WHERE first <= ? ORDER BY first DESC LIMIT "
       "1"},
  };
  for (const auto& [statement, sql] : statements) {
    Result<Statement> made = database_.prepare(sql);
    if (!made) return made.error().in("database " + path_);
    *statement = *std::move(made);
  }
  return {};
}

Result<std::optional<CallbackRecord>> SqliteReader::callback(CallbackId id) {
  if (const Status ready = prepare(); !ready) return ready.error();
  const OneState state(begin_, end_);
  return read_callback_record(*this, id);
}

Result<std::optional<DeliveryRecord>> SqliteReader::delivery(CallbackId id) {
  if (const Status ready = prepare(); !ready) return ready.error();
  const OneState state(begin_, end_);
  return read_delivery_record(*this, id);
}

Result<CallbackPage> SqliteReader::callbacks(const CallbackQuery& query) {
  if (const Status ready = prepare(); !ready) return ready.error();
  const OneState state(begin_, end_);
  return read_callback_page(*this, query);
}

Result<std::optional<JobRecord>> SqliteReader::job_row(JobId id, bool with_result) {
  Result<std::optional<JobRecord>> record = with_result ? read_job(id, false) : read_job_head(id);
  if (!record || !*record) return record;
  const Result<const JobSpec*> spec = spec_of((*record)->job.spec);
  if (!spec) return spec.error();
  (*record)->spec = **spec;
  return record;
}

Result<std::optional<DeliveryRow>> SqliteReader::delivery_row(CallbackId id) {
  delivery_.bind(1, id.value);
  Execution row(delivery_);
  if (row.next()) return std::optional(read_delivery(row));
  if (row.code() != SQLITE_OK) return fault(row.code());
  return std::optional<DeliveryRow>();
}

Result<std::optional<CallbackRow>> SqliteReader::callback_row(CallbackId id) {
  callback_.bind(1, id.value);
  Execution row(callback_);
  if (row.next()) {
    return std::optional(CallbackRow{CallbackId{row.number(0)}, JobId{row.number(1)}, row.number32(2),
                                     std::string(row.bytes(3)), row.number32(4)});
  }
  if (row.code() != SQLITE_OK) return fault(row.code());
  return std::optional<CallbackRow>();
}

Result<std::vector<CallbackId>> SqliteReader::later_callbacks(JobId job, std::uint64_t after, std::uint32_t rows_max) {
  later_.bind(1, job.value);
  later_.bind(2, after);
  later_.bind(3, rows_max);
  std::vector<CallbackId> ids;
  Execution row(later_);
  while (row.next()) ids.push_back(CallbackId{row.number(0)});
  if (row.code() != SQLITE_OK) return fault(row.code());
  return ids;
}

Result<std::uint32_t> SqliteReader::not_succeeded(JobId first, std::uint32_t count) {
  not_succeeded_.bind(1, first.value);
  not_succeeded_.bind(2, first.value + count - 1);
  not_succeeded_.bind(3, static_cast<std::int32_t>(JobState::kSucceeded));
  Execution row(not_succeeded_);
  if (row.next()) return row.number32(0);
  return fault(row.code());
}

Result<std::vector<DeliveryRow>> SqliteReader::delivery_rows(std::uint64_t after, std::uint32_t rows_max,
                                                             bool failed_only) {
  Statement& statement = failed_only ? failed_ : deliveries_;
  statement.bind(1, after);
  statement.bind(2, rows_max);
  std::vector<DeliveryRow> rows;
  Execution row(statement);
  while (row.next()) rows.push_back(read_delivery(row));
  if (row.code() != SQLITE_OK) return fault(row.code());
  return rows;
}

Result<std::optional<WholeBatchRow>> SqliteReader::batch_of(JobId job) {
  batch_.bind(1, job.value);
  Execution row(batch_);
  if (row.next()) {
    const WholeBatchRow batch = read_whole_batch(row);
    if (job.value < batch.first.value + batch.count) return std::optional(batch);
    return std::optional<WholeBatchRow>();
  }
  if (row.code() != SQLITE_OK) return fault(row.code());
  return std::optional<WholeBatchRow>();
}

}  // namespace futured
