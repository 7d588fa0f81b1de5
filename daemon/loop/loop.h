// Loop: the one thread that owns the core. It carries events in and effects out, and lets nothing leave before the
// commit that holds it.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/limits.h"
#include "base/loop_gauge.h"
#include "base/result.h"
#include "daemon/core/scheduler.h"
#include "daemon/loop/event_log.h"
#include "daemon/loop/outputs.h"
#include "daemon/loop/sinks.h"
#include "daemon/loop/spool_sweep.h"
#include "daemon/loop/watchers.h"
#include "daemon/pool/local_pools.h"
#include "daemon/store/store.h"
#include "daemon/store/store_thread.h"

namespace futured {

// Counts since the start. Written by the loop's thread only.
struct LoopFigures {
  static constexpr std::size_t kCommitTimesKept = 1024;

  std::uint64_t turns = 0;
  std::uint64_t commits = 0;
  std::uint64_t commit_jobs = 0;  // row changes in them
  std::uint64_t submitted = 0;
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t timed_out = 0;
  std::uint64_t retries = 0;
  std::uint64_t workers_died = 0;
  std::uint64_t trimmed_jobs = 0;   // by retention
  std::uint64_t trimmed_bytes = 0;  // of their payloads and results
  std::uint64_t trimmed_files = 0;
  std::uint64_t trimmed_specs = 0;
  std::uint64_t trimmed_keys = 0;
  bool trim_failed = false;             // the last step did
  std::uint64_t trimmed_until = 0;      // as the last step had it
  std::uint64_t kept_bytes = 0;         // likewise
  std::vector<std::int64_t> commit_us;  // the last ones, oldest overwritten first

  void add_commit(std::int64_t took_us) {
    if (commit_us.size() < kCommitTimesKept) {
      commit_us.push_back(took_us);
    } else {
      commit_us[commits % kCommitTimesKept] = took_us;
    }
    ++commits;
  }
  [[nodiscard]] std::int64_t last_commit_us() const { return commit_us[(commits - 1) % kCommitTimesKept]; }
};

// Why a submit is refused while Loop::store_is_failing().
[[nodiscard]] Error store_failing_error();

// Whether a caller may hand in the next submit at once.
enum class Intake { kGoOn, kPause };

class Loop {
 public:
  struct Parts {
    std::unique_ptr<Store> store;
    std::unique_ptr<pool::LocalPools> pools;
    SchedulerSetup setup;  // its epoch is filled in by start()
    std::vector<pool::PoolConfig> pool_configs;
    Duration ready_within{0};            // how long to wait for the pools' tasks
    std::string spool_directory;         // where workers leave long output and stacks
    std::vector<SpoolUser> spool_users;  // of each slot, from the first on
    std::function<void(const std::string&)> log;
    // What receivers are to be told now. Each is answered with delivered(), or with a submit that settles it.
    std::function<void(std::vector<effect::Deliver>)> deliver;
    // The descriptors of the segments that an encoded payload names, in its order; still the table's.
    std::function<Result<std::vector<int>>(std::string_view)> segments_of;
    // Of a payload of which segments_of() says kUnavailable: reads what lies in files only, and then gives all its
    // descriptors, from any thread. kResourceExhausted: not now.
    using Descriptors = std::function<void(Result<std::vector<Fd>>)>;
    std::function<void(std::string payload, Descriptors then)> fetch_segments;
    // The job that a running task asks for (base/child.h); whose it is, the loop adds. Any refusal is told the task.
    std::function<Result<event::Submit>(std::string_view)> child;
    // How this user's job ended, for a task that waits for it: base/wait_call.h.
    std::function<Result<std::string>(StoreReader&, JobId, Principal)> outcome_of;
    // Asks the store's reader, on its own thread. False: it has no room for the question now.
    std::function<bool(std::function<void(StoreReader&)>)> ask_reader;
    RetentionPolicy retention;
    // These jobs are not stored any more.
    std::function<void(const std::vector<JobId>&)> trimmed = [](const std::vector<JobId>&) {};
    // What lies in the spool directory.
    std::function<SpoolFigures()> spool = [] { return SpoolFigures{}; };
    // There is a new spawner, which knows nothing of ours.
    std::function<void()> reattached;
    // A result's segments become the table's; gives back the result with their ids in it.
    std::function<Result<std::string>(JobId, std::string_view, std::span<Fd>)> keep_segments;
  };

  explicit Loop(Parts parts);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Loads, commits the next epoch, attaches to the spawner, adopts what runs. Blocking; before run().
  [[nodiscard]] Status start();
  // Runs turns until stop(). On a fault that only a restart can mend (a failed fsync) it returns that.
  [[nodiscard]] Status run();

  // ---- From any thread. Replies come on the loop's thread, after the commit that they speak of. ----

  // `sink`, when given, is told the end of each job of the batch.
  Intake submit(event::Submit submit, std::shared_ptr<OutcomeSink> sink, SubmitReply reply);
  // Submits that wait are over their bound: unary ones are refused then.
  [[nodiscard]] bool is_full() const {
    return waiting_jobs_.load(std::memory_order_relaxed) > limits::kSubmitLaneJobsMax;
  }
  // Commits fail for now (a full disk): what is running goes on, nothing new is accepted.
  [[nodiscard]] bool store_is_failing() const { return store_failing_.load(std::memory_order_relaxed); }
  void cancel(event::Cancel cancel, CancelReply reply);
  void put_queue(event::PutQueue put, QueueReply reply);
  // Answered with the schedule as it is on disk.
  void put_schedule(event::PutSchedule put, ScheduleReply reply);
  void change_schedule(event::ChangeSchedule change, ScheduleReply reply);
  void purge_queue(event::PurgeQueue purge, PurgeReply reply);
  void move_jobs(event::MoveJobs move, MoveReply reply);
  void delete_queue(event::DeleteQueue asked, DeleteReply reply);
  // Submits wait for room in it: who hands in another one that may wait had better wait for its answer first.
  [[nodiscard]] bool is_full(const std::string& queue) const;
  void put_semaphore(event::PutSemaphore put, SemaphoreReply reply);
  void drop_semaphore(event::DropSemaphore drop, SemaphoreReply reply);
  // Answered when they are off the disk.
  void clear_cache(event::ClearCache clear, ClearReply reply);
  void put_event(event::PutEvent put, EventReply reply);
  // Loads the pool's plugins anew. Answered when its next workers will have them, or why they will not.
  using ReloadReply = std::function<void(const Status&)>;
  void reload_pool(std::string pool, ReloadReply reply);
  void register_callback(event::Register asked, RegisterReply reply);
  void replay_callbacks(event::Replay replay, ReplayReply reply);
  void delivered(event::Delivered delivered);
  // `ready` is called when the watch is in place: what ends later is told to `sink`, what ended before is on disk.
  void watch(std::vector<JobRange> ranges, std::shared_ptr<OutcomeSink> sink, std::function<void()> ready);
  // Jobs that none of whose ends was told yet, and no sink has as its batch: those of a batch of an earlier daemon.
  void watch_batch(JobRange jobs, std::shared_ptr<OutcomeSink> sink);
  void forget(std::vector<JobRange> ranges, std::shared_ptr<OutcomeSink> sink);
  void forget_batches(std::shared_ptr<OutcomeSink> sink);
  // Tells `listener` of changes of state from now on, as long as it lives; `ready` is called when that is so.
  void listen(std::shared_ptr<EventListener> listener, std::function<void()> ready);
  [[nodiscard]] const EventLog& events() const { return events_; }
  void follow(JobId job, std::shared_ptr<OutputSink> sink);
  void unfollow(JobId job, std::shared_ptr<OutputSink> sink);
  // Called at the end of each turn, until run() has returned: what callers were told in it may go out now. `at_rest`:
  // the loop has nothing to do.
  void at_turn_end(std::function<void(bool at_rest)> what);
  // Of this loop and of its store's thread; once start() has returned. A turn of this loop lags from the first post or
  // submit since the one before, or from the timer that it was due for; workers do not tell since when a report is
  // there.
  [[nodiscard]] std::vector<std::shared_ptr<const LoopGauge>> gauges() const { return {gauge_, store_gauge_}; }
  // Of async workers.
  [[nodiscard]] std::shared_ptr<const pool::WorkerLoops> worker_loops() const { return parts_.pools->worker_loops(); }
  // Runs `look` between two turns.
  void look(std::function<void(const Loop&)> look);
  // Ends run() once what is gathered is committed; a store that cannot commit is waited for 2 s, for nothing of that
  // was acknowledged. Running jobs are left to the next daemon, unless the spawner is stopped with it.
  enum class Spawner { kLeave, kStop, kStopIfIdle };
  void stop(Spawner spawner);

  // Fixed once start() has returned.
  [[nodiscard]] Epoch epoch() const { return parts_.setup.epoch; }
  [[nodiscard]] const std::vector<pool::PoolConfig>& pool_configs() const { return parts_.pool_configs; }

  // Who writes the spool files of a slot's attempts.
  [[nodiscard]] const RetentionPolicy& retention() const { return parts_.retention; }
  [[nodiscard]] SpoolFigures spool() const { return parts_.spool(); }
  [[nodiscard]] SpoolUser spool_user(SlotId slot) const {
    const bool is_known = slot.value >= 1 && slot.value <= parts_.spool_users.size();
    return is_known ? parts_.spool_users[slot.value - 1] : std::nullopt;
  }

  // ---- Inside look() ----
  [[nodiscard]] const Scheduler& scheduler() const { return *scheduler_; }
  [[nodiscard]] const pool::LocalPools& pools() const { return *parts_.pools; }
  [[nodiscard]] const LoopFigures& figures() const { return figures_; }
  [[nodiscard]] const std::map<std::string, std::string>& pool_problems() const { return pool_problems_; }
  [[nodiscard]] std::size_t watches() const { return watchers_.size(); }
  [[nodiscard]] JobProgress progress_of(JobId job) const { return outputs_.progress_of(job); }

 private:
  struct WaitingSubmit {
    event::Submit submit;
    std::shared_ptr<OutcomeSink> sink;
    SubmitReply reply;
  };
  struct OwedSubmit {
    std::shared_ptr<OutcomeSink> sink;
    SubmitReply reply;
  };
  // What a commit in flight lets out when it is done.
  struct Deferred {
    std::vector<effect::Registered> registered;
    std::vector<effect::Replayed> replayed;
    std::vector<effect::Deliver> deliveries;
    std::vector<effect::Accepted> accepted;
    std::vector<effect::Cancelled> cancelled;
    std::vector<effect::QueuePut> queues_put;
    std::vector<effect::ScheduleChanged> schedules_changed;
    std::vector<effect::QueuePurged> queues_purged;
    std::vector<effect::Moved> moved;
    std::vector<effect::QueueDeleted> queues_deleted;
    std::vector<effect::SemaphorePut> semaphores_put;
    std::vector<effect::CacheCleared> caches_cleared;
    std::vector<effect::EventPut> events_put;
    std::vector<effect::Offer> offers;
    std::vector<effect::Change> changes;
    std::vector<effect::WaitTold> waits_told;
    std::vector<pool::SlotCursor> cursors;
    Instant sent;
  };
  class PoolEvents;

  // start.cc
  [[nodiscard]] Status open_pools(Epoch epoch);
  [[nodiscard]] Status wait_for_pools();
  void name_descriptors();
  void set_up_slots(const std::vector<pool::RecoveredRun>& recovered, Moment now);
  void reattach(Moment now);
  [[nodiscard]] Result<LoadAnswer> load_recovered(const std::vector<pool::RecoveredRun>& recovered);

  // loop.cc
  void turn();
  void sleep();
  [[nodiscard]] bool naps();
  [[nodiscard]] std::uint32_t armed_timers() const;
  void wake();
  void post(std::function<void()> what);
  void take_control();
  [[nodiscard]] bool takes_submits() const;
  [[nodiscard]] bool is_at_rest() const;
  [[nodiscard]] bool is_over() const;
  void take_submits(Moment now);
  void carry_out(Moment now);
  void answer(const effect::Refused& refused);
  void tell_full_queues();
  void make_offer(const effect::Offer& offer, Moment now);
  void offer_with(const effect::Offer& offer, const Result<std::vector<int>>& descriptors, Moment now);
  // fetched_offers.cc
  [[nodiscard]] bool waits_behind_fetched(const effect::Offer& offer);
  [[nodiscard]] bool is_fetching_for(SlotId slot) const;
  void fetch_for(const effect::Offer& offer);
  void fetch_next();
  void fetched(const Fence& fence, Result<std::vector<Fd>> descriptors);
  [[nodiscard]] bool revoke_offer(const effect::OfSlot& revoke);
  [[nodiscard]] Event inspect(SlotId slot);
  [[nodiscard]] event::Taken taken_by(SlotId slot, const std::vector<channel::Head>& runs) const;
  [[nodiscard]] static Moment now() { return {monotonic_now(), wall_now()}; }
  void step(const Event& event, Moment now) { scheduler_->step(event, now, effects_); }

  // commit.cc
  [[nodiscard]] bool has_batch() const;
  [[nodiscard]] bool holds_back(Moment now);
  void send_batch(Moment now);
  [[nodiscard]] bool commit_here(std::unique_ptr<Batch>& batch);
  void committed(StoreAnswer answer);
  void take_answers(StoreAnswer answer, Moment now);
  void take_trimmed(const Result<TrimAnswer>& trimmed, Moment now);
  void commit_failed(StoreAnswer answer);
  void refuse_waiting();
  void let_out(const std::shared_ptr<const Batch>& batch, Deferred deferred, Moment now);
  void count(const Batch& batch);

  Parts parts_;
  std::unique_ptr<PoolEvents> pool_events_;
  std::unique_ptr<Scheduler> scheduler_;
  Effects effects_;
  std::function<void(bool)> turn_end_ = [](bool) {};
  Watchers watchers_;
  Outputs outputs_;
  EventLog events_{limits::kEventsKeptMax, limits::kEventsBytesMax};
  LoopFigures figures_;
  std::map<std::string, std::string> pool_problems_;  // by pool: why it cannot run jobs now

  bool in_flight_ = false;
  Deferred deferred_;                    // of the commit in flight, or of the one that is tried again
  std::optional<StoreAnswer> retrying_;  // a batch that was rolled back, with its questions
  Instant retry_at_ = Instant::never();
  Instant trim_at_;                         // when the next step of retention is due
  Instant reattach_at_ = Instant::never();  // the spawner is gone
  bool fetched_back_ = false;               // an offer was revoked in this turn
  bool reported_ = false;                   // a job was done since the loop slept
  Instant nap_until_;                       // reports wait so long
  Instant hold_until_;                      // 0: nothing is held back
  std::optional<Error> fatal_;
  bool stopping_ = false;
  Instant stop_by_ = Instant::never();  // stopping_: whether or not the store can commit
  bool stop_spawner_ = false;

  // Offers that wait for segments to be read from their files, and those of the same slots that came behind them: a
  // slot's offers stay in their order.
  struct FetchedOffer {
    effect::Offer offer;
    bool is_fetching = false;
    bool has_waited = false;                             // for memory
    std::optional<Result<std::vector<Fd>>> descriptors;  // it came
  };
  std::deque<FetchedOffer> fetched_offers_;
  Instant fetch_at_ = Instant::never();  // there was no memory for one

  std::unordered_map<Token, OwedSubmit> owed_submits_;
  std::unordered_map<Token, CancelReply> owed_cancels_;
  std::unordered_map<Token, QueueReply> owed_queues_;
  std::unordered_map<Token, ScheduleReply> owed_schedules_;
  std::unordered_map<Token, PurgeReply> owed_purges_;
  std::unordered_map<Token, MoveReply> owed_moves_;
  std::unordered_map<Token, DeleteReply> owed_deletes_;
  std::unordered_map<Token, SemaphoreReply> owed_semaphores_;
  std::unordered_map<Token, ClearReply> owed_clears_;
  std::unordered_map<Token, EventReply> owed_events_;
  std::unordered_map<Token, RegisterReply> owed_registers_;
  std::unordered_map<Token, ReplayReply> owed_replays_;
  std::map<std::string, ReloadReply> owed_reloads_;  // by pool
  Token next_token_ = 1;

  Fd wake_fd_;
  Fd epoll_fd_;
  std::atomic<bool> sleeping_{false};
  std::atomic<bool> store_failing_{false};
  std::mutex lanes_mutex_;  // guards the lanes, `lanes_since_` and `paused_`
  std::vector<std::function<void()>> control_lane_;
  std::deque<WaitingSubmit> submit_lane_;
  Instant lanes_since_;  // the first of what came into them since the last turn; 0: nothing
  std::vector<std::weak_ptr<OutcomeSink>> paused_;
  std::atomic<std::size_t> waiting_jobs_{0};
  std::atomic<bool> has_full_queues_{false};
  mutable std::mutex full_queues_mutex_;
  std::vector<std::string> full_queues_;  // as of the last turn; guarded by that

  const std::shared_ptr<LoopGauge> gauge_ = std::make_shared<LoopGauge>("core");
  std::shared_ptr<const LoopGauge> store_gauge_;  // of a thread that ends before calls do
  Instant last_turn_;

  std::unique_ptr<StoreThread> store_thread_;  // last: its thread ends first
};

}  // namespace futured
