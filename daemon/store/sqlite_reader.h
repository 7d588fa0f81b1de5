// SqliteReader: what people ask, on a connection of its own beside the writer's.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "daemon/store/sqlite_database.h"
#include "daemon/store/store.h"

namespace futured {

class SqliteReader : public StoreReader {
 public:
  SqliteReader(std::string path, std::string vfs) : path_(std::move(path)), vfs_(std::move(vfs)) {}

  Result<std::optional<JobRecord>> get(JobId id, bool with_payload) override;
  Result<JobPage> list(const JobQuery& query) override;
  Result<std::vector<OutcomeRow>> endings(const std::vector<JobId>& ids) override;
  Result<std::optional<KeyRow>> find_key(const KeyQuery& key) override;

 private:
  // Opens the connection at the first question, so that making a reader cannot fail.
  [[nodiscard]] Status prepare();
  [[nodiscard]] Error fault(int code) const { return database_.error(code).in("database " + path_); }
  [[nodiscard]] Result<std::optional<JobRecord>> read_job(JobId id, bool with_payload);
  [[nodiscard]] Status read_attempts(JobRecord& record);
  [[nodiscard]] Result<const JobSpec*> spec_of(SpecId id);

  std::string path_;
  std::string vfs_;
  bool prepared_ = false;
  Database database_;
  Statement begin_, end_, job_, attempts_, spec_, page_, ending_, buckets_, key_;
  std::map<SpecId, JobSpec> specs_;  // specs never change; emptied when it grows past kSpecsKeptMax
};

}  // namespace futured
