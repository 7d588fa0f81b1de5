// Oracle: a small model of what clients were promised, independent of the scheduler. It watches what clients ask and
// hear, what workers do and what is committed, and throws Violation when these do not fit together.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/core/effects.h"
#include "daemon/store/store.h"
#include "tests/simulation/random.h"

namespace futured::simulation {

class Oracle {
 public:
  // What a pool's workers may have; 0: no limit.
  void pool_memory(const std::string& pool, std::uint64_t bytes_max) { pool_memory_[pool] = bytes_max; }

  // Clients.
  // `keys` as in event::Submit.
  void asked_submit(Token token, std::uint32_t count, std::vector<event::SubmitKey> keys = {});
  void asked_cancel(Token token, JobId job, bool waits);
  void asked_queue(Token token);
  // A purge is answered by its last step, which a timer brings.
  [[nodiscard]] bool owes_answers() const { return !open_queues_.empty(); }
  void asked_schedule(Token token) { open_queues_.insert(token); }
  void asked_clear(Token token) {
    open_queues_.insert(token);
    was_cleared_ = true;
  }
  void heard_schedule(Token token);
  // Its wall clock only goes forward, so that no firing's time comes twice.
  void clock_is_steady(bool steady) { clock_is_steady_ = steady; }
  void asked_purge(Token token, const std::string& queue);
  void asked_move(Token token, const std::vector<JobId>& jobs);
  void asked_register(Token token) { open_registers_.insert(token); }
  void heard_accepted(const effect::Accepted& accepted);
  void heard_cancelled(const effect::Cancelled& cancelled);
  void heard_refused(const effect::Refused& refused);
  void heard_queue(Token token);
  void heard_registered(Token token);

  // The scheduler, as its effects show it.
  // New rows of the batch that is being gathered; at that time, but for what a start of the daemon does.
  void gathered(const Batch& rows, std::optional<WallTime> now);
  void sent(const Batch& rows);  // that batch is complete now, and another begins
  void handed_out(const std::vector<effect::Offer>& at_once, const std::vector<effect::Offer>& after_commit,
                  std::size_t seen_after_commit);  // by one step
  void offered(const effect::Offer& offer);        // to a worker

  // Workers.
  void took(const Fence& fence, std::uint64_t memory_bytes_max);  // of its worker; 0: its pool's
  // A window so small that jobs may find no room to wait for those that compute the same.
  void window_is_small() { has_small_window_ = true; }
  void ran_out_of_memory(const Fence& fence);
  void waits(const Fence& fence) { facts_.at(fence.job).attempts.at(fence).has_waited = true; }
  void is_silent(const Fence& fence) { silent_.insert(fence); }  // gives no sign of life
  // `text`: the result, or the class of the error.
  void finished(const Fence& fence, bool succeeded, bool final, const std::string& text);
  void died(const Fence& fence);  // the worker, in the middle of this attempt

  // The store, and crashes.
  void committed(const Batch& batch);
  // Retention has removed this job: only what has ended, and no earlier than it may.
  void trimmed(JobId job, const TrimQuestion& question);
  void daemon_died();
  void daemon_started(const Snapshot& snapshot);
  void adopted(JobId job) { waiting_forget(job); }

  // Everything came to rest: each job has ended, each caller was answered, and the store tells the same.
  void at_rest(StoreReader& reader) const;
  // Of a store that was asked to remove whatever has ended: nothing is left, and it says so.
  void all_trimmed(StoreReader& reader) const;
  [[nodiscard]] bool is_trimmed(JobId job) const {
    const auto facts = facts_.find(job);
    return facts != facts_.end() && facts->second.is_trimmed;
  }

  [[nodiscard]] std::uint64_t newest_id() const { return newest_id_; }
  [[nodiscard]] std::size_t jobs_committed() const { return committed_jobs_; }
  [[nodiscard]] const std::vector<BatchRow>& batches() const { return batches_; }
  [[nodiscard]] std::size_t attempts_run() const { return attempts_run_; }
  [[nodiscard]] std::size_t unfinished() const { return committed_jobs_ - ended_jobs_; }
  [[nodiscard]] std::string unfinished_sample() const;

 private:
  enum class Run { kTaken, kSucceeded, kFailed, kFailedForGood, kDied };
  struct Attempt {
    Run run = Run::kTaken;
    std::string text;           // its result, or the class of its error
    bool is_on_disk = false;    // what it was charged to
    bool is_forgotten = false;  // it was over, and the daemon died before that was on disk
    std::uint64_t memory = 0;   // that it might have, and whether that was too little
    bool out_of_memory = false;
    bool has_waited = false;  // for other jobs
  };
  struct Told {  // an ending, as committed
    JobState state = JobState::kQueued;
    CauseKind cause = CauseKind::kNone;
    std::uint32_t attempt = 0;
    Epoch epoch;
    std::string result;
    JobId cached_from;
    WallTime finished_at;
  };
  struct Facts {
    std::shared_ptr<const JobSpec> spec;
    std::shared_ptr<const JobSpec> spec_on_disk;  // as committed: a move to another queue changes it
    WallTime since;                               // what it waits since
    bool is_committed = false;
    bool is_acknowledged = false;
    std::uint32_t takes = 0;
    std::uint32_t retries = 0;  // attempts on disk, by what they were charged to
    std::uint32_t crashes = 0;
    std::uint32_t spared = 0;          // attempts charged to nothing
    std::uint32_t born_in = 0;         // life of the daemon
    bool is_stopping = false;          // somebody was told so
    bool must_stop = false;            // and it ran then: it may not come to an end of its own
    std::set<std::uint64_t> memory;    // limits that attempts may have, by what those before them ran into
    std::uint64_t memory_on_disk = 0;  // the least of the next attempt
    std::map<Fence, Attempt> attempts;
    std::map<std::uint32_t, DependencyRow> waits_for;     // what is open, by number
    std::map<std::uint32_t, DependencyRow> dependencies;  // all, as committed
    std::optional<WallTime> delayed_until;                // it waits for that time
    std::optional<WallTime> delayed_on_disk;              // as committed
    std::set<std::uint32_t> groups_held;                  // of dependencies, of which one is enough
    bool was_delayed = false;
    std::optional<Told> end;
    bool is_trimmed = false;
    std::shared_ptr<const CacheKey> cache_key;  // while it has not ended
  };
  using LaneName = std::pair<std::string, std::string>;
  struct AskedSubmit {
    std::uint32_t jobs = 0;
    std::vector<event::SubmitKey> keys;
  };

  void check_keys(const AskedSubmit& asked, const std::vector<JobId>& ids) const;
  void answered(Token token, const char* what);
  void told_stopping(const effect::Cancelled& cancelled);
  void went_on(const AttemptRow& row);
  void check_memory(Facts& facts, const AttemptRow& row) const;
  [[nodiscard]] std::uint64_t more_memory(const Facts& facts, std::uint64_t before) const;
  void ended(Facts& facts, JobId job, const Ending& ending);
  void check_history(JobId job, const JobRecord& record) const;
  void check_cached(JobId job) const;
  void check_end(const Facts& facts, JobId job, const Told& end) const;
  [[nodiscard]] bool ended_in_core(JobId job) const;
  [[nodiscard]] std::optional<JobState> end_in_core(JobId job) const;
  void check_holds(const DependencyRow& row) const;
  [[nodiscard]] bool is_broken(const Dependency& on) const;
  [[nodiscard]] std::uint32_t failures_of_batch(JobId job) const;
  void gathered_dependencies(const Batch& rows);
  void gathered_moves(const Batch& rows);
  void waiting_forget(JobId job);
  [[nodiscard]] static LaneName lane_of(const JobSpec& spec);
  [[nodiscard]] OrderKey key_of(const JobSpec& spec, JobId job) const;

  std::unordered_map<Token, AskedSubmit> open_submits_;
  std::map<std::string, KeyRow> keys_;  // committed
  std::unordered_map<Token, JobId> open_cancels_;
  std::set<Token> open_queues_;
  std::set<std::string> purged_;  // at some time
  std::set<Token> open_registers_;

  std::map<std::string, std::uint64_t> pool_memory_;
  std::unordered_map<JobId, Facts> facts_;
  // Of this life: an id that was not committed when its daemon died is used again.
  std::map<SpecId, std::shared_ptr<const JobSpec>> specs_;
  std::map<std::string, Discipline> queues_;
  std::set<Fence> starts_;  // committed
  std::set<Fence> silent_;
  std::set<JobId> cancels_asked_;  // ever
  std::set<Token> hurried_;        // ever: cancels that wait for no end
  std::vector<BatchRow> batches_;  // committed
  std::uint64_t newest_id_ = 0;
  std::uint32_t life_ = 0;
  std::size_t committed_jobs_ = 0;
  std::size_t ended_jobs_ = 0;
  std::size_t attempts_run_ = 0;

  // Jobs that were not offered in this life of the daemon, in the order in which their lane owes it to them.
  std::map<LaneName, std::map<OrderKey, JobId>> waiting_;
  std::set<JobId> moves_asked_;  // ever, also before there was such a job
  std::set<JobId> aside_;        // of those, that may be out of their order while a move collects them
  std::set<JobId> outcomes_gathered_;
  const Batch* gathering_ = nullptr;
  const Batch* in_flight_ = nullptr;
  std::size_t jobs_seen_ = 0;
  std::size_t outcomes_seen_ = 0;
  std::size_t delayed_seen_ = 0;
  std::size_t released_seen_ = 0;
  std::size_t moved_seen_ = 0;
  std::size_t schedules_seen_ = 0;
  std::size_t dependencies_seen_ = 0;
  std::size_t closed_seen_ = 0;
  std::set<std::string> events_set_;  // at some time
  bool clock_is_steady_ = true;
  std::vector<JobId> cached_ends_;  // of the batch that is being committed
  bool has_small_window_ = false;
  bool was_cleared_ = false;                      // at some time
  std::map<std::string, ScheduleRow> schedules_;  // committed; also what is removed
};

}  // namespace futured::simulation
