#include "daemon/store/sqlite_database.h"

#include <sqlite3.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

namespace futured {
namespace {

// SQLite's own account of its memory costs a process-wide mutex per allocation, and nobody reads it.
void configure_once() {
  static std::once_flag configured;
  std::call_once(configured, [] { (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); });
}

// SQLite takes a null pointer for NULL; an empty string is not NULL.
const char* address_of(std::string_view bytes) { return bytes.empty() ? "" : bytes.data(); }

ErrorCode code_of(int primary) {
  switch (primary) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorCode::kDataLoss;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ErrorCode::kFailedPrecondition;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
      return ErrorCode::kPermissionDenied;
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
      return ErrorCode::kResourceExhausted;
    default:  // the codes are SQLite's, not ours
      return ErrorCode::kInternal;
  }
}

const char* way_out(int primary) {
  switch (primary) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return "; restore it from a backup, or move it and its -wal file away to start empty";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "; another process has it open and keeps a lock: end that process";
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
      return "; the daemon's user must be able to read and write the file and its directory";
    case SQLITE_FULL:
      return "; free space on its file system";
    default:
      return "";
  }
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : database_(std::exchange(other.database_, nullptr)),
      prepared_(std::exchange(other.prepared_, nullptr)),
      unbound_(std::exchange(other.unbound_, 0)) {}

Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(database_, other.database_);
  std::swap(prepared_, other.prepared_);
  std::swap(unbound_, other.unbound_);
  return *this;
}

Statement::~Statement() { sqlite3_finalize(prepared_); }

void Statement::bind(int parameter, std::int64_t value) { sqlite3_bind_int64(prepared_, parameter, value); }
void Statement::bind(int parameter, double value) { sqlite3_bind_double(prepared_, parameter, value); }
void Statement::bind_null(int parameter) { sqlite3_bind_null(prepared_, parameter); }

void Statement::bind_text(int parameter, std::string_view text) {
  sqlite3_bind_text(prepared_, parameter, address_of(text), static_cast<int>(text.size()), SQLITE_STATIC);
}

void Statement::bind_blob(int parameter, std::string_view bytes) {
  sqlite3_bind_blob(prepared_, parameter, address_of(bytes), static_cast<int>(bytes.size()), SQLITE_STATIC);
}

void Statement::bind_copy(int parameter, std::string_view bytes) {
  const int code =
      sqlite3_bind_blob(prepared_, parameter, address_of(bytes), static_cast<int>(bytes.size()), SQLITE_TRANSIENT);
  if (code != SQLITE_OK) unbound_ = code;
}

int Statement::run() {
  if (const int code = std::exchange(unbound_, 0); code != 0) return code;
  const int stepped = sqlite3_step(prepared_);
  const int code = sqlite3_reset(prepared_);
  return stepped == SQLITE_DONE || stepped == SQLITE_ROW ? SQLITE_OK : code != SQLITE_OK ? code : stepped;
}

Execution::~Execution() { sqlite3_reset(prepared_); }

bool Execution::next() {
  const int stepped = sqlite3_step(prepared_);
  if (stepped == SQLITE_ROW) return true;
  code_ = stepped == SQLITE_DONE ? SQLITE_OK : stepped;
  return false;
}

bool Execution::is_null(int column) const { return sqlite3_column_type(prepared_, column) == SQLITE_NULL; }
std::int64_t Execution::integer(int column) const { return sqlite3_column_int64(prepared_, column); }
double Execution::real(int column) const { return sqlite3_column_double(prepared_, column); }

std::string_view Execution::bytes(int column) const {
  const auto* address = static_cast<const char*>(sqlite3_column_blob(prepared_, column));
  const int size = sqlite3_column_bytes(prepared_, column);
  return address == nullptr ? std::string_view() : std::string_view(address, static_cast<std::size_t>(size));
}

Database::Database(Database&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}

Database& Database::operator=(Database&& other) noexcept {
  std::swap(connection_, other.connection_);
  return *this;
}

Database::~Database() { sqlite3_close_v2(connection_); }

Result<Database> Database::open(const std::string& path, const DatabaseOptions& options) {
  configure_once();
  Database database;
  const int flags =
      (options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const char* vfs = options.vfs.empty() ? nullptr : options.vfs.c_str();
  const int code = sqlite3_open_v2(path.c_str(), &database.connection_, flags, vfs);
  if (code != SQLITE_OK) return database.error(code);
  sqlite3_busy_timeout(database.connection_, options.busy_ms);
  const Status sized = database.run("PRAGMA cache_size = -" + std::to_string(options.cache_kib));
  if (!sized) return sized.error();
  return database;
}

Status Database::run(const std::string& sql) {
  const int code = sqlite3_exec(connection_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return error(code);
  return {};
}

Result<std::int64_t> Database::number(const std::string& sql) {
  Result<Statement> statement = prepare(sql);
  if (!statement) return statement.error();
  Execution execution(*statement);
  if (execution.next()) return execution.integer(0);
  if (execution.code() != SQLITE_OK) return error(execution.code());
  return std::int64_t{0};
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* prepared = nullptr;
  const int code = sqlite3_prepare_v3(connection_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                      &prepared, nullptr);
  if (code != SQLITE_OK) return error(code).in("preparing: " + std::string(sql));
  return Statement(connection_, prepared);
}

Result<BulkInsert> Database::prepare_insert(std::string_view into, int columns) {
  std::string row = "(?";
  for (int column = 1; column < columns; ++column) row += ",?";
  row += ')';
  std::array<Statement, BulkInsert::kRowsAtOnce.size()> statements;
  for (std::size_t i = 0; i < statements.size(); ++i) {
    std::string sql = "INSERT INTO " + std::string(into) + " VALUES " + row;
    for (std::size_t more = 1; more < BulkInsert::kRowsAtOnce[i]; ++more) sql += ',' + row;
    Result<Statement> prepared = prepare(sql);
    if (!prepared) return prepared.error();
    statements[i] = *std::move(prepared);
  }
  return BulkInsert(std::move(statements), columns);
}

Error Database::error(int code) const {
  const int primary = code & 0xff;
  std::string message = sqlite3_errstr(code);
  // The connection's message belongs to its last call, which is the one that failed; it often says more.
  if (connection_ != nullptr && sqlite3_extended_errcode(connection_) == code) {
    const std::string detail = sqlite3_errmsg(connection_);
    if (detail != sqlite3_errstr(code)) message += " (" + detail + ")";
    const int number = sqlite3_system_errno(connection_);
    if (number != 0 && (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN)) {
      message += std::string(" (") + std::strerror(number) + ")";
    }
  }
  return {code_of(primary), message + way_out(primary)};
}

}  // namespace futured
