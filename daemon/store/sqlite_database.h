// Database, Statement, BulkInsert, Execution: one SQLite connection, its prepared statements and their runs. No table
// is known here.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace futured {

// One prepared statement. Parameters keep their values from run to run; columns count from 0, parameters from 1.
class Statement {
 public:
  Statement() = default;
  Statement(sqlite3* database, sqlite3_stmt* prepared) : database_(database), prepared_(prepared) {}
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  void bind(int parameter, std::int64_t value);
  void bind(int parameter, std::uint64_t value) { bind(parameter, static_cast<std::int64_t>(value)); }
  void bind(int parameter, std::uint32_t value) { bind(parameter, static_cast<std::int64_t>(value)); }
  void bind(int parameter, std::int32_t value) { bind(parameter, static_cast<std::int64_t>(value)); }
  void bind(int parameter, double value);
  void bind_null(int parameter);
  // The bytes are not copied: they must live until the run is over.
  void bind_text(int parameter, std::string_view text);
  void bind_blob(int parameter, std::string_view bytes);
  // These are.
  void bind_copy(int parameter, std::string_view bytes);

  // Runs a statement that gives no rows. SQLITE_OK, or SQLite's extended error code.
  [[nodiscard]] int run();

 private:
  friend class Execution;

  sqlite3* database_ = nullptr;
  sqlite3_stmt* prepared_ = nullptr;
  int unbound_ = 0;  // why a copy could not be bound; run() tells
};

// One INSERT, prepared for several numbers of rows: a run has a price of its own, and only within a run does SQLite
// know that the next row goes behind the last one.
class BulkInsert {
 public:
  static constexpr std::array<std::size_t, 3> kRowsAtOnce = {128, 16, 1};

  BulkInsert() = default;
  BulkInsert(std::array<Statement, kRowsAtOnce.size()> prepared, int columns)
      : prepared_(std::move(prepared)), columns_(columns) {}

  // `bind(statement, first, row)` gives parameters first … first + columns - 1 the values of a row. What it binds
  // without a copy must live until this returns. SQLITE_OK, or SQLite's extended error code: then some rows may be in.
  template <typename Row, typename Bind>
  [[nodiscard]] int run(std::span<const Row> rows, const Bind& bind) {
    int code = 0;
    for (std::size_t i = 0; i < kRowsAtOnce.size(); ++i) {
      for (; code == 0 && rows.size() >= kRowsAtOnce[i]; rows = rows.subspan(kRowsAtOnce[i])) {
        int first = 1;
        for (const Row& row : rows.first(kRowsAtOnce[i])) {
          bind(prepared_[i], first, row);
          first += columns_;
        }
        code = prepared_[i].run();
      }
    }
    return code;
  }

 private:
  std::array<Statement, kRowsAtOnce.size()> prepared_;
  int columns_ = 0;
};

// One run of a statement that gives rows. Views of columns live until the next call of next().
class Execution {
 public:
  explicit Execution(Statement& statement) : prepared_(statement.prepared_) {}
  Execution(const Execution&) = delete;
  Execution& operator=(const Execution&) = delete;
  ~Execution();

  // False after the last row, and on a fault: code() tells them apart.
  [[nodiscard]] bool next();
  [[nodiscard]] int code() const { return code_; }

  [[nodiscard]] bool is_null(int column) const;
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] std::uint64_t number(int column) const { return static_cast<std::uint64_t>(integer(column)); }
  [[nodiscard]] std::uint32_t number32(int column) const { return static_cast<std::uint32_t>(integer(column)); }
  [[nodiscard]] double real(int column) const;
  [[nodiscard]] std::string_view bytes(int column) const;

 private:
  sqlite3_stmt* prepared_;
  int code_ = 0;
};

struct DatabaseOptions {
  bool read_only = false;
  std::string vfs;                     // empty: the system's
  std::int64_t cache_kib = 16 * 1024;  // memory for pages
  int busy_ms = 250;                   // how long another process may keep a lock before a call fails
};

class Database {
 public:
  Database() = default;
  Database(Database&& other) noexcept;
  Database& operator=(Database&& other) noexcept;
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database();  // every Statement of it must be gone

  // The file must exist.
  [[nodiscard]] static Result<Database> open(const std::string& path, const DatabaseOptions& options);

  [[nodiscard]] Status run(const std::string& sql);                   // any number of statements; rows are thrown away
  [[nodiscard]] Result<std::int64_t> number(const std::string& sql);  // first column of the first row; 0 without rows
  [[nodiscard]] Result<Statement> prepare(std::string_view sql);
  [[nodiscard]] Result<BulkInsert> prepare_insert(std::string_view into, int columns);  // "jobs (id, payload)", 2

  // What SQLite's code means for who started the daemon, and the way out. The caller adds which file it is about.
  [[nodiscard]] Error error(int code) const;

  [[nodiscard]] sqlite3* raw() const { return connection_; }

 private:
  sqlite3* connection_ = nullptr;
};

}  // namespace futured
