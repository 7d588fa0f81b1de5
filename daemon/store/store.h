// Store: the durable side of the scheduler. Rows in, rows out; it decides nothing.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "daemon/core/retention.h"
#include "daemon/core/rows.h"

namespace futured {

class SentContents;
struct Digest;

// How a commit that was not done failed. Only a rolled-back batch may be tried again.
enum class CommitFault {
  kRolledBack,  // disk full, busy: nothing of the batch is stored
  kUnknown,     // fsync failed, or the outcome is not known: stop, and reload at restart
};

struct CommitError {
  CommitFault fault;
  Error error;
};

// A whole job for people: row, spec, outcome, attempts. Of `job`, in_backlog and started are not told; in a page,
// attempts, crashes and retry_at neither.
struct JobRecord {
  StoredJob job;  // its payload only when asked for
  JobSpec spec;
  Ending ending;
  std::vector<AttemptRow> attempts;
  std::vector<DependencyRow> dependencies;  // by number; not told in a page
  JobId batch;                              // the first job of its batch
};

// Jobs in descending order of id, as people list them, or with oldest_first in ascending order.
struct JobQuery {
  std::uint64_t before = 0;  // only ids below it; 0: from the newest
  std::uint64_t after = 0;   // oldest_first: only ids above it
  bool oldest_first = false;
  std::uint32_t jobs_max = 100;
  std::uint64_t scan_max = 100'000;  // rows looked at before giving up with a continuation
  std::vector<JobState> states;      // empty: any. kRunning and kScheduled are not known here: ask for kQueued
  std::string queue;                 // empty: any
  std::string name;                  // empty: any
  std::string task;                  // empty: any
  std::vector<CauseKind> causes;     // empty: any; else it ended by one of these
  JobId parent;                      // unset: any; else its children alone are looked at

  [[nodiscard]] bool wants(const Ending& ending) const {
    return causes.empty() || (ending.cause && std::ranges::find(causes, ending.cause->kind) != causes.end());
  }
};

struct JobPage {
  std::vector<JobRecord> jobs;    // without payloads, results and attempts
  std::uint64_t next_before = 0;  // pass as `before` to go on, or with oldest_first as `after`; 0: the end was reached
};

struct EndingsPage {
  std::vector<OutcomeRow> rows;
  std::size_t ids = 0;  // the first so many of those asked were looked at
};

// A callback that was asked for, and how it stands.
struct CallbackRecord {
  CallbackId id;
  JobId job;                // that it was asked of: of a whole batch, the first
  std::uint32_t owner = 0;  // uid of who asked for it
  CallbackSpec spec;
  std::uint32_t batch_jobs = 0;  // of one for a whole batch that was registered later
  DeliveryRow delivery;          // kWaiting when its job has not ended
};

// A delivery with all that a receiver is told.
struct DeliveryRecord {
  CallbackRecord callback;
  JobRecord job;                       // whose outcome is told; with its result, without its payload
  std::optional<WholeBatchRow> batch;  // of a callback for the whole batch
};

struct CallbackQuery {
  JobId job;                // unset: those of any job that are due or were registered after the submit
  std::uint64_t after = 0;  // only ids above it
  std::uint32_t callbacks_max = 100;
  std::uint64_t scan_max = 10'000;    // rows looked at before giving up with a continuation
  std::vector<DeliveryState> states;  // empty: any but kNotDue
};

struct CallbackPage {
  std::vector<CallbackRecord> callbacks;  // ascending ids
  std::uint64_t next_after = 0;           // pass as `after` to go on; 0: the end was reached
};

// Reads for people, apart from the writer. One thread at a time; sees what was committed when it is called.
class StoreReader {
 public:
  virtual ~StoreReader() = default;
  [[nodiscard]] virtual Result<std::optional<JobRecord>> get(JobId id, bool with_payload) = 0;
  [[nodiscard]] virtual Result<JobPage> list(const JobQuery& query) = 0;
  // Of those of `ids` that exist, in the order asked: how they ended (result included), or that they have not ended
  // (state kQueued). At most limits::kListPageMax ids. Stops behind the row whose result brings them to `bytes_max`.
  [[nodiscard]] virtual Result<EndingsPage> endings(const std::vector<JobId>& ids, std::size_t bytes_max) = 0;
  // Of few: all of them, whatever they have.
  [[nodiscard]] Result<std::vector<OutcomeRow>> endings(const std::vector<JobId>& ids) {
    auto page = endings(ids, SIZE_MAX);
    if (!page.ok()) return page.error();
    return std::move(page->rows);
  }
  // The jobs that an idempotency key stands for; nothing: nobody has used it.
  [[nodiscard]] virtual Result<std::optional<KeyRow>> find_key(const KeyQuery& key) = 0;
  // A callback that is due, was, or was registered later; and with all that its receiver is told.
  [[nodiscard]] virtual Result<std::optional<CallbackRecord>> callback(CallbackId id) = 0;
  [[nodiscard]] virtual Result<std::optional<DeliveryRecord>> delivery(CallbackId id) = 0;
  [[nodiscard]] virtual Result<CallbackPage> callbacks(const CallbackQuery& query) = 0;
  // Of which jobs that one was made with; count 0: there is no such job.
  [[nodiscard]] virtual Result<BatchRow> batch_with(JobId job) = 0;
  // Of the numbers below it only those are left that have not ended or are kept longer. 0: nothing was removed yet.
  [[nodiscard]] virtual Result<std::uint64_t> trimmed_until() = 0;
  // Of these, those that there never will be (again): retention has passed their numbers, and has no row of them.
  [[nodiscard]] virtual Result<std::vector<JobId>> gone(const std::vector<JobId>& ids) = 0;
};

// What must stay on disk until it is committed or refused. Given up by whoever lets go of it last.
using PayloadHold = std::shared_ptr<const void>;

// Puts on disk, ahead of its commit, what of a payload is too large for a row: so that a full disk is told before the
// job is accepted, and commits do not wait for it. Any thread; blocking.
class PayloadKeeper {
 public:
  virtual ~PayloadKeeper() = default;
  // kResourceExhausted: there is no room, and nothing of it is left there.
  [[nodiscard]] virtual Result<PayloadHold> keep(const std::vector<std::string_view>& payloads) = 0;

  struct KeptSegment {
    SegmentId id;  // base/stored_segment.h
    std::array<std::uint8_t, 32> digest{};
    PayloadHold hold;
  };
  // A whole segment, to which somebody may still write if `may_change`. Likewise.
  [[nodiscard]] virtual Result<KeptSegment> keep_segment(std::string_view content, bool may_change) = 0;
  // Of one that was kept, now or under an earlier daemon. kNotFound: no job that was read names it.
  [[nodiscard]] virtual Result<std::uint64_t> segment_bytes(SegmentId id) = 0;
  // Exactly its bytes. kNotFound, kDataLoss: its file is gone or damaged, and the error names it.
  [[nodiscard]] virtual Status fetch_segment(SegmentId id, std::span<std::byte> into) = 0;
  // Nobody holds it any more: its file goes, if no job needs it.
  virtual void drop_unused(const Digest& digest) = 0;
};

// The writer's side. One thread at a time (the store thread); blocking.
class Store {
 public:
  virtual ~Store() = default;

  // Everything a starting daemon needs. Called once, first.
  [[nodiscard]] virtual Result<Snapshot> snapshot() = 0;
  // Commits the next epoch together with the spawner instance it is attached to.
  [[nodiscard]] virtual Status begin_epoch(Epoch epoch, const std::string& spawner_instance) = 0;
  // Durable when it returns nothing. The batch is untouched, so that a rolled-back one can be tried again.
  [[nodiscard]] virtual std::optional<CommitError> commit(const Batch& batch) = 0;
  // Reads that see every commit made before them.
  [[nodiscard]] virtual Result<ClaimAnswer> claim(const Claim& claim) = 0;
  [[nodiscard]] virtual Result<LoadAnswer> load(const std::vector<JobId>& ids) = 0;
  [[nodiscard]] virtual Result<KeyAnswer> find_keys(const std::vector<KeyQuery>& keys) = 0;
  [[nodiscard]] virtual Result<DelayedAnswer> claim(const DelayedClaim& claim) = 0;
  [[nodiscard]] virtual Result<DeliveryClaimAnswer> claim(const DeliveryClaim& claim) = 0;
  [[nodiscard]] virtual Result<BatchAnswer> read_batch(const BatchQuery& query) = 0;
  // Outcomes that are kept for jobs that ask the same, by the jobs that had them.
  [[nodiscard]] virtual Result<CacheAnswer> read_cache(const std::vector<JobId>& entries) = 0;

  // One small step of retention: removes what may go by these rules, each job with all that is said of it, durably, and
  // gives room back. Unfinished jobs stay, and those with a callback that is due or a batch that has not ended. An
  // error leaves everything as it was.
  [[nodiscard]] virtual Result<TrimAnswer> trim(const TrimQuestion& question) = 0;

  // Housekeeping that need not keep an answer waiting: called between commits, after the answers left. A store whose
  // owner never calls it does the same at its next commit.
  virtual void tend() {}
  // tend() has much to do; the next commit would do it first.
  [[nodiscard]] virtual bool wants_tending() const { return false; }
  // True from when a full disk made it spend the room it keeps for outcomes, until it has that room again: outcomes
  // go on, new jobs should be refused.
  [[nodiscard]] virtual bool short_of_space() const { return false; }

  // A commit of this batch writes files beside its rows, which may take long.
  [[nodiscard]] virtual bool writes_files(const Batch&) const { return false; }
  // For another thread; null: this store keeps no files. May outlive it.
  [[nodiscard]] virtual std::unique_ptr<PayloadKeeper> keeper() { return nullptr; }
  // What users have sent once; for any thread. Null: this store keeps no files. May outlive it.
  [[nodiscard]] virtual std::shared_ptr<SentContents> sent_contents() { return nullptr; }

  // A reader of its own for another thread. Outlived by the store.
  [[nodiscard]] virtual std::unique_ptr<StoreReader> reader() = 0;
};

inline constexpr int kStoredCompression = 3;

// SQLite in `path` (created with mode 0600 when missing). Holds an exclusive lock file `<path>.lock` for its life.
// Large parts of payloads and results are files in `<path>.files`, compressed where that saves room: at this level of
// zstd, 0 (never) to limits::kStoredCompressionMax.
// Errors: locked by another daemon, corrupt, a schema newer than this program knows, unwritable directory.
[[nodiscard]] Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& path,
                                                               int compression_level = kStoredCompression);

struct StoreVersion {
  std::string program;       // "sqlite 3.40.1"
  std::uint32_t schema = 0;  // that every opened database has
};
[[nodiscard]] StoreVersion sqlite_version();

// Everything in memory: for tests and the simulation.
[[nodiscard]] std::unique_ptr<Store> make_memory_store();

}  // namespace futured
