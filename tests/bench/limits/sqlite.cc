#include <sqlite3.h>

#include <vector>

#include "tests/bench/limits/limits.h"
#include "tests/bench/peers/connection.h"
#include "tests/bench/timing.h"

namespace futured::bench {

namespace {

constexpr int kPayloadBytes = 100;
constexpr int kResultBytes = 16;

// A database of one growing table, written as the daemon's is: WAL, synchronous=FULL, bounded checkpoints.
class Table {
 public:
  explicit Table(const std::string& folder) {
    if (sqlite3_open((folder + "/limit.db").c_str(), &database_) != SQLITE_OK) give_up("cannot open a database");
    run("PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=1000;"
        "CREATE TABLE jobs (id INTEGER PRIMARY KEY, spec INTEGER, owner INTEGER, submitted_at INTEGER, payload BLOB,"
        " state INTEGER, attempt INTEGER, epoch INTEGER, started_at INTEGER, finished_at INTEGER, result BLOB);");
    const char* insert = "INSERT INTO jobs VALUES (?1, 1, 0, ?2, ?3, 5, 1, 1, ?2, ?2, ?4)";
    if (sqlite3_prepare_v2(database_, insert, -1, &insert_, nullptr) != SQLITE_OK) give_up("cannot prepare an insert");
  }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  ~Table() {
    sqlite3_finalize(insert_);
    sqlite3_close(database_);
  }

  void commit(std::uint64_t rows) {
    static const std::string payload(kPayloadBytes, 'x');
    static const std::string result(kResultBytes, 'y');
    run("BEGIN IMMEDIATE");
    for (std::uint64_t i = 0; i < rows; ++i) {
      ++next_id_;
      sqlite3_bind_int64(insert_, 1, static_cast<sqlite3_int64>(next_id_));
      sqlite3_bind_int64(insert_, 2, kSomeMicroseconds + static_cast<sqlite3_int64>(next_id_));
      sqlite3_bind_blob(insert_, 3, payload.data(), kPayloadBytes, SQLITE_STATIC);
      sqlite3_bind_blob(insert_, 4, result.data(), kResultBytes, SQLITE_STATIC);
      if (sqlite3_step(insert_) != SQLITE_DONE) give_up(sqlite3_errmsg(database_));
      sqlite3_reset(insert_);
    }
    run("COMMIT");
  }

 private:
  static constexpr sqlite3_int64 kSomeMicroseconds = 1'760'000'000'000'000;  // a time of today's size

  void run(const char* sql) {
    if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) give_up(sqlite3_errmsg(database_));
  }

  sqlite3* database_ = nullptr;
  sqlite3_stmt* insert_ = nullptr;
  std::uint64_t next_id_ = 0;
};

}  // namespace

void measure_commits(const std::string& folder, std::uint64_t rows, std::uint64_t rows_per_commit) {
  Table table(folder);
  const Stopwatch watch;
  for (std::uint64_t done = 0; done < rows; done += rows_per_commit) table.commit(rows_per_commit);
  print_rate(rows, watch.seconds());
}

void measure_single_commits(const std::string& folder, std::uint64_t commits) {
  Table table(folder);
  std::vector<double> seconds;
  for (std::uint64_t i = 0; i < commits; ++i) {
    const Stopwatch watch;
    table.commit(1);
    seconds.push_back(watch.seconds());
  }
  print_latency(std::move(seconds));
}

}  // namespace futured::bench
