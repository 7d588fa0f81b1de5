// Random histories, as a scheduler might write them, against both stores: SQLite must answer as the memory store does.
// A failure prints its seed; FUTURED_SEED=N store_conformance_test --gtest_filter=StoreRandom.* replays it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <utility>

#include "daemon/store/sqlite_store.h"
#include "tests/store/rows_for_tests.h"
#include "tests/store/scratch.h"

namespace futured {
namespace {

class History {
 public:
  explicit History(std::uint64_t seed) : random_(seed) {}

  // The next batch of the history: words first, then jobs that come, spill, run, fail and end.
  Batch next() {
    Batch batch;
    if (next_spec_ == 1 || chance(20)) add_words(batch);
    const std::size_t jobs = random_() % 40;
    for (std::size_t i = 0; i < jobs; ++i) add_job(batch);
    if (chance(10)) next_id_ += random_() % 2'000;  // ids that a crash left unused
    if (chance(15)) {  // in a batch of their own: what is moved into a backlog is not touched again in the same one
      std::set<std::uint64_t> moved;
      for (std::size_t i = random_() % 20; i > 0; --i) move_one(batch, moved);
      settle_fresh();
      return batch;
    }
    for (std::size_t i = random_() % 30; i > 0; --i) end_one(batch);
    for (std::size_t i = random_() % 5; i > 0; --i) spill_one(batch);
    for (std::size_t i = random_() % 8; i > 0; --i) release_one(batch);
    for (std::size_t i = random_() % 3; i > 0; --i) cancel_one(batch);
    for (std::size_t i = random_() % 5; i > 0; --i) fail_attempt(batch);
    for (std::size_t i = random_() % 5; i > 0; --i) unblock_one(batch);
    if (chance(50)) add_deliveries(batch);
    if (chance(30)) add_schedule(batch);
    if (chance(10)) batch.ids_reserved_until = next_id_ + 1'000;
    return batch;
  }

  [[nodiscard]] std::uint64_t next_id() const { return next_id_; }
  std::uint64_t pick(std::uint64_t below) { return random_() % below; }
  bool chance(unsigned percent) { return random_() % 100 < percent; }

 private:
  struct Live {
    std::uint64_t id;
    std::uint64_t spec;
    std::uint32_t attempts = 0;
    bool in_backlog = false;
    bool is_cancelled = false;
    std::int64_t delayed_until = 0;  // 0: it is not
    std::uint32_t open = 0;          // dependencies
    std::int64_t start_at = 0;
  };

  void add_words(Batch& batch) {
    batch.specs.push_back(spec_row(next_spec_, "queue-" + std::to_string(pick(3))));
    ++next_spec_;
    const auto id = static_cast<std::uint32_t>(1 + pick(3));
    batch.queues.push_back({QueueId{id}, "queue-" + std::to_string(id), Discipline::kFifo, chance(50)});
    batch.pools.push_back({PoolId{id}, "pool-" + std::to_string(id)});
    const std::string semaphore = "semaphore-" + std::to_string(pick(5));
    if (chance(30)) {
      batch.semaphores_removed.push_back(semaphore);
    } else {
      batch.semaphores.push_back({semaphore, static_cast<std::uint32_t>(1 + pick(9))});
    }
  }

  BacklogKey key_of(const Live& job) const {
    const auto queue = static_cast<std::uint32_t>(job.spec % 3 + 1);
    const auto discipline = static_cast<Discipline>(queue);
    return {QueueId{queue}, PoolId{static_cast<std::uint32_t>(job.spec % 2 + 1)},
            order_key(discipline, static_cast<std::int32_t>(job.spec % 5) - 2, JobId{job.id})};
  }

  DelayedKey delay_of(const Live& job) const {
    const BacklogKey lane = key_of(job);
    return {WallTime{job.delayed_until}, JobId{job.id}, lane.queue, lane.pool};
  }

  // To another queue, by another spec. What left the backlog is open, or lies in that of the other queue.
  void move_one(Batch& batch, std::set<std::uint64_t>& moved) {
    if (live_.empty()) return;
    Live& job = live_[pick(live_.size())];
    if (!moved.insert(job.id).second) return;
    if (job.in_backlog) batch.backlog_removed.push_back(key_of(job));
    if (job.delayed_until != 0) batch.delayed_removed.push_back(delay_of(job));
    const bool opens = std::exchange(job.in_backlog, false);
    job.spec = 1 + pick(next_spec_ - 1);
    batch.moved.push_back({JobId{job.id}, SpecId{job.spec}, opens});
    if (job.delayed_until != 0) {
      batch.delayed_added.push_back(delay_of(job));
    } else if (chance(40)) {
      job.in_backlog = true;
      batch.backlog_added.push_back(key_of(job));
    }
  }

  // Its time has come.
  void release_one(Batch& batch) {
    if (live_.empty()) return;
    Live& job = live_[pick(live_.size())];
    if (job.delayed_until == 0) return;
    batch.delayed_removed.push_back(delay_of(job));
    job.delayed_until = 0;
    if (chance(50)) return;
    job.in_backlog = true;
    batch.backlog_added.push_back(key_of(job));
  }

  Ending ending(std::uint32_t attempt) {
    Ending ending = ending_of(static_cast<JobState>(5 + pick(4)), attempt);
    if (chance(30)) ending.cause = nullptr;
    if (chance(30)) ending.started_at = {};
    if (chance(50)) ending.result = std::string(pick(chance(5) ? 20'000 : 30), 'r');
    return ending;
  }

  void add_job(Batch& batch) {
    Live job{next_id_++, 1 + pick(next_spec_ - 1)};
    JobRow row = job_row(job.id, job.spec, std::string(pick(chance(5) ? 9'000 : 120), 'p'));
    if (chance(40)) {
      row.ending = ending(1);
      batch.jobs.push_back(std::move(row));
      return;
    }
    if (chance(30)) {
      // Mostly those of a batch wait for one time.
      if (chance(20)) time_ = 1 + static_cast<std::int64_t>(pick(50));
      row.start_at = WallTime{time_};
      job.start_at = time_;
      if (chance(80)) job.delayed_until = time_;
    }
    batch.jobs.push_back(std::move(row));
    if (job.delayed_until != 0) {
      batch.delayed_added.push_back(delay_of(job));
    } else if (chance(50)) {
      job.in_backlog = true;
      batch.backlog_added.push_back(key_of(job));
    } else if (chance(30)) {
      job.open = static_cast<std::uint32_t>(1 + pick(3));
      for (std::uint32_t i = 0; i < job.open; ++i) {
        Dependency on{JobId{chance(50) ? 1 + pick(next_id_) : 0}, "", static_cast<DependencyCondition>(pick(3))};
        if (!on.job.is_set()) on.event = "event-" + std::to_string(pick(3));
        batch.dependencies.push_back({JobId{job.id}, i, on});
      }
    }
    // What came in this batch is changed by later ones only, as the folding of a turn sees to.
    fresh_.push_back(job);
  }

  void add_deliveries(Batch& batch) {
    const auto draw = [&](std::uint64_t below) { return static_cast<std::uint32_t>(pick(below)); };
    for (std::uint64_t left = pick(6); left > 0; --left) {
      const JobId job{1 + pick(next_id_)};
      batch.deliveries.push_back({callback_of(job, draw(2)), job, draw(3), static_cast<DeliveryState>(2 + pick(5)),
                                  draw(5), WallTime{static_cast<std::int64_t>(pick(50))},
                                  std::vector<CallbackId>(draw(4), CallbackId{pick(1'000'000)}),
                                  chance(50) ? "" : "refused"});
    }
    if (chance(50)) {
      const CallbackId id = later_callback(next_later_++);
      const JobId job{1 + pick(next_id_)};
      batch.callbacks.push_back({id, job, draw(3), encode_callbacks({CallbackSpec{.address = "later"}})});
      batch.deliveries.push_back({id, job, draw(3), static_cast<DeliveryState>(1 + pick(4))});
    }
    if (chance(30)) batch.whole_batches.push_back({JobId{1 + pick(next_id_)}, 5, draw(6), draw(3)});
  }

  void add_schedule(Batch& batch) {
    ScheduleRow row;
    row.name = "schedule " + std::to_string(pick(6));
    row.is_removed = chance(20);
    row.owner = static_cast<std::uint32_t>(pick(5));
    if (chance(50)) row.cron = "0 8 * * *";
    if (row.cron.empty()) row.every = Duration(std::chrono::seconds(1 + pick(9)));
    if (chance(50)) row.zone = "Europe/Berlin";
    row.catch_up = static_cast<CatchUp>(pick(3));
    row.catch_up_max = static_cast<std::uint32_t>(pick(9));
    row.overlap = static_cast<Overlap>(pick(4));
    row.jitter = Duration(pick(1'000));
    row.paused = chance(30);
    row.spec = SpecId{1 + pick(next_spec_ - 1)};
    row.payload = std::string(pick(200), 'p');
    row.anchor = WallTime{static_cast<std::int64_t>(pick(1'000))};
    row.seen_at = WallTime{static_cast<std::int64_t>(pick(1'000))};
    row.last_at = WallTime{static_cast<std::int64_t>(pick(1'000))};
    row.last_job = JobId{pick(next_id_)};
    for (std::uint64_t left = pick(4); left > 0; --left) row.waiting.push_back(row.seen_at);
    batch.schedules.push_back(std::move(row));
  }

  void settle_fresh() {
    live_.insert(live_.end(), fresh_.begin(), fresh_.end());
    fresh_.clear();
  }

  void end_one(Batch& batch) {
    if (live_.empty()) return;
    // Mostly old ones, as in a queue, so that the low-water mark has something to do.
    const std::size_t at = chance(80) ? 0 : pick(live_.size());
    const Live job = live_[at];
    live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(at));
    batch.outcomes.push_back({JobId{job.id}, ending(job.attempts + 1)});
    if (job.delayed_until != 0) batch.delayed_removed.push_back(delay_of(job));
    if (job.in_backlog) batch.backlog_removed.push_back(key_of(job));
    if (job.is_cancelled) batch.cancels_removed.push_back(JobId{job.id});
    for (std::uint32_t i = 0; i < job.open; ++i) {
      batch.dependencies_closed.push_back({JobId{job.id}, i, DependencyState::kVoid});
    }
  }

  // Nothing blocks it any more: it waits for its time, if it has one.
  void unblock_one(Batch& batch) {
    const std::string event = "event-" + std::to_string(pick(3));
    if (chance(50)) {
      batch.events_set.push_back({event, WallTime{static_cast<std::int64_t>(pick(50))}});
    } else {
      batch.events_cleared.push_back(event);
    }
    if (live_.empty()) return;
    Live& job = live_[pick(live_.size())];
    if (job.open == 0) return;
    for (std::uint32_t i = 0; i < job.open; ++i) {
      batch.dependencies_closed.push_back({JobId{job.id}, i, DependencyState::kHolds});
    }
    job.open = 0;
    if (job.start_at == 0 || job.in_backlog || job.delayed_until != 0) return;
    job.delayed_until = job.start_at;
    batch.delayed_added.push_back(delay_of(job));
  }

  void cancel_one(Batch& batch) {
    if (live_.empty()) return;
    Live& job = live_[pick(live_.size())];
    job.is_cancelled = true;
    const Instant asked_at{static_cast<std::int64_t>(pick(1'000))};
    batch.cancels_added.push_back({JobId{job.id}, asked_at, asked_at + Duration(pick(1'000)), chance(50) ? "" : "why"});
  }

  void spill_one(Batch& batch) {
    if (live_.empty()) return;
    Live& job = live_[pick(live_.size())];
    if (job.in_backlog || job.delayed_until != 0) return;
    job.in_backlog = true;
    batch.backlog_added.push_back(key_of(job));
  }

  void fail_attempt(Batch& batch) {
    if (!live_.empty()) {
      Live& job = live_[pick(live_.size())];
      const CauseKind kinds[] = {CauseKind::kWorkerCrashed, CauseKind::kTaskError, CauseKind::kBrokenWorker};
      batch.attempts.push_back(attempt_row(job.id, ++job.attempts, kinds[pick(3)]));
      if (chance(20)) batch.starts.push_back({{JobId{job.id}, Epoch{2}, job.attempts}});
    }
    settle_fresh();
  }

  std::mt19937_64 random_;
  std::uint64_t next_id_ = 1;
  std::uint64_t next_spec_ = 1;
  std::uint64_t next_later_ = 1;
  std::int64_t time_ = 1;
  std::vector<Live> live_;
  std::vector<Live> fresh_;
};

void expect_same(Store& a, Store& b, History& history) {
  EXPECT_EQ(text(*a.snapshot()), text(*b.snapshot()));
  std::vector<JobId> ids;
  for (int i = 0; i < 30; ++i) ids.push_back(JobId{history.pick(history.next_id() + 2)});
  EXPECT_EQ(text(*a.load(ids)), text(*b.load(ids)));
  for (std::uint32_t queue = 1; queue <= 3; ++queue) {
    Claim claim{QueueId{queue}, PoolId{1 + queue % 2}, {}, static_cast<std::uint32_t>(1 + history.pick(40)), 2'000};
    for (int page = 0; page < 4; ++page) {
      const auto first = a.claim(claim);
      EXPECT_EQ(text(*first), text(*b.claim(claim)));
      if (first->jobs.empty()) break;
      claim.after = first->jobs.back().key;
    }
  }
  const auto left = a.reader();
  const auto right = b.reader();
  EXPECT_EQ(text(*left->endings(ids)), text(*right->endings(ids)));
  for (int i = 0; i < 5; ++i) {
    const auto one = left->get(ids[static_cast<std::size_t>(i)], i % 2 == 0);
    const auto other = right->get(ids[static_cast<std::size_t>(i)], i % 2 == 0);
    ASSERT_EQ(one->has_value(), other->has_value());
    if (one->has_value()) {
      EXPECT_EQ(text(**one), text(**other));
    }
  }
  const DelayedClaim due{WallTime{static_cast<std::int64_t>(history.pick(60))},
                         static_cast<std::uint32_t>(1 + history.pick(60)), 1 + history.pick(4'000)};
  EXPECT_EQ(text(*a.claim(due)), text(*b.claim(due)));
  for (std::uint32_t lane = 0; lane < 3; ++lane) {
    const DeliveryClaim claim{lane, static_cast<std::uint32_t>(1 + history.pick(20))};
    EXPECT_EQ(text(*a.claim(claim)), text(*b.claim(claim)));
  }
  CallbackQuery asked;
  if (history.chance(50)) asked.job = ids[0];
  asked.after = history.pick(history.next_id() * kCallbackIdsPerJob + 1);
  asked.callbacks_max = static_cast<std::uint32_t>(1 + history.pick(10));
  asked.scan_max = 1 + history.pick(60);
  if (history.chance(30)) asked.states = {DeliveryState::kFailed};
  if (history.chance(30)) asked.states = {DeliveryState::kWaiting, DeliveryState::kDelivered};
  EXPECT_EQ(text(*left->callbacks(asked)), text(*right->callbacks(asked)));
  const CallbackId one_callback = callback_of(ids[1], 0);
  EXPECT_EQ(left->delivery(one_callback)->has_value(), right->delivery(one_callback)->has_value());
  JobQuery query;
  query.before = history.pick(history.next_id() + 1);
  query.oldest_first = history.chance(30);
  if (query.oldest_first) query.after = history.pick(history.next_id() + 1);
  query.jobs_max = static_cast<std::uint32_t>(1 + history.pick(20));
  query.scan_max = 1 + history.pick(60);
  if (history.chance(50)) query.states = {JobState::kFailed, JobState::kQueued};
  if (history.chance(50)) query.queue = "queue-1";
  EXPECT_EQ(text(*left->list(query)), text(*right->list(query)));
}

void run_history(std::uint64_t seed, const SqliteOptions& options) {
  SCOPED_TRACE("FUTURED_SEED=" + std::to_string(seed));
  Scratch scratch;
  History history(seed);
  const auto memory = make_memory_store();
  auto sqlite = *open_sqlite_store(scratch.database(), options);
  for (int round = 0; round < 60 && !testing::Test::HasFailure(); ++round) {
    const Batch batch = history.next();
    ASSERT_FALSE(memory->commit(batch).has_value());
    const auto error = sqlite->commit(batch);
    ASSERT_FALSE(error.has_value()) << error->error.message;
    if (history.chance(20)) sqlite->tend();
    if (history.chance(10)) {
      sqlite.reset();
      sqlite = *open_sqlite_store(scratch.database(), options);
    }
    if (history.chance(40)) expect_same(*memory, *sqlite, history);
  }
  expect_same(*memory, *sqlite, history);
}

std::uint64_t first_seed() {
  const char* seed = std::getenv("FUTURED_SEED");
  return seed != nullptr ? std::strtoull(seed, nullptr, 10) : 1;
}

TEST(StoreRandom, SqliteAnswersAsTheMemoryStoreDoes) {
  for (std::uint64_t seed = first_seed(); seed < first_seed() + 15 && !HasFailure(); ++seed) run_history(seed, {});
}

TEST(StoreRandom, SoItDoesWithAMarkThatAlwaysMoves) {
  SqliteOptions options;
  options.checkpoint_pages = 3;
  options.mark_step_ids = 5;
  options.tail_ids_max = 30;
  options.reserve_bytes = 0;
  for (std::uint64_t seed = first_seed(); seed < first_seed() + 15 && !HasFailure(); ++seed) run_history(seed, options);
}

}  // namespace
}  // namespace futured
