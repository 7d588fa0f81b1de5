// Scheduler: the only place that decides anything. Pure: events and the time come in, effects go out, nothing waits.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/result.h"
#include "daemon/core/backoff.h"
#include "daemon/core/deliveries.h"
#include "daemon/core/dependencies.h"
#include "daemon/core/effects.h"
#include "daemon/core/event.h"
#include "daemon/core/house.h"
#include "daemon/core/job.h"
#include "daemon/core/result_cache.h"

namespace futured {

struct PoolSetup {
  std::string name;
  bool commands = false;
  std::uint32_t slots = 1;                 // with all the workers that it may have
  std::vector<std::string> tasks;          // as far as they are known; event::PoolReady replaces them
  std::uint32_t workers_min = UINT32_MAX;  // it keeps so many, or all; the others come under load and go when idle
  std::uint32_t slots_per_worker = 1;      // consecutive slots; divides `slots`
  std::uint32_t runs_per_slot = 1;         // jobs at once
  Duration idle{0};                        // a worker beyond those that are kept goes after so long without a job
  std::uint64_t memory_bytes_max = 0;      // of a worker with all that it starts; 0: no limit
  std::uint32_t spare_slots = 0;           // beyond those, for workers in the place of those whose jobs wait for others
  std::vector<std::string> versions = {};  // of the tasks, in their order; empty: they tell none
};

struct QueueSetup {
  std::string name;
  Discipline discipline = Discipline::kFifo;
};

struct SchedulerSetup {
  Epoch epoch;                  // of this daemon
  std::uint64_t seed = 1;       // of the jitter
  std::uint32_t admin_uid = 0;  // besides root, may do anything
  std::vector<PoolSetup> pools;
  std::vector<QueueSetup> queues;                                 // created when missing; "default" always exists
  std::size_t window_bytes = 0;                                   // 0: limits::kWindowBytesMax
  std::map<std::string, std::shared_ptr<const Zone>> zones = {};  // of the snapshot's schedules
  CacheBounds cache = {};
};

// A stop that is under way: the attempt runs, and is to end.
struct LiveStop {
  Doom why = Doom::kNone;  // none: nobody asked it to stop
  Instant since;
  Instant kill_at;         // by then nothing of it is left, or it is killed
  bool is_killed = false;  // what is left of it is being ended
  std::string reason;      // of a cancel, as its caller said
};

// What a reader is told of a job that is resident.
struct LiveJob {
  JobId id;
  JobState state = JobState::kQueued;
  Instant taken_at;
  std::uint32_t attempt = 0;
  Epoch epoch;  // in which that attempt was offered
  SlotId slot;
  std::int32_t worker_pid = 0;
  std::uint64_t memory_bytes_max = 0;  // of that worker; 0: no limit
  LiveStop stop;                       // kRunning
  std::vector<JobId> waits_for;        // kRunning: by its task, ascending; the first limits::kWaitsShownMax
};

// For whom a running job submits jobs, and where they stand.
struct ChildTerms {
  Principal who;
  Lineage lineage;
};

struct ScheduleView {
  ScheduleRow row;
  JobSpec spec;
  std::optional<WallTime> next;  // empty: it is paused, or fires no more
};

struct LaneFigures {
  std::string queue;
  std::string pool;
  Discipline discipline = Discipline::kFifo;
  bool paused = false;
  std::uint64_t queued = 0;  // ready or in the backlog
  std::uint64_t delayed = 0;
  std::uint64_t running = 0;  // offered or taken
  std::uint64_t blocked = 0;
};

// Of one queue, all its lanes together.
struct QueueFigures {
  QueueRow row;
  std::uint64_t queued = 0;
  std::uint64_t delayed = 0;
  std::uint64_t running = 0;
  std::uint64_t blocked = 0;
  std::uint64_t bytes = 0;      // payloads of its unfinished jobs
  std::uint64_t succeeded = 0;  // since the daemon's start, as the three below
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t timed_out = 0;
  double starts_per_second = 0;  // over the last 10 s
  Duration wait_p50{0};          // from the submit to the first start, of the last ones
  Duration wait_p99{0};
};

struct SemaphoreFigures {
  std::string name;
  std::uint32_t permits = 0;
  std::uint64_t held = 0;          // by attempts; more than `permits` after it shrank
  std::uint64_t waiting_jobs = 0;  // that were next, and found too few
};

// A named event that is set, or that jobs wait for.
struct NamedEventFigures {
  std::string name;
  bool is_set = false;
  WallTime changed_at;  // 0: never, as far as this daemon knows
  std::uint64_t waiting_jobs = 0;
};

// Of a job that waits, among those of its queue that go to the same pool.
struct QueuePlace {
  std::uint64_t position = 0;  // 1: it is next; 0: it does not wait
  bool is_estimated = false;
};

struct SlotFigures {
  SlotId slot;
  std::string pool;
  bool ready = false;
  std::uint32_t offers = 0;
  std::optional<LiveJob> job;  // the first of its offers
  Duration mean{0};
  std::int32_t worker_pid = 0;  // ready: that of its worker, which may have several slots
  std::vector<JobId> running;   // oldest first
  std::uint32_t runs_max = 1;   // jobs at once
  SlotId first_of_worker;       // of the slots of the same worker
  bool is_listed = true;        // else no worker has it, nor is to have it just now
};

// One thread. Deterministic: the same setup, snapshot and events give the same effects.
class Scheduler {
 public:
  // Takes up the jobs of `snapshot`; the changes that this takes are in `effects`. A name of a pool or queue that is
  // new gets a row. `live` are the jobs of all fences found in the channels: they stay resident, so that event::Adopt
  // can name them in the first turn. Those that it does not name, or cannot have, then go where they belong.
  Scheduler(const SchedulerSetup& setup, Snapshot snapshot, LoadAnswer live, Moment now, Effects& effects);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  void step(const Event& event, Moment now, Effects& effects);

  // Gives back the ids that were reserved and not used: for a clean stop. A submit whose keys are just being looked up
  // reserves anew.
  void return_ids(Effects& effects) { ids_until_ = effects.rows.ids_reserved_until = next_id_; }

  // When event::TimerDue is wanted.
  [[nodiscard]] Instant next_timer() const { return std::min(timers_.next(), deliveries_.next_timer()); }

  // Slots of this setup, in order: SlotId 1, 2, …, first those of the first pool; the spare ones of all pools follow.
  [[nodiscard]] PoolId pool_of(SlotId slot) const;
  [[nodiscard]] PoolId pool_named(const std::string& name) const;  // unset: none
  [[nodiscard]] const std::string& pool_name(PoolId pool) const;
  [[nodiscard]] bool has_queue(const std::string& name) const { return queue_by_name_.contains(name); }
  [[nodiscard]] std::uint32_t slot_count() const { return static_cast<std::uint32_t>(slots_.size()); }
  // Its worker runs many jobs at once: an inspect of it is answered with event::Taken.
  [[nodiscard]] bool runs_many(SlotId slot) const { return slots_[slot.value - 1]->pool->runs_many(); }
  // The slot is to have a worker now.
  [[nodiscard]] bool is_wanted(SlotId slot) const { return slots_[slot.value - 1]->wanted; }

  // The attempt is in that slot's hands. What is reported of any other is late, doubled or a lie, and changes nothing.
  [[nodiscard]] bool has(SlotId slot, const Fence& fence) const;
  // A run of no job that the store knows, which was asked to stop: its event::Done only says that it is gone.
  [[nodiscard]] bool has_stray(SlotId slot, const Fence& fence) const;
  // The offer still stands. One that waited for its commit must be asked for before it leaves: its slot may have lost
  // its worker meanwhile, and the job gone elsewhere.
  [[nodiscard]] bool stands(const effect::Offer& offer) const { return has(offer.slot, offer.fence); }
  // The state of a job that is resident; empty: ask the store.
  [[nodiscard]] std::optional<LiveJob> live(JobId job) const;
  // Of the jobs that this run submits. Refused: its attempt is over, or they would be too deep.
  [[nodiscard]] Result<ChildTerms> child_terms(const Fence& caller) const;
  // Whose run this is. Refused: it is over.
  [[nodiscard]] Result<Principal> caller(const Fence& fence) const;
  // Known to be running now, ascending ids.
  [[nodiscard]] std::vector<LiveJob> running() const;
  [[nodiscard]] std::vector<LaneFigures> lanes() const;
  // Empty: there is none of that name.
  [[nodiscard]] std::optional<QueueFigures> queue(const std::string& name, Instant now) const;
  // At most so many whose names come after `after`, by name.
  [[nodiscard]] std::vector<QueueFigures> queues(const std::string& after, std::size_t most, Instant now) const;
  // Those in which submits wait for room.
  [[nodiscard]] std::vector<std::string> full_queues() const;
  [[nodiscard]] std::vector<SlotFigures> slots() const;
  // Of a job that has not ended; `spec` is its own. Counted where that costs little; far from both ends of what is
  // resident, and in the backlog, estimated from its number.
  [[nodiscard]] QueuePlace place_of(JobId id, const JobSpec& spec, PoolId pool) const;
  [[nodiscard]] std::vector<ScheduleView> schedules() const;  // by name
  [[nodiscard]] std::optional<ScheduleView> schedule(const std::string& name) const;
  // When it fires next, jitter included; of one that is paused, as if it were resumed now.
  [[nodiscard]] Result<std::vector<WallTime>> next_firings(const std::string& name, std::size_t count,
                                                           WallTime now) const;
  [[nodiscard]] std::vector<SemaphoreFigures> semaphores() const;  // ascending names
  [[nodiscard]] std::vector<NamedEventFigures> named_events() const { return dependencies_.named_events(); }
  [[nodiscard]] const Dependencies& dependencies() const { return dependencies_; }
  // What limit keeps a job with this spec from starting now, and what frees it; empty: none.
  [[nodiscard]] std::string limited_by(const JobSpec& spec, Instant now) const;
  [[nodiscard]] const ResultCache& cache() const { return cache_; }
  // What a job that waits for the outcome of another waits for; empty: it does not.
  [[nodiscard]] std::string awaits(JobId job) const;
  [[nodiscard]] std::size_t resident_jobs() const { return jobs_.size(); }
  [[nodiscard]] std::uint64_t backlog_jobs() const;  // not resident
  [[nodiscard]] std::uint64_t delayed_jobs() const;  // likewise: their time has not come
  // Submitted with a key, or behind a job that is not resident, and not accepted or refused yet.
  [[nodiscard]] std::size_t keyed_jobs() const { return keyed_.jobs + parents_asked_.jobs; }
  [[nodiscard]] std::size_t window_bytes() const { return window_bytes_; }
  // A few jobs are resident, all of them in workers' hands, and all may be done within `time`.
  [[nodiscard]] bool is_nearly_done(Duration time) const;
  // How long every worker has something to do, and more waits behind that: so long nobody misses a report. Zero while
  // any pool is at its last jobs.
  [[nodiscard]] Duration slack() const;
  // No job is offered or taken, and none waits in any lane or timer.
  [[nodiscard]] bool idle() const;
  // A delayed job or a schedule waits for its time.
  [[nodiscard]] bool waits_for_time() const { return delayed_.claiming || delayed_.next || !schedule_due_.empty(); }
  // A callback is due, now or later.
  [[nodiscard]] bool owes_callbacks() const { return !deliveries_.idle(); }

  // Checks every invariant; aborts on a broken one. Costs a walk over all that is resident.
  void audit() const;

 private:
  // setup.cc
  void set_up_queues(const Snapshot& snapshot, Moment now, Effects& effects);
  void set_up_pools(const Snapshot& snapshot, Effects& effects);
  void set_up_cancels(const Snapshot& snapshot);
  void load_cancelled(Effects& effects);
  QueueState& add_queue(QueueRow row, bool is_restart, Instant now);
  PoolState& add_pool(PoolRow row);

  // submit.cc
  void on(const event::Submit& submit, Moment now, Effects& effects);
  [[nodiscard]] JobId add_jobs(const event::Submit& submit, const std::vector<std::uint32_t>& items, SpecState& spec,
                               Moment now, Effects& effects);
  [[nodiscard]] static Status check_priority(const QueueRow& queue, std::int32_t priority);
  [[nodiscard]] Result<SpecState*> intern(const JobSpec& spec, Effects& effects);
  [[nodiscard]] Result<PoolState*> pool_for(const JobSpec& spec) const;
  [[nodiscard]] PoolState* pool_named_state(const std::string& name) const;
  SpecState& know_spec(const SpecRow& row);
  // Those of a store's answer. One whose queue is gone is passed over: the loop sees to it that only ended jobs name
  // it.
  void know_specs(const std::vector<SpecRow>& rows);
  void resolve_task(SpecState& spec) const;
  void forget_unused_specs();
  [[nodiscard]] JobId take_ids(std::uint64_t count, Effects& effects);
  Job& add_job(JobId id, SpecState& spec, Lane& lane, SharedBytes payload);
  // A stored, unfinished job becomes resident and goes where it belongs: ready, delayed, or to its end.
  void take_up(const StoredJob& stored, Lane& lane, Moment now, Effects& effects);
  Job& take_up_held(const StoredJob& stored, Lane& lane);
  void place(Job& job, const StoredJob& stored, Moment now, Effects& effects);
  void release_held(Moment now, Effects& effects);
  void arm_submit_timers(Job& job, Moment now);

  // queue_defaults.cc
  [[nodiscard]] static Result<JobSpec> settle(JobSpec spec, const QueueRow& queue);

  // queues.cc
  [[nodiscard]] Result<QueueState*> queue_named(const std::string& name) const;
  void on(const event::PutQueue& put, Moment now, Effects& effects);
  void create_queue(const event::PutQueue& put, Moment now, Effects& effects);
  [[nodiscard]] static Status check_same(const QueueRow& row, const event::PutQueue& put);
  [[nodiscard]] Status check_pools(const event::PutQueue& put) const;
  void change_queue(QueueState& queue, const QueueRow& wanted, Moment now, Effects& effects);
  void wake_lanes(QueueState& queue, Effects& effects);
  [[nodiscard]] Status check_deletable(const QueueState& queue) const;
  void on(const event::DeleteQueue& asked, Moment now, Effects& effects);

  // room.cc
  // False: the submit was refused, or waits.
  [[nodiscard]] bool has_room(const event::Submit& submit, QueueState& queue, std::uint64_t jobs, std::uint64_t bytes,
                              Effects& effects);
  void let_in_held(Moment now, Effects& effects);
  static void note_bytes(QueueState& queue, Effects& effects);
  static void count_added(QueueState& queue, std::uint64_t jobs, std::uint64_t bytes, Effects& effects);
  static void count_ended(const Job& job, JobState state, Effects& effects);
  static void count_start(const Job& job, Instant started, Moment now);

  // queue_figures.cc
  void add_lanes(const std::map<const QueueState*, QueueFigures*>& wanted) const;

  // purge.cc
  void on(const event::PurgeQueue& asked, Moment now, Effects& effects);
  void purge_step(QueueId id, Moment now, Effects& effects);
  void purge_one(Job& job, Moment now, Effects& effects);
  [[nodiscard]] std::size_t cancel_ready(const QueueState& queue, std::size_t most, Moment now, Effects& effects);
  [[nodiscard]] std::size_t cancel_delayed(const QueueState& queue, std::size_t most, Moment now, Effects& effects);
  [[nodiscard]] bool has_queued(const QueueState& queue) const;

  // keys.cc
  void ask_for_keys(Effects& effects);
  void on(const event::KeysFound& found, Moment now, Effects& effects);
  using KnownKeys = std::map<KeyQuery, KeyRow>;
  void accept_keyed(const event::Submit& submit, KnownKeys& known, Moment now, Effects& effects);

  // registering.cc
  // `field` names the callback at an index of `encoded`.
  [[nodiscard]] Status check_callbacks(const std::string& encoded,
                                       const std::function<std::string(std::size_t)>& field) const;
  [[nodiscard]] Status check_submit(const event::Submit& submit, const SpecState& spec, Moment now) const;
  void on(const event::Register& asked, Moment now, Effects& effects);
  void on(const event::BatchRead& read, Moment now, Effects& effects) {
    if (Dependencies::is_about_parents(read.answer.query)) return parents_read(read.answer, now, effects);
    if (Dependencies::is_about_batches(read.answer.query)) return batch_counted(read.answer, now, effects);
    deliveries_.on(read, setup_.admin_uid, now, effects);
  }
  void on(const event::Replay& replay, Moment now, Effects& effects) { deliveries_.on(replay, now, effects); }
  void on(const event::Delivered& delivered, Moment now, Effects& effects) { deliveries_.on(delivered, now, effects); }
  void on(const event::DeliveriesClaimed& claimed, Moment now, Effects& effects) {
    deliveries_.on(claimed, now, effects);
  }
  void add_callback(const event::Register& asked, JobState state, std::uint32_t owner, Moment now, Effects& effects);

  // window.cc
  Lane& lane_of(QueueState& queue, PoolState& pool);
  [[nodiscard]] bool goes_to_backlog(const Lane& lane, OrderKey key, std::size_t cost) const;
  void spill(Lane& lane, OrderKey key, bool has_row, Effects& effects);
  void spill_excess(Lane& lane, Moment now, Effects& effects);
  void make_ready(Job& job);
  void unready(Job& job);
  void refill(Lane& lane, Effects& effects);
  void on(const event::Claimed& claimed, Moment now, Effects& effects);
  void leave_backlog(Job& job, Effects& effects);

  // delayed.cc
  [[nodiscard]] static WallTime start_of(const event::Submit& submit, Moment now);
  [[nodiscard]] static Status check_start(const event::Submit& submit, const JobSpec& spec, Moment now);
  void delay(const event::Submit& submit, const std::vector<std::uint32_t>& items, SpecState& spec, JobId first,
             Moment now, Effects& effects);
  void note_delayed(WallTime at, Moment now);
  void arm_delayed(Moment now);
  void claim_delayed(Moment now, Effects& effects);
  void on(const event::DelayedClaimed& claimed, Moment now, Effects& effects);
  void take_up_due(const StoredJob& stored, Moment now, Effects& effects);
  void leave_delayed(Job& job, Effects& effects);
  void leave_delayed(WallTime at, JobId job, Lane& lane, Effects& effects);

  // dependencies.cc
  void ask_for_parents(const event::Submit& submit, Moment now, Effects& effects);
  void parents_read(const BatchAnswer& answer, Moment now, Effects& effects);
  [[nodiscard]] static Status check_parents(const event::Submit& submit);
  void batch_counted(const BatchAnswer& answer, Moment now, Effects& effects);
  [[nodiscard]] Status check_dependencies(const event::Submit& submit) const;
  void block(const event::Submit& submit, const std::vector<std::uint32_t>& items, SpecState& spec, JobId first,
             Moment now, Effects& effects);
  void add_dependencies(const event::Submit& submit, const std::vector<std::uint32_t>& items, JobId first, Moment now,
                        Effects& effects);
  [[nodiscard]] std::pair<DependencyState, std::string> judge(const Dependency& on, bool is_of_request,
                                                              const event::Submit& submit) const;
  void take_up_blocked(const StoredJob& stored, Lane& lane, Moment now);
  void mark_blocked(Job& job);
  void leave_blocked(Job& job, Effects& effects);
  void unblock(Job& job, Moment now, Effects& effects);
  void fail_blocked(Job& job, const std::string& why, Moment now, Effects& effects);
  void settle_dependents(Moment now, Effects& effects);
  void settle_dependency(DependencyKey key, bool does_hold, const std::function<std::string()>& why, Moment now,
                         Effects& effects);
  void settle_batch(JobId first, Moment now, Effects& effects);
  // taken_results.cc: jobs whose payloads name results of others
  void want_results(Job& job, Effects& effects);
  void ask_for_results(Effects& effects);
  void take_results(const StoredJob& found, Moment now, Effects& effects);
  void let_run(Job& job, Moment now, Effects& effects);
  // max_failures.cc
  void stop_batches(Moment now, Effects& effects);
  void ask_for_stopped(Effects& effects);
  void cancel_unbegun(Job& job, Moment now, Effects& effects);
  void sweep_stopped(Moment now, Effects& effects);
  void on(const event::PutEvent& put, Moment now, Effects& effects);
  void audit_dependencies() const;

  // schedules.cc
  void set_up_schedules(const Snapshot& snapshot, Moment now);
  [[nodiscard]] bool may_change(const ScheduleRow& row, Principal who) const;
  void on(const event::PutSchedule& put, Moment now, Effects& effects);
  void on(const event::ChangeSchedule& change, Moment now, Effects& effects);
  void plan(ScheduleState& schedule, Moment now);
  void arm_schedules(Moment now);
  void fire_schedules(Moment now, Effects& effects);
  void make_waiting(Moment now, Effects& effects);
  void make_due(Moment now, Effects& effects);
  void catch_up(ScheduleState& schedule, Moment now, Effects& effects);
  void decide(ScheduleState& schedule, WallTime firing, Moment now, Effects& effects);
  void cancel_last(const ScheduleState& schedule, Moment now, Effects& effects);
  void make_firing(ScheduleState& schedule, WallTime firing, Moment now, Effects& effects);
  void schedule_job_ended(JobId job);

  // deadlines.cc
  void note_deadline(const JobSpec& spec, std::uint32_t attempts, WallTime submitted_at, WallTime waits_since,
                     JobId first, std::uint32_t count, Moment now, Effects& effects);
  void note_deadline(const Job& job, Moment now, Effects& effects);
  [[nodiscard]] bool join_last_deadline(WallTime at, JobId first, std::uint32_t count, Effects& effects);
  void arm_deadlines(Moment now);
  void load_due(Moment now, Effects& effects);
  [[nodiscard]] bool take_due(Moment now);
  void due_loaded(const event::Loaded& loaded, Moment now, Effects& effects);
  void back_to_backlog(Job& job, Moment now, Effects& effects);

  // dispatch.cc
  void on(const event::TurnEnd&, Moment now, Effects& effects);
  void retire_workers(PoolState& pool, Effects& effects);
  void replace_retired(PoolState& pool, Effects& effects);
  void dispatch(PoolState& pool, Moment now, Effects& effects);
  [[nodiscard]] static bool must_be_alone(const Job& job);
  static void end_idle_reservation(PoolState& pool);
  static void pass_turn(PoolState& pool);
  void fetch_back_offers(const QueueState& queue, Effects& effects);
  [[nodiscard]] Lane* next_lane(PoolState& pool, Moment now, Effects& effects);
  void start(Slot& slot, Job& job, Moment now, Effects& effects);
  void offer(Slot& slot, Job& job, Moment now, Effects& effects);
  void list_if_runnable(Lane& lane);
  void withdraw(Job& job);   // from its slot's offers
  void take_back(Job& job);  // the same, of an offer that was never taken
  void requeue(Job& job);    // an offer that was never taken
  void on(const event::PoolReady& ready, Moment now, Effects& effects);
  void on(const event::SlotReady& ready, Moment now, Effects& effects);
  void on(const event::Revoked& revoked, Moment now, Effects& effects);
  void on(const event::OfferRefused& refused, Moment now, Effects& effects);
  void mark_taken(Job& job, Instant taken_at, Moment now, Effects& effects);
  void spare(Job& job);  // from its queue_timeout

  // adoption.cc
  void on(const event::Adopt& adopt, Moment now, Effects& effects);
  void turn_out(Slot& slot, const Fence& fence, bool is_known, Moment now, Effects& effects);
  static void kill_strays(Slot& slot, Effects& effects);
  // groups.cc
  [[nodiscard]] static bool wants_groups(const Lane& lane);
  void regroup(Lane& lane);
  [[nodiscard]] Group& group_of(Job& job);
  void sweep_groups(Lane& lane);
  void drop_empty_groups(Lane& lane);
  void join_group(Job& job);
  void leave_group(Job& job);
  static void open_group(Group& group);
  static void close_group(Group& group);
  static void count_start(Group& group);

  // limiting.cc
  void set_limits(QueueState& queue, bool is_restart, Instant now);
  void forget_limits(QueueState& queue);
  void count_running(QueueState& queue, Instant now);
  [[nodiscard]] KeyLimits* key_limits(QueueState& queue, const std::string& name, Instant now);
  static void sweep_keys(QueueLimits& limits, Instant now);
  [[nodiscard]] Semaphore& semaphore_named(const std::string& name);
  [[nodiscard]] bool can_start(Lane& lane, Moment now);
  [[nodiscard]] bool may_start(Lane& lane, Instant now);
  void await_token(QueueState& queue, Instant now);
  void await_token(KeyLimits& key, Instant now);
  void arm_rate(QueueState& queue, Instant at);
  void fire_rate(const Timer& timer, Moment now);
  [[nodiscard]] bool wait_if_blocked(Group& group, Instant now);
  void leave_waiting(Group& group);
  void let_go(Group& group);
  void let_go_paused(QueueState& queue);
  [[nodiscard]] bool wake_waiting(Moment now);
  [[nodiscard]] bool wake_lane(QueueState& queue, Instant now);
  [[nodiscard]] bool wake_group(KeyLimits& key, Instant now);
  void hold_permits(Job& job, bool is_adopted, Instant now);
  void release_permits(const Job& job);
  void hold_place(Job& job, Instant now);
  void hold_needs(const Job& job);
  void release_place(const Job& job);
  void release_needs(const Job& job);
  void give_tokens_back(const Job& job);

  // caching.cc
  struct End;
  [[nodiscard]] static std::shared_ptr<const CacheKey> cache_key_of(const event::Submit& submit, std::size_t item,
                                                                    const SpecState& spec);
  [[nodiscard]] const ResultCache::Entry* kept_for(const CacheKey& key, const JobSpec& spec, Moment now,
                                                   std::string* why_not = nullptr) const;
  void note_new_key(JobId job, std::shared_ptr<const CacheKey> key) { caching_.unsaved[job] = std::move(key); }
  void know_key(const Job& job, std::shared_ptr<const CacheKey> key);
  void lead_if_cached(const Job& job);
  void admit(Job& job, Moment now);
  static void set_following(Job& job, bool follows);
  [[nodiscard]] bool finds_outcome(Job& job, Moment now);
  void cached_job_ended(const Job& job, End& end, Moment now, Effects& effects);
  [[nodiscard]] std::string keep_outcome(const Job& job, const CacheKey& key,
                                         const std::shared_ptr<const CachedOutcome>& outcome, Moment now,
                                         Effects& effects);
  void forget_cached_job(const Job& job);
  [[nodiscard]] JobId leader_of(JobId id) const;
  [[nodiscard]] bool is_followed(JobId id) const;
  void lead_no_more(const Job& job);
  void tend_cache(Moment now, Effects& effects);
  void lead_orphans(std::deque<JobId> orphans, Moment now);
  void answer_followers(Moment now, Effects& effects);
  void ask_for_outcomes(Effects& effects);
  void on(const event::CacheRead& read, Moment now, Effects& effects);
  void on(const event::ClearCache& clear, Moment now, Effects& effects);
  void audit_cache() const;

  // semaphores.cc
  void set_up_semaphores(const Snapshot& snapshot);
  void on(const event::PutSemaphore& put, Moment now, Effects& effects);
  void on(const event::DropSemaphore& drop, Moment now, Effects& effects);
  void resize(Semaphore& semaphore, std::uint32_t permits);
  [[nodiscard]] std::string in_need_of(const std::string& semaphore) const;
  void forget_unused_semaphore(const std::string& name);
  [[nodiscard]] Status check_needs(const JobSpec& spec) const;
  [[nodiscard]] std::string limited_by_size(const JobSpec& spec) const;
  [[nodiscard]] static std::string limited_by_queue(const QueueState& queue, Instant now);
  [[nodiscard]] static std::string limited_by_key(const QueueState& queue, const JobSpec& spec, Instant now);
  [[nodiscard]] std::string limited_by_permits(const JobSpec& spec) const;
  void audit_limits() const;
  static void audit_groups(const Lane& lane);
  void audit_waiting() const;

  // memory.cc
  [[nodiscard]] static Status check_memory(const JobSpec& spec, const PoolState& pool);
  static void raise_memory(Job& job, const Cause& cause);
  [[nodiscard]] static std::uint64_t raised_limit(const Job& job);
  [[nodiscard]] static bool wants_limit(const PoolState& pool, std::uint64_t bytes_max);
  [[nodiscard]] static bool finds_worker(PoolState& pool, std::uint64_t bytes_max, Effects& effects);
  static void choose_limit(Slot& slot);
  static void put_limits_back(PoolState& pool, Effects& effects);

  // waits.cc
  void on(const event::Wait& wait, Moment now, Effects& effects);
  void on(const event::WaitRead& read, Moment now, Effects& effects);
  void on(const event::WaitGivenUp& given_up, Moment now, Effects& effects);
  struct OpenWait {
    std::uint32_t number = 0;
    std::uint64_t call = 0;
    bool lends_permits = false;
    bool is_being_read = false;  // the store is asked about some of them
    std::vector<JobId> open;     // ascending; not known to have ended
  };
  [[nodiscard]] Status check_wait(const Job& job, const event::Wait& wait) const;
  // Calls `visit` with each job that this one waits for: the edges of the graph in which no cycle may come to be.
  void for_each_awaited(JobId job, const std::function<void(JobId)>& visit) const;
  // From one of `jobs` along what they wait for to `to`, that included; empty: there is no way.
  [[nodiscard]] std::vector<JobId> wait_path(const std::vector<JobId>& jobs, JobId to) const;
  void settle(Job& job, OpenWait& wait, Instant now, Effects& effects);
  void close_wait(Job& job, std::uint32_t number);
  void drop_target(JobId target, JobId waiting);
  void forget_waits(Job& job);
  void end_waits(Job& job, Instant now);
  [[nodiscard]] Status lend(Job& job, bool with_permits, Effects& effects);
  void take_back_slot(Job& job, Instant now);
  void awaited_ended(JobId job, Instant now, Effects& effects);
  [[nodiscard]] static std::int64_t may_begin(const PoolState& pool);
  void list_spare(Slot& slot);
  [[nodiscard]] bool add_spare_worker(PoolState& pool);
  void drop_spares(PoolState& pool);
  [[nodiscard]] std::vector<JobId> waits_of(const Job& job) const;
  void audit_waits() const;
  // Those that a worker has or is to have.
  [[nodiscard]] std::span<const std::unique_ptr<Slot>> used_slots() const {
    return std::span(slots_).first(spares_listed_ == 0 ? own_slots_ : slots_.size());
  }

  // watching.cc
  void watch(Slot& slot, Instant at);
  [[nodiscard]] bool could_run_sooner(const Slot& slot, Moment now) const;
  void fetch_back(const Slot& slot, const Job* but, Effects& effects);
  void on(const event::Head& head, Moment now, Effects& effects);
  void on(const event::Taken& taken, Moment now, Effects& effects);
  void on(const event::Pulse& pulse, Moment now, Effects& effects);
  void not_taken(Slot& slot, Moment now, Effects& effects);

  // sizing.cc
  void want(PoolState& pool, std::size_t worker, bool wanted);
  void grow_later(PoolState& pool, Moment now);
  void shrink_later(PoolState& pool, Instant at);
  void grow(PoolState& pool, Moment now, Effects& effects);
  void shrink(PoolState& pool, Moment now, Effects& effects);

  // changes.cc
  void on(const event::Record& record, Moment, Effects&) { recording_ = record.on; }
  void on(const event::Progress& progress, Moment now, Effects& effects);
  void note_change(const Job& job, JobState state, Instant at, const Cause* cause, Moment now, Effects& effects) const;
  // The attempt is over; nobody may have seen that it ran.
  void note_alive(const Job& job, Instant alive_at, Moment now, Effects& effects) const;
  void note_ran(const Job& job, Instant started, Moment now, Effects& effects) const;
  void note_queue(const QueueRow& queue, Moment now, Effects& effects) const;
  void note_worker(const Slot& slot, const Cause* ended, Moment now, Effects& effects) const;

  // endings.cc
  void on(const event::Done& done, Moment now, Effects& effects);
  void on(const event::SlotEnded& ended, Moment now, Effects& effects);
  void on(const event::Cancel& cancel, Moment now, Effects& effects);
  void on(const event::Loaded& loaded, Moment now, Effects& effects);
  void cancel_loaded(const std::vector<event::Cancel>& cancels, const StoredJob& found, Moment now, Effects& effects);
  [[nodiscard]] Slot* slot_of(SlotId id);
  void doom(Job& job, Doom why, Moment now, Effects& effects);
  void stop_taken(Job& job, Moment now, Effects& effects);
  [[nodiscard]] Duration grace_of(const Job& job) const;
  [[nodiscard]] LiveStop stop_of(const Job& job) const;
  void keep_wish(const Job& job, Instant kill_at, Effects& effects);
  void resume_cancel(Job& job, Moment now, Effects& effects);
  [[nodiscard]] bool ends_as_wished(Job& job, Moment now, Effects& effects);
  void end_as_wished(const StoredJob& found, Moment now, Effects& effects);
  void kill_taken(Job& job, Effects& effects);
  struct Ran {
    SlotId slot;
    Instant started;  // 0: the attempt never began
    Instant finished;
  };
  void end_doomed(Job& job, std::string_view result, const Cause* measured, Ran ran, Moment now, Effects& effects);
  struct End {
    JobState state = JobState::kSucceeded;
    std::unique_ptr<Cause> cause;
    std::string_view result;
    Ran ran;
  };
  void end(Job& job, End end, Moment now, Effects& effects);
  void drop(Job& job);  // from memory

  // retries.cc
  [[nodiscard]] static bool is_tried_again(const Job& job, const Cause& cause);
  void retry(Job& job, Cause cause, std::string_view result, std::optional<Duration> after, Ran ran, Moment now,
             Effects& effects);
  void crashed(Job& job, const event::SlotEnded& ended, std::string_view result, Ran ran, Moment now, Effects& effects);
  void run_again(Job& job, AttemptRow row, Duration delay, Moment now, Effects& effects);
  [[nodiscard]] AttemptRow attempt_row(const Job& job, Ran ran, Charge charge, Cause cause, Moment now) const;

  // places.cc
  [[nodiscard]] const Lane* lane_named(const std::string& queue, PoolId pool) const;
  [[nodiscard]] std::uint64_t backlog_place(const Lane& lane, OrderKey key) const;

  // timers.cc
  void on(const event::TimerDue&, Moment now, Effects& effects);
  void fire_job(const Timer& timer, Job& job, Moment now, Effects& effects);
  void fire_slot(const Timer& timer, Slot& slot, Moment now, Effects& effects);
  void add_job_timer(Job& job, TimerKind kind, Instant at);

  SchedulerSetup setup_;
  Random random_;           // of the jitter
  bool recording_ = false;  // event::Record
  std::size_t window_bytes_max_;
  std::size_t window_bytes_ = 0;

  JobTable jobs_;
  Timers timers_;
  std::size_t job_timers_ = 0;  // those that may still mean a resident job

  std::map<std::pair<WallTime, JobId>, std::uint32_t> deadlines_;  // as stored, but for what is in due_
  Instant deadline_timer_ = Instant::never();                      // a timer for this time is set
  struct LastDeadline {
    WallTime begins;  // of its first jobs
    DeadlineRow row;
  };
  LastDeadline last_deadline_;
  struct DueJobs {
    DeadlineRow row;
    JobId next;                         // the first that was not asked for yet
    std::unordered_set<JobId> changed;  // became resident since the last ones were asked for
  };
  std::optional<DueJobs> due_;

  struct DelayedJobs {
    std::optional<WallTime> next;        // when the first one is due
    Instant timer = Instant::never();    // a timer for this time is set
    bool claiming = false;               // a claim is under way
    std::optional<WallTime> added_next;  // of those that came meanwhile
    std::unordered_set<JobId> ended_meanwhile;
  };
  DelayedJobs delayed_;

  std::map<std::string, ScheduleState> schedules_;
  std::set<std::pair<WallTime, std::string>> schedule_due_;  // their next firings
  std::unordered_map<JobId, std::string> schedule_jobs_;     // whose last job this is, and it has not ended
  std::vector<std::string> schedules_freed_;                 // that job has ended, and firings wait
  Instant schedule_timer_ = Instant::never();                // a timer for this time is set

  Deliveries deliveries_;

  Dependencies dependencies_;
  std::size_t blocked_bytes_ = 0;  // of blocked jobs, which are not in window_bytes_
  struct ParentsAsked {
    struct One {
      event::Submit submit;
      std::size_t answers_left = 0;
    };
    std::map<std::uint64_t, One> submits;  // by the number of their questions
    std::uint64_t next_number = 1;
    std::size_t jobs = 0;
  };
  ParentsAsked parents_asked_;
  // Jobs that nothing blocks any more but results that their payloads name and the store has.
  struct ResultsWanted {
    std::unordered_set<JobId> jobs;
    std::deque<JobId> waiting;  // of them, not asked for; some may have ended since
    std::unordered_set<JobId> asked;
  };
  ResultsWanted results_wanted_;

  // Batches with too many failures, by first job: what has not begun of them is cancelled.
  struct StoppedBatch {
    WholeBatchRow row;
    std::uint32_t next = 0;           // of its jobs, looked up where they are not resident
    std::unordered_set<JobId> asked;  // of those
  };
  std::map<JobId, StoppedBatch> stopped_batches_;
  std::vector<JobId> came_back_;  // offers of jobs that may be of those, not taken

  // As they were asked, and as their queue made them: what leads to a known spec while the queue stays as it is.
  std::unordered_map<JobSpec, SpecState*, JobSpecHash> asked_specs_;
  std::unordered_map<JobSpec, SpecState*, JobSpecHash> specs_;
  std::unordered_map<SpecId, std::unique_ptr<SpecState>> specs_by_id_;
  std::uint64_t next_spec_ = 1;

  std::uint64_t next_id_ = 1;
  std::uint64_t ids_until_ = 1;

  std::uint32_t next_queue_ = 1;  // above every id that this daemon has seen
  std::uint64_t held_bytes_ = 0;  // likewise
  std::size_t held_jobs_ = 0;     // of submits that wait for room in their queues
  struct Purge {
    std::vector<Token> tokens;
    std::uint64_t cancelled = 0;
    std::unordered_set<JobId> asked_back;  // offers whose Revoke was not answered yet
  };
  std::map<QueueId, Purge> purges_;
  std::vector<std::unique_ptr<QueueState>> queues_;
  std::unordered_map<std::string, QueueState*> queue_by_name_;
  std::vector<std::unique_ptr<PoolState>> pools_;  // configured ones first, in the order of the setup
  std::map<std::pair<QueueId, PoolId>, std::unique_ptr<Lane>> lanes_;
  std::vector<std::unique_ptr<Slot>> slots_;  // slots_[i] is SlotId i + 1
  std::size_t own_slots_ = 0;                 // of the pools' sizes; the spare ones follow
  std::size_t spares_listed_ = 0;             // of those, that some pool has

  std::map<JobId, std::vector<OpenWait>> waits_;  // of running jobs
  std::map<JobId, std::vector<JobId>> awaited_;   // by whom, ascending

  std::map<std::string, Semaphore> semaphores_;
  std::size_t semaphores_made_ = 0;                              // of those, that exist
  std::map<std::string, std::set<std::string>> queues_in_need_;  // by semaphore: whose jobs may need it
  std::uint64_t next_ticket_ = 1;
  Freed freed_;

  struct KeyedSubmits {
    std::deque<event::Submit> waiting;  // not asked about yet
    std::vector<event::Submit> asked;
    std::size_t jobs = 0;  // of both
  };
  KeyedSubmits keyed_;

  ResultCache cache_;
  enum class CacheRole : std::uint8_t { kNone, kLeads, kFollows, kAwaitsKept };
  struct CachedJob {
    std::shared_ptr<const CacheKey> key;
    CacheRole role = CacheRole::kNone;
    bool is_cleared = false;      // kLeads: what it was to compute was cleared meanwhile, and is not kept
    std::string miss;             // kLeads: why it runs
    std::deque<JobId> followers;  // kLeads: in this order; some may have ended or left since
  };
  // A job that follows is to end like another.
  struct Answer {
    JobId job;
    JobId from;
    std::shared_ptr<const CachedOutcome> outcome;
    bool is_joined = false;  // the other one ran meanwhile
  };
  struct Caching {
    std::unordered_map<JobId, CachedJob> jobs;                  // resident, with a key
    std::unordered_map<CacheKey, JobId, CacheKeyHash> leaders;  // who computes what
    std::map<JobId, std::shared_ptr<const CacheKey>> unsaved;   // of new jobs, not yet among the rows
    std::deque<Answer> answers;
    std::vector<std::deque<JobId>> orphans;           // followers of one that has no outcome for them
    std::map<JobId, std::vector<JobId>> kept_wanted;  // by entry: who waits for what is read
    std::vector<JobId> kept_asked;                    // entries that are being read
  };
  Caching caching_;

  std::vector<StoredJob> held_;  // resident for event::Adopt, until the first turn ends
  struct CancelWish {
    std::vector<Token> waiters;  // are told of the end
    std::vector<Token> hurried;  // are told when the wish is on disk, or the job has ended
    std::optional<Duration> grace;
    std::string reason;
    std::optional<CancelRow> stored;
  };
  std::unordered_map<JobId, CancelWish> cancel_wishes_;  // of jobs that are on their way out
  struct Loading {
    std::vector<event::Cancel> cancels;
    std::vector<event::Register> registers;
    std::optional<JobState> ended;  // meanwhile: the answer was read too early
    bool has_moved = false;         // it was resident meanwhile, and left: likewise
  };
  std::unordered_map<JobId, Loading> loading_;  // jobs that are not resident, and what is asked of them
};

}  // namespace futured
