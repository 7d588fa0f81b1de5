// What the Scheduler has begun and not finished: questions to the store, purges, cancels, waits, outcomes to share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "daemon/core/effects.h"
#include "daemon/core/event.h"
#include "daemon/core/result_cache.h"
#include "daemon/core/rows.h"
#include "daemon/core/types.h"

namespace futured {

struct LastDeadline {
  WallTime begins;  // of its first jobs
  DeadlineRow row;
};

struct DueJobs {
  DeadlineRow row;
  JobId next;                         // the first that was not asked for yet
  std::unordered_set<JobId> changed;  // became resident since the last ones were asked for
};

struct DelayedJobs {
  std::optional<WallTime> next;        // when the first one is due
  Instant timer = Instant::never();    // a timer for this time is set
  bool claiming = false;               // a claim is under way
  std::optional<WallTime> added_next;  // of those that came meanwhile
  std::unordered_set<JobId> ended_meanwhile;
};

struct ParentsAsked {
  struct One {
    event::Submit submit;
    std::size_t answers_left = 0;
  };
  std::map<std::uint64_t, One> submits;  // by the number of their questions
  std::uint64_t next_number = 1;
  std::size_t jobs = 0;
};

// Jobs that nothing blocks any more but results that their payloads name and the store has.
struct ResultsWanted {
  std::unordered_set<JobId> jobs;
  std::deque<JobId> waiting;  // of them, not asked for; some may have ended since
  std::unordered_set<JobId> asked;
};

// Batches with too many failures, by first job: what has not begun of them is cancelled.
struct StoppedBatch {
  WholeBatchRow row;
  std::uint32_t next = 0;           // of its jobs, looked up where they are not resident
  std::unordered_set<JobId> asked;  // of those
};

struct KeyedSubmits {
  std::deque<event::Submit> waiting;  // not asked about yet
  std::vector<event::Submit> asked;
  std::size_t jobs = 0;  // of both
};

struct Purge {
  std::vector<Token> tokens;
  std::uint64_t cancelled = 0;
  std::unordered_set<JobId> asked_back;  // offers whose Revoke was not answered yet
  std::vector<JobId> aside;              // that waited in no list of their lane when they were looked for last
};

// A step of jobs to another queue. It is carried out when nothing of it is in a worker's hands or on its way here.
struct Move {
  std::uint64_t number = 0;
  event::MoveJobs asked;
  std::set<JobId> ready;                                   // were in their lane's order
  std::map<JobId, StoredJob> brought_in;                   // were not resident
  std::unordered_set<JobId> asked_back;                    // offers whose Revoke was not answered yet
  std::unordered_set<JobId> loading;                       // that the store is asked for
  std::unordered_map<JobId, effect::Moved::What> settled;  // not moved, and why
  std::optional<Error> refused;
};

struct CancelWish {
  std::vector<Token> waiters;  // are told of the end
  std::vector<Token> hurried;  // are told when the wish is on disk, or the job has ended
  std::optional<Duration> grace;
  std::string reason;
  std::optional<CancelRow> stored;
};

struct Loading {
  std::vector<event::Cancel> cancels;
  std::vector<event::Register> registers;
  std::vector<std::uint64_t> moves;  // by number
  std::optional<JobState> ended;     // meanwhile: the answer was read too early
  bool has_moved = false;            // it was resident meanwhile, and left: likewise
};

struct OpenWait {
  std::uint32_t number = 0;
  std::uint64_t call = 0;
  bool lends_permits = false;
  bool is_being_read = false;  // the store is asked about some of them
  std::vector<JobId> open;     // ascending; not known to have ended
};

enum class CacheRole : std::uint8_t { kNone, kLeads, kFollows, kAwaitsKept };

struct CachedJob {
  std::shared_ptr<const CacheKey> key;
  CacheRole role = CacheRole::kNone;
  bool is_cleared = false;      // kLeads: what it was to compute was cleared meanwhile, and is not kept
  std::string miss;             // kLeads: why it runs
  std::string remark;           // of who asked, for the note
  std::deque<JobId> followers;  // kLeads: in this order; some may have ended or left since
};

// A job that follows is to end like another.
struct CachedAnswer {
  JobId job;
  JobId from;
  std::shared_ptr<const CachedOutcome> outcome;
  bool is_joined = false;  // the other one ran meanwhile
};

struct Caching {
  std::unordered_map<JobId, CachedJob> jobs;                  // resident, with a key
  std::unordered_map<CacheKey, JobId, CacheKeyHash> leaders;  // who computes what
  std::map<JobId, std::shared_ptr<const CacheKey>> unsaved;   // of new jobs, not yet among the rows
  std::deque<CachedAnswer> answers;
  std::vector<std::deque<JobId>> orphans;           // followers of one that has no outcome for them
  std::map<JobId, std::vector<JobId>> kept_wanted;  // by entry: who waits for what is read
  std::vector<JobId> kept_asked;                    // entries that are being read
};

}  // namespace futured
