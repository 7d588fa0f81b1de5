// Retention in SQLite. Numbers are gone through once, in their order: what stays behind the mark `trimmed_until` is
// listed in `kept`, so neither a step nor a start ever searches. Which job may go core/retention.h says.
#include <sqlite3.h>

#include <algorithm>
#include <set>

#include "daemon/store/sqlite_retention.h"
#include "daemon/store/sqlite_store.h"
#include "daemon/store/stored_bytes.h"

namespace futured {

namespace {

// A job that a callback needs is looked at again after that.
constexpr Duration kAgainAfter = std::chrono::minutes(1);

// Not the view `job_state`: which table leads is said here, so that no plan ever searches them all.
constexpr const char* kColumns =
    "SELECT j.id, coalesce(j.state, o.state, 3), coalesce(j.submitted_at + j.finished_after, o.finished_at),"
    " s.retention_ns, j.submitted_at, length(j.payload), length(coalesce(j.result, o.result)),"
    " CASE WHEN substr(j.payload, 1, 1) = x'02' THEN j.payload END,"
    " CASE WHEN substr(coalesce(j.result, o.result), 1, 1) = x'02' THEN coalesce(j.result, o.result) END";
constexpr const char* kJoined =
    " CROSS JOIN specs s ON s.id = j.spec LEFT JOIN outcomes o ON o.job = j.id AND j.state IS NULL";

}  // namespace

Status Retention::prepare(Database& database) {
  const std::string listed = std::string(kColumns) + " FROM kept k CROSS JOIN jobs j ON j.id = k.job" + kJoined;
  const std::pair<Statement*, std::string> statements[] = {
      {&due, listed + " WHERE k.at <= ?1 AND k.again <= ?2 ORDER BY k.at LIMIT ?3"},
      {&surplus, listed + " WHERE k.at IS NOT NULL AND k.job <= ?1 AND k.again <= ?2 ORDER BY k.job LIMIT ?3"},
      {&next, std::string(kColumns) + " FROM jobs j" + kJoined + " WHERE j.id >= ?1 ORDER BY j.id LIMIT ?2"},
      {&keep, "INSERT OR REPLACE INTO kept VALUES (?,?,?)"},
      {&ended, "UPDATE kept SET at = 0 WHERE job = ?"},
      {&pending,
       "SELECT EXISTS (SELECT 1 FROM deliveries WHERE state = 1) OR"
       " EXISTS (SELECT 1 FROM deliveries WHERE state = 2) OR"
       " EXISTS (SELECT 1 FROM whole_batches WHERE ended < count) OR"
       " EXISTS (SELECT 1 FROM dependencies WHERE takes_result = 1) OR"
       " EXISTS (SELECT 1 FROM dependencies WHERE batch_jobs > 0 AND state = 0)"},
      {&is_needed,
       "WITH batch AS (SELECT first, count, ended FROM whole_batches WHERE first <= ?1 ORDER BY first DESC LIMIT 1),"
       " asked(id) AS (SELECT ?1 UNION SELECT first FROM batch WHERE first + count > ?1)"
       " SELECT EXISTS (SELECT 1 FROM batch WHERE first + count > ?1 AND ended < count) OR"
       " EXISTS (SELECT 1 FROM asked CROSS JOIN deliveries d ON d.id BETWEEN 32 * asked.id AND 32 * asked.id + 31"
       "  WHERE d.id % 2 = 0 AND d.state IN (1, 2, 5)) OR"
       " EXISTS (SELECT 1 FROM callbacks c CROSS JOIN deliveries d ON d.id = c.id"
       "  WHERE c.job = ?1 AND d.state IN (1, 2, 5)) OR"
       " EXISTS (SELECT 1 FROM callbacks c CROSS JOIN deliveries d ON d.id = c.id"
       "  WHERE c.batch_jobs > 0 AND c.job BETWEEN ?1 - ?2 AND ?1 AND c.job + c.batch_jobs > ?1"
       "  AND d.state IN (1, 2, 5)) OR"
       " EXISTS (SELECT 1 FROM dependencies t CROSS JOIN jobs j ON j.id = t.job LEFT JOIN outcomes o ON o.job = t.job"
       "  WHERE t.takes_result = 1 AND t.parent = ?1 AND j.state IS NULL AND o.job IS NULL) OR"
       " EXISTS (SELECT 1 FROM dependencies b WHERE b.batch_jobs > 0 AND b.state = 0"
       "  AND b.parent BETWEEN ?1 - ?2 AND ?1 AND b.parent + b.batch_jobs > ?1)"},
      {&remove_use, "DELETE FROM file_uses WHERE digest = ? AND job = ?"},
      {&is_used, "SELECT 1 FROM file_uses WHERE digest = ? LIMIT 1"},
  };
  for (const auto& [statement, sql] : statements) {
    Result<Statement> prepared = database.prepare(sql);
    if (!prepared) return prepared.error();
    *statement = *std::move(prepared);
  }
  // Each has the first and the last number of a run.
  for (const char* const sql : {
           "DELETE FROM outcomes WHERE job BETWEEN ?1 AND ?2",
           "DELETE FROM attempts WHERE job BETWEEN ?1 AND ?2",
           "DELETE FROM starts WHERE job BETWEEN ?1 AND ?2",
           "DELETE FROM children WHERE job BETWEEN ?1 AND ?2",
           "DELETE FROM dependencies WHERE job BETWEEN ?1 AND ?2",
           "DELETE FROM delays WHERE job BETWEEN ?1 AND ?2",
           "DELETE FROM cancels WHERE job BETWEEN ?1 AND ?2",
           "DELETE FROM kept WHERE job BETWEEN ?1 AND ?2",
           "DELETE FROM deliveries WHERE id BETWEEN 32 * ?1 AND 32 * ?2 + 31 AND id % 2 = 0",
           "DELETE FROM deliveries WHERE id IN (SELECT id FROM callbacks WHERE job BETWEEN ?1 AND ?2)",
           "DELETE FROM callbacks WHERE job BETWEEN ?1 AND ?2",
           "DELETE FROM jobs WHERE id BETWEEN ?1 AND ?2",
           "DELETE FROM batches WHERE first BETWEEN coalesce((SELECT max(first) FROM batches WHERE first <= ?1), ?1)"
           " AND ?2 AND NOT EXISTS (SELECT 1 FROM jobs WHERE id >= first AND id < first + count)",
       }) {
    Result<Statement> prepared = database.prepare(sql);
    if (!prepared) return prepared.error();
    removals.push_back(*std::move(prepared));
  }
  Result<Statement> batches = database.prepare(
      "DELETE FROM whole_batches WHERE first BETWEEN ?1 - ?3 AND ?2 AND ended >= count AND NOT EXISTS"
      " (SELECT 1 FROM jobs WHERE id >= first AND id < first + count)");
  if (!batches) return batches.error();
  remove_batches = *std::move(batches);

  const Result<std::int64_t> mark = database.number("SELECT value FROM meta WHERE name = 'trimmed_until'");
  if (!mark) return mark.error();
  trimmed_until = static_cast<std::uint64_t>(*mark);
  if (const Status prepared = prepare_words(database); !prepared) return prepared;
  const Result<std::int64_t> callbacks =
      database.number("SELECT coalesce((SELECT value FROM meta WHERE name = 'callbacks_until'), 1)");
  if (!callbacks) return callbacks.error();
  callbacks_until = static_cast<std::uint64_t>(*callbacks);
  const Result<std::int64_t> own = database.number("SELECT min(retention_ns) FROM specs WHERE retention_ns > 0");
  if (!own) return own.error();
  shortest_own = Duration(*own);
  return {};
}

void Retention::note(const SpecRow& row) {
  const JobSpec& spec = row.spec;
  newest_spec = std::max(newest_spec, row.id.value);
  if (spec.retention.count() == 0) return;
  if (shortest_own.count() == 0 || spec.retention < shortest_own) shortest_own = spec.retention;
}

// What of a job was read, and what is to become of it.
struct SqliteStore::TrimStep {
  struct Removed {
    std::uint64_t id = 0;
    std::uint64_t bytes = 0;
    std::vector<Digest> files;
  };
  const TrimQuestion& question;
  std::uint64_t surplus_until = 0;
  bool is_too_large = false;
  bool has_pending = false;
  std::uint32_t looked_at = 0;
  std::uint64_t mark = 0;
  std::vector<Removed> removed;
  std::vector<std::pair<std::uint64_t, WallTime>> due_at;  // kForEver with an age; NULL is told by unfinished
  std::vector<std::uint64_t> unfinished;
  std::vector<std::uint64_t> needed;
  std::set<std::uint64_t> listed;  // ids of this step, so that none is looked at twice

  [[nodiscard]] bool is_full() const { return looked_at >= question.jobs_max; }
};

Result<std::uint64_t> SqliteStore::kept_bytes() {
  const Result<std::int64_t> pages = database_.number("PRAGMA page_count");
  if (!pages) return pages.error();
  const Result<std::int64_t> free = database_.number("PRAGMA freelist_count");
  if (!free) return free.error();
  const Result<std::int64_t> size = database_.number("PRAGMA page_size");
  if (!size) return size.error();
  return static_cast<std::uint64_t>((*pages - *free) * *size) + files_->bytes();
}

Result<TrimAnswer> SqliteStore::trim(const TrimQuestion& question) {
  if (broken_) return *broken_;
  if (const Status found = find_open_jobs(); !found) return found.error();
  Result<std::uint64_t> bytes = kept_bytes();
  if (!bytes) return bytes.error().in("database " + path_);
  TrimStep step{question};
  step.surplus_until = surplus_until(question.policy, open_jobs_.newest());
  const std::uint64_t bytes_max = question.policy.bytes_max;
  const std::uint64_t spooled = question.is_sweeping ? 0 : question.spool_bytes;
  // What users hold goes when they let go of it, whatever is removed here.
  step.is_too_large = bytes_max != 0 && *bytes + spooled > bytes_max + sent_->bytes();
  step.mark = retention_.trimmed_until;
  if (const Status looked = look_for_jobs(step); !looked) return looked.error().in("database " + path_);

  TrimAnswer answer;
  std::ranges::sort(step.removed, {}, &TrimStep::Removed::id);
  const bool changes =
      step.mark != retention_.trimmed_until || !step.removed.empty() || !step.needed.empty() || !step.due_at.empty();
  const bool frees = step.mark != retention_.trimmed_until || !step.removed.empty();
  std::vector<Digest> unused;
  WordsTrimmed words;
  const WordsPlace place = retention_.place;
  const std::uint64_t callbacks_until = retention_.callbacks_until;
  if (changes || retention_.words_wanted) {
    int code = writes_.begin.run();
    if (code == SQLITE_OK) code = write_trim(step, unused);
    if (code == SQLITE_OK) code = trim_words(step.mark, words);
    if (code == SQLITE_OK) code = writes_.commit.run();
    if (code != SQLITE_OK) {
      const Error error = fault(code);
      const bool is_open = sqlite3_get_autocommit(database_.raw()) == 0;
      retention_.place = place;
      retention_.callbacks_until = callbacks_until;
      if (!rolls_back(code) || (is_open && writes_.rollback.run() != SQLITE_OK)) broken_ = error;
      return error;
    }
    retention_.trimmed_until = step.mark;
    remember_words(words, frees);
  }
  for (const Digest& digest : unused) files_->drop(digest);
  answer.removed_files = unused.size();
  for (const TrimStep::Removed& removed : step.removed) {
    answer.removed.push_back(JobId{removed.id});
    answer.removed_bytes += removed.bytes;
  }
  const Result<bool> gave_all = give_pages_back();
  if (!gave_all) return gave_all.error().in("database " + path_);
  // Without commits nothing else would shorten the file.
  if (owes_room_ && *gave_all) copy_log_back(/*waits=*/false);
  bytes = kept_bytes();
  if (!bytes) return bytes.error().in("database " + path_);
  answer.kept_bytes = *bytes + question.spool_bytes;
  answer.removed_specs = words.specs;
  answer.removed_keys = words.keys;
  answer.trimmed_until = retention_.trimmed_until;
  answer.more = step.is_full() || words.is_full || !*gave_all;
  return answer;
}

// Those listed first, for they are older; then what lies at the mark.
Status SqliteStore::look_for_jobs(TrimStep& step) {
  {
    Execution row(retention_.pending);
    if (!row.next()) return database_.error(row.code());
    step.has_pending = row.integer(0) != 0;
  }
  const std::int64_t due = step.is_too_large ? kForEver.us : step.question.now.us;
  if (const Status looked = look_at_listed(retention_.due, due, step); !looked) return looked;
  if (const Status looked = look_at_listed(retention_.surplus, static_cast<std::int64_t>(step.surplus_until), step);
      !looked) {
    return looked;
  }
  if (step.is_full()) return {};
  const Duration shortest = shortest_age(step.question.policy, retention_.shortest_own);
  Statement& next = retention_.next;
  next.bind(1, step.mark);
  next.bind(2, step.question.jobs_max - step.looked_at);
  Execution row(next);
  while (row.next()) {
    const bool is_due = kept_until(WallTime{row.integer(4)}, shortest) <= step.question.now;
    if (!is_due && !step.is_too_large && row.number(0) > step.surplus_until) break;
    if (const Status looked = look_at(row, step); !looked) return looked;
    step.mark = row.number(0) + 1;
  }
  return row.code() == SQLITE_OK ? Status() : Status(database_.error(row.code()));
}

Status SqliteStore::look_at_listed(Statement& statement, std::int64_t bound, TrimStep& step) {
  statement.bind(1, bound);
  statement.bind(2, step.question.now.us);
  statement.bind(3, step.question.jobs_max - step.looked_at);
  Execution row(statement);
  while (row.next()) {
    if (step.listed.contains(row.number(0))) continue;
    if (const Status looked = look_at(row, step); !looked) return looked;
  }
  return row.code() == SQLITE_OK ? Status() : Status(database_.error(row.code()));
}

Status SqliteStore::look_at(const Execution& row, TrimStep& step) {
  const std::uint64_t id = row.number(0);
  ++step.looked_at;
  if (id < step.mark) step.listed.insert(id);
  const auto state = static_cast<JobState>(row.integer(1));
  if (!is_terminal(state)) {
    step.unfinished.push_back(id);
    return {};
  }
  const WallTime due =
      kept_until(WallTime{row.integer(2)}, age_of(step.question.policy, state, Duration(row.integer(3))));
  if (due > step.question.now && !step.is_too_large && id > step.surplus_until) {
    step.due_at.emplace_back(id, due);
    return {};
  }
  if (step.has_pending) {
    const Result<bool> needed = is_needed(id);
    if (!needed) return needed.error();
    if (*needed) {
      step.needed.push_back(id);
      return {};
    }
  }
  TrimStep::Removed removed{id, row.number(5) + row.number(6), {}};
  for (const int column : {7, 8}) {
    for (const Digest& file : files_of(row.bytes(column))) removed.files.push_back(file);
  }
  step.removed.push_back(std::move(removed));
  return {};
}

// By a callback of its own or of its batch that has still to be delivered, by a job that takes its result, or by one
// that waits for its batch: a daemon that starts meanwhile asks how those have ended that did before.
Result<bool> SqliteStore::is_needed(std::uint64_t id) {
  retention_.is_needed.bind(1, id);
  retention_.is_needed.bind(2, limits::kBatchReachMax);
  Execution row(retention_.is_needed);
  if (!row.next()) return database_.error(row.code());
  return row.integer(0) != 0;
}

int SqliteStore::write_trim(TrimStep& step, std::vector<Digest>& unused) {
  const auto keep = [this](std::uint64_t id, std::optional<WallTime> at, WallTime again) {
    retention_.keep.bind(1, id);
    if (at) {
      retention_.keep.bind(2, at->us);
    } else {
      retention_.keep.bind_null(2);
    }
    retention_.keep.bind(3, again.us);
    return retention_.keep.run();
  };
  int code = SQLITE_OK;
  for (const std::uint64_t id : step.unfinished) {
    if (code == SQLITE_OK) code = keep(id, std::nullopt, {});
  }
  for (const auto& [id, at] : step.due_at) {
    if (code == SQLITE_OK) code = keep(id, at, {});
  }
  for (const std::uint64_t id : step.needed) {
    if (code == SQLITE_OK) code = keep(id, step.question.now, step.question.now + kAgainAfter);
  }
  if (code == SQLITE_OK && !step.removed.empty()) code = remember_callback_numbers();
  if (code == SQLITE_OK) code = remove_jobs(step, unused);
  if (code == SQLITE_OK && step.mark != retention_.trimmed_until) code = write_meta("trimmed_until", step.mark);
  return code;
}

// Receivers know deliveries by the numbers of their callbacks, so none is given twice: the newest may be among those
// that go.
int SqliteStore::remember_callback_numbers() {
  const Result<std::int64_t> newest = database_.number("SELECT coalesce(max(id), 0) FROM callbacks");
  if (!newest) return sqlite3_extended_errcode(database_.raw());
  const auto until = static_cast<std::uint64_t>(*newest) / 2 + 1;
  if (*newest == 0 || until <= retention_.callbacks_until) return SQLITE_OK;
  if (const int code = write_meta("callbacks_until", until); code != SQLITE_OK) return code;
  retention_.callbacks_until = until;
  return SQLITE_OK;
}

// Neighbours go together: a range costs little more than a row.
int SqliteStore::remove_jobs(const TrimStep& step, std::vector<Digest>& unused) {
  std::set<Digest> files;
  for (std::size_t first = 0; first < step.removed.size();) {
    std::size_t last = first;
    while (last + 1 < step.removed.size() && step.removed[last + 1].id == step.removed[last].id + 1) ++last;
    for (Statement& statement : retention_.removals) {
      statement.bind(1, step.removed[first].id);
      statement.bind(2, step.removed[last].id);
      if (const int code = statement.run(); code != SQLITE_OK) return code;
    }
    for (; first <= last; ++first) {
      for (const Digest& file : step.removed[first].files) {
        retention_.remove_use.bind_blob(1, file.raw());
        retention_.remove_use.bind(2, step.removed[first].id);
        if (const int code = retention_.remove_use.run(); code != SQLITE_OK) return code;
        files.insert(file);
      }
    }
  }
  if (step.removed.empty()) return SQLITE_OK;
  retention_.remove_batches.bind(1, step.removed.front().id);
  retention_.remove_batches.bind(2, step.removed.back().id);
  retention_.remove_batches.bind(3, limits::kBatchReachMax);
  if (const int code = retention_.remove_batches.run(); code != SQLITE_OK) return code;
  for (const Digest& file : files) {
    retention_.is_used.bind_blob(1, file.raw());
    Execution row(retention_.is_used);
    if (!row.next()) {
      if (row.code() != SQLITE_OK) return row.code();
      unused.push_back(file);
    }
  }
  return SQLITE_OK;
}

// An unfinished job that the mark has passed ends: the next step looks at it.
int SqliteStore::note_ends_behind_mark(const Batch& batch) {
  for (const OutcomeRow& row : batch.outcomes) {
    if (row.id.value >= retention_.trimmed_until) continue;
    retention_.ended.bind(1, row.id.value);
    if (const int code = retention_.ended.run(); code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

// Free pages at the file's end shorten it; what lies behind them is moved. False: there are more.
Result<bool> SqliteStore::give_pages_back() {
  const Result<std::int64_t> before = database_.number("PRAGMA freelist_count");
  if (!before) return before.error();
  if (*before <= options_.free_pages_kept) return true;
  const std::int64_t pages = std::min<std::int64_t>(*before - options_.free_pages_kept, limits::kTrimPagesMax);
  const Status done = database_.run("PRAGMA incremental_vacuum(" + std::to_string(pages) + ")");
  if (!done) {
    // Without room for the log nothing is given back now, and nothing is lost. What a failed sync left nobody knows.
    if (done.error().code == ErrorCode::kResourceExhausted || done.error().code == ErrorCode::kFailedPrecondition) {
      return true;
    }
    broken_ = done.error().in("database " + path_);
    return done.error();
  }
  owes_room_ = true;
  return *before - options_.free_pages_kept <= pages;
}

}  // namespace futured
