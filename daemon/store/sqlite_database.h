// Database, Statement, Execution: one SQLite connection, its prepared statements and their runs. No table is known
// here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

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

  // Runs a statement that gives no rows. SQLITE_OK, or SQLite's extended error code.
  [[nodiscard]] int run();

 private:
  friend class Execution;

  sqlite3* database_ = nullptr;
  sqlite3_stmt* prepared_ = nullptr;
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

  // What SQLite's code means for who started the daemon, and the way out. The caller adds which file it is about.
  [[nodiscard]] Error error(int code) const;

  [[nodiscard]] sqlite3* raw() const { return connection_; }

 private:
  sqlite3* connection_ = nullptr;
};

}  // namespace futured
