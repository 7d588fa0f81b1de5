// SqliteReader: what people ask, on a connection of its own beside the writer's.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "daemon/store/callback_reads.h"
#include "daemon/store/content_files.h"
#include "daemon/store/sqlite_database.h"
#include "daemon/store/store.h"

namespace futured {

// A read transaction: several statements that see one state of the database.
class OneState {
 public:
  OneState(Statement& begin, Statement& end) : end_(end) { (void)begin.run(); }
  OneState(const OneState&) = delete;
  OneState& operator=(const OneState&) = delete;
  ~OneState() { (void)end_.run(); }

 private:
  Statement& end_;
};

class SqliteReader : public StoreReader, private CallbackTables {
 public:
  SqliteReader(std::string path, std::string vfs, std::shared_ptr<ContentFiles> files)
      : path_(std::move(path)), vfs_(std::move(vfs)), files_(std::move(files)) {}

  Result<std::optional<JobRecord>> get(JobId id, bool with_payload) override;
  Result<JobPage> list(const JobQuery& query) override;
  using StoreReader::endings;
  Result<EndingsPage> endings(const std::vector<JobId>& ids, std::size_t bytes_max) override;
  Result<std::optional<KeyRow>> find_key(const KeyQuery& key) override;
  Result<std::optional<CallbackRecord>> callback(CallbackId id) override;
  Result<std::optional<DeliveryRecord>> delivery(CallbackId id) override;
  Result<CallbackPage> callbacks(const CallbackQuery& query) override;
  Result<BatchRow> batch_with(JobId job) override;  // sqlite_dependencies.cc
  Result<std::uint64_t> trimmed_until() override;
  Result<std::vector<JobId>> gone(const std::vector<JobId>& ids) override;

 private:
  // Opens the connection at the first question, so that making a reader cannot fail.
  [[nodiscard]] Status prepare();
  [[nodiscard]] Error fault(int code) const { return database_.error(code).in("database " + path_); }
  [[nodiscard]] Result<std::optional<JobRecord>> read_job(JobId id, bool with_payload);
  [[nodiscard]] Result<std::optional<JobRecord>> read_job_head(JobId id);  // without its result
  [[nodiscard]] Status read_attempts(JobRecord& record);
  [[nodiscard]] Status read_dependencies(JobRecord& record);  // sqlite_dependencies.cc
  [[nodiscard]] Result<const JobSpec*> spec_of(SpecId id);
  [[nodiscard]] Result<JobPage> list_children(const JobQuery& query);
  [[nodiscard]] Status add_if_wanted(const JobQuery& query, const Execution& row, JobPage& page);

  // sqlite_callbacks.cc
  [[nodiscard]] Status prepare_callbacks();
  Result<std::optional<JobRecord>> job_row(JobId id, bool with_result) override;
  Result<std::optional<DeliveryRow>> delivery_row(CallbackId id) override;
  Result<std::optional<CallbackRow>> callback_row(CallbackId id) override;
  Result<std::uint32_t> not_succeeded(JobId first, std::uint32_t count) override;
  Result<std::vector<CallbackId>> later_callbacks(JobId job, std::uint64_t after, std::uint32_t rows_max) override;
  Result<std::vector<DeliveryRow>> delivery_rows(std::uint64_t after, std::uint32_t rows_max,
                                                 bool failed_only) override;
  Result<std::optional<WholeBatchRow>> batch_of(JobId job) override;

  std::string path_;
  std::string vfs_;
  std::shared_ptr<ContentFiles> files_;
  bool prepared_ = false;
  Database database_;
  Statement begin_, end_, job_, head_, attempts_, spec_, page_, page_up_, children_, children_up_, ending_, buckets_,
      key_, trimmed_, gone_, dependencies_, batch_with_;
  Statement delivery_, callback_, later_, deliveries_, failed_, batch_, not_succeeded_;
  std::map<SpecId, JobSpec> specs_;  // specs never change; emptied when it grows past kSpecsKeptMax
};

}  // namespace futured
