// Retention: every store removes the same jobs, with all that is said of them, and no other.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "base/payload.h"
#include "daemon/store/sqlite_store.h"
#include "tests/store/rows_for_tests.h"
#include "tests/store/scratch.h"

namespace futured {
namespace {

using Ids = std::vector<std::uint64_t>;

struct Kind {
  const char* name;
  std::function<Result<std::unique_ptr<Store>>(const std::string& path)> open;
  bool lasts;
};

const Kind kKinds[] = {
    {"Memory", [](const std::string&) -> Result<std::unique_ptr<Store>> { return make_memory_store(); }, false},
    {"Sqlite", [](const std::string& path) { return open_sqlite_store(path); }, true},
};

constexpr WallTime kStart{1'000'000'000};

WallTime after(int seconds) { return kStart + std::chrono::seconds(seconds); }

// Kept 10 s after a success, 100 s after a failure, and any number.
RetentionPolicy ten_seconds() { return {std::chrono::seconds(10), std::chrono::seconds(100), 0, 0}; }

class RetentionTest : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    open();
    Batch words;
    words.specs.push_back({SpecId{1}, JobSpec{}});
    JobSpec own;
    own.retention = std::chrono::seconds(3);
    words.specs.push_back({SpecId{2}, own});
    own.retention = std::chrono::hours(1);
    words.specs.push_back({SpecId{3}, own});
    commit(words);
  }

  void open() { store_ = *GetParam().open(scratch_.database()); }
  void reopen() {
    if (!GetParam().lasts) return;
    store_.reset();
    open();
  }
  void commit(const Batch& batch) {
    const auto error = store_->commit(batch);
    ASSERT_FALSE(error.has_value()) << error->error.message;
  }

  // All submitted at kStart.
  void submit(std::uint64_t first, std::uint64_t last, std::uint64_t spec = 1) {
    Batch batch;
    for (std::uint64_t id = first; id <= last; ++id) {
      batch.jobs.push_back(job_row(id, spec));
      batch.jobs.back().submitted_at = kStart;
    }
    commit(batch);
  }
  void end(std::uint64_t id, WallTime at, JobState state = JobState::kSucceeded) {
    Batch batch;
    batch.outcomes.push_back(outcome_row(id, state));
    batch.outcomes.back().ending.started_at = at;
    batch.outcomes.back().ending.finished_at = at;
    batch.attempts.push_back(attempt_row(id, 1, CauseKind::kTaskError));
    commit(batch);
  }
  // Until there is no more to do.
  Ids trim(const RetentionPolicy& policy, WallTime now, std::uint32_t jobs_max = limits::kTrimJobsMax) {
    Ids removed;
    for (int step = 0; step < 1000; ++step) {
      const auto answer = store_->trim({policy, now, jobs_max});
      EXPECT_TRUE(answer.ok()) << answer.error().message;
      if (!answer.ok()) break;
      for (const JobId id : answer->removed) removed.push_back(id.value);
      if (!answer->more) return removed;
    }
    ADD_FAILURE() << "trimming does not come to an end";
    return removed;
  }
  Ids left() { return ids_of(*store_->reader()->list({})); }

  Scratch scratch_;
  std::unique_ptr<Store> store_;
};

TEST_P(RetentionTest, WhatEndedGoesWhenItsTimeHasCome) {
  submit(1, 4);
  end(1, after(1));
  end(2, after(5));
  end(3, after(1), JobState::kFailed);
  EXPECT_EQ(trim(ten_seconds(), after(10)), Ids{});
  EXPECT_EQ(trim(ten_seconds(), after(11)), Ids{1});
  reopen();
  EXPECT_EQ(trim(ten_seconds(), after(15)), Ids{2});
  EXPECT_EQ(trim(ten_seconds(), after(100)), Ids{});
  EXPECT_EQ(trim(ten_seconds(), after(101)), Ids{3});
  EXPECT_EQ(left(), Ids{4}) << "an unfinished job stays";
  const auto reader = store_->reader();
  EXPECT_FALSE(reader->get(JobId{1}, true)->has_value());
  EXPECT_GT(*reader->trimmed_until(), 3U);
}

TEST_P(RetentionTest, AJobThatEndsBehindTheMarkGoesInItsTurn) {
  submit(1, 3);
  end(2, after(1));
  EXPECT_EQ(trim(ten_seconds(), after(50)), Ids{2});
  reopen();
  end(1, after(60));
  EXPECT_EQ(trim(ten_seconds(), after(69)), Ids{});
  EXPECT_EQ(trim(ten_seconds(), after(70)), Ids{1});
  EXPECT_EQ(store_->snapshot()->resident.size(), 1U);
}

TEST_P(RetentionTest, AJobsOwnTimeHoldsBeforeThePolicys) {
  submit(1, 1);
  submit(2, 2, 2);
  submit(3, 3, 3);
  for (std::uint64_t id = 1; id <= 3; ++id) end(id, after(0));
  EXPECT_EQ(trim(ten_seconds(), after(3)), Ids{2});
  reopen();
  EXPECT_EQ(trim(ten_seconds(), after(30)), Ids{1});
  EXPECT_EQ(trim(ten_seconds(), after(3600)), Ids{3});
}

TEST_P(RetentionTest, WithoutAnAgeJobsStayForEver) {
  submit(1, 2);
  end(1, after(0));
  EXPECT_EQ(trim({Duration(0), Duration(0), 0, 0}, after(1'000'000'000)), Ids{});
  EXPECT_EQ(left(), (Ids{2, 1}));
}

TEST_P(RetentionTest, BeyondTheNumberTheOldestGoOnceTheyHaveEnded) {
  submit(1, 10);
  for (const std::uint64_t id : {1, 2, 4, 5, 9}) end(id, after(0), JobState::kFailed);
  EXPECT_EQ(trim({std::chrono::hours(1), std::chrono::hours(1), 6, 0}, after(1)), (Ids{1, 2, 4}));
  reopen();
  EXPECT_EQ(left(), (Ids{10, 9, 8, 7, 6, 5, 3}));
}

TEST_P(RetentionTest, ManySmallStepsRemoveWhatOneLargeOneDoes) {
  submit(1, 50);
  for (std::uint64_t id = 1; id <= 50; ++id) {
    if (id % 7 != 0) end(id, after(0));
  }
  EXPECT_EQ(trim(ten_seconds(), after(10), 3).size(), 43U);
  EXPECT_EQ(left(), (Ids{49, 42, 35, 28, 21, 14, 7}));
}

TEST_P(RetentionTest, AKeyGoesWithTheLastOfItsJobs) {
  Batch batch;
  batch.jobs.push_back(job_row(1));
  batch.jobs.push_back(job_row(2));
  for (JobRow& row : batch.jobs) row.submitted_at = kStart;
  batch.keys_added = {{{7, "k"}, JobId{1}, 2, 5}};
  commit(batch);
  end(1, after(0));
  EXPECT_EQ(trim(ten_seconds(), after(10)), Ids{1});
  EXPECT_TRUE((*store_->find_keys({{7, "k"}}))[0].has_value()) << "one of its jobs is left";
  end(2, after(11));
  EXPECT_EQ(trim(ten_seconds(), after(21)), Ids{2});
  EXPECT_FALSE((*store_->find_keys({{7, "k"}}))[0].has_value());
  EXPECT_FALSE(store_->reader()->find_key({7, "k"})->has_value());
  Batch again;
  again.jobs.push_back(job_row(3));
  again.keys_added = {{{7, "k"}, JobId{3}, 1, 6}};
  commit(again);
  EXPECT_EQ((*store_->find_keys({{7, "k"}}))[0]->first, JobId{3});
}

TEST_P(RetentionTest, ACallbackThatIsDueKeepsItsJob) {
  submit(1, 2);
  end(1, after(0));
  end(2, after(0));
  Batch due;
  due.deliveries.push_back({callback_of(JobId{1}, 0), JobId{1}, 9, DeliveryState::kDelivering, 0, after(1), {}, {}});
  commit(due);
  EXPECT_EQ(trim(ten_seconds(), after(20)), Ids{2});
  due.deliveries[0].state = DeliveryState::kDelivered;
  commit(due);
  EXPECT_EQ(trim(ten_seconds(), after(200)), Ids{1});
  EXPECT_EQ(left(), Ids{});
}

TEST_P(RetentionTest, ABatchThatHasNotEndedKeepsItsJobs) {
  submit(1, 3);
  end(1, after(0));
  Batch open;
  open.whole_batches = {{JobId{1}, 2, 1, 0}};
  commit(open);
  EXPECT_EQ(trim(ten_seconds(), after(20)), Ids{});
  end(2, after(21));
  open.whole_batches = {{JobId{1}, 2, 2, 0}};
  commit(open);
  EXPECT_EQ(trim(ten_seconds(), after(300)), (Ids{1, 2}));
  EXPECT_TRUE(store_->snapshot()->whole_batches.empty());
}

TEST_P(RetentionTest, ABatchThatAJobWaitsForKeepsItsJobs) {
  submit(1, 3);
  end(1, after(0));
  Batch waits;
  Dependency on{.job = JobId{1}, .condition = DependencyCondition::kSucceeded};
  on.batch_jobs = 2;
  waits.dependencies = {{JobId{3}, 0, on}};
  commit(waits);
  EXPECT_EQ(trim(ten_seconds(), after(20)), Ids{}) << "how it ended is asked after a restart";
  end(2, after(21));
  Batch closes;
  closes.dependencies_closed = {{JobId{3}, 0, DependencyState::kHolds}};
  commit(closes);
  EXPECT_EQ(trim(ten_seconds(), after(300)), (Ids{1, 2}));
}

TEST_P(RetentionTest, NumbersOfCallbacksAreNeverGivenTwice) {
  submit(1, 1);
  Batch batch;
  batch.callbacks.push_back({CallbackId{9}, JobId{1}, 1000, "spec", 0});
  commit(batch);
  end(1, after(0));
  const std::uint64_t until = store_->snapshot()->callbacks_until;
  EXPECT_EQ(trim(ten_seconds(), after(20)), Ids{1});
  reopen();
  EXPECT_EQ(store_->snapshot()->callbacks_until, until);
}

INSTANTIATE_TEST_SUITE_P(Stores, RetentionTest, testing::ValuesIn(kKinds),
                         [](const auto& suite) { return std::string(suite.param.name); });

// ---- What only SQLite has: files

class SqliteRetention : public testing::Test {
 protected:
  void SetUp() override {
    SqliteOptions options;
    options.free_pages_kept = 0;
    store_ = *open_sqlite_store(scratch_.database(), options);
    Batch words;
    words.specs.push_back({SpecId{1}, JobSpec{}});
    ASSERT_FALSE(store_->commit(words).has_value());
  }

  void add_ended(std::uint64_t first, std::uint64_t last, const std::string& payload) {
    Batch batch;
    for (std::uint64_t id = first; id <= last; ++id) {
      batch.jobs.push_back(job_row(id, 1, payload));
      batch.jobs.back().submitted_at = kStart;
      batch.jobs.back().ending = ending_of(JobState::kSucceeded);
      batch.jobs.back().ending.result.clear();
      batch.jobs.back().ending.started_at = kStart;
      batch.jobs.back().ending.finished_at = kStart;
    }
    ASSERT_FALSE(store_->commit(batch).has_value());
  }
  TrimAnswer trim_all(const RetentionPolicy& policy, WallTime now) {
    TrimAnswer last;
    for (int step = 0; step < 1000; ++step) {
      auto answer = store_->trim({policy, now});
      EXPECT_TRUE(answer.ok()) << answer.error().message;
      if (!answer.ok()) return last;
      last = *std::move(answer);
      store_->tend();
      if (!last.more) return last;
    }
    ADD_FAILURE() << "trimming does not come to an end";
    return last;
  }
  std::size_t files() const {
    const std::string folder = scratch_.database() + ".files";
    if (!std::filesystem::exists(folder)) return 0;
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()));
  }

  Scratch scratch_;
  std::unique_ptr<Store> store_;
};

TEST_F(SqliteRetention, TheFileShrinks) {
  add_ended(1, 4000, std::string(2000, 'x'));
  const auto before = store_->trim({{Duration(0), Duration(0), 0, 0}, after(0)});
  ASSERT_TRUE(before.ok());
  EXPECT_GT(before->kept_bytes, 8'000'000U);
  const TrimAnswer trimmed = trim_all(ten_seconds(), after(10));
  EXPECT_LT(trimmed.kept_bytes, 1'000'000U);
  store_.reset();  // closing writes the log into the file
  EXPECT_LT(std::filesystem::file_size(scratch_.database()), 1'000'000U);
}

TEST_F(SqliteRetention, BeyondItsSizeTheOldestGoFirst) {
  add_ended(1, 4000, std::string(2000, 'x'));
  const TrimAnswer trimmed = trim_all({Duration(0), Duration(0), 0, 6'000'000}, after(1));
  EXPECT_LE(trimmed.kept_bytes, 6'000'000U);
  JobQuery all;
  all.jobs_max = 5000;
  const Ids left = ids_of(*store_->reader()->list(all));
  ASSERT_FALSE(left.empty());
  EXPECT_EQ(left.front(), 4000U);
  EXPECT_EQ(left.size(), 4000 - left.back() + 1) << "what is left is the newest, without gaps";
}

TEST_F(SqliteRetention, AFileGoesWithTheLastJobThatHasIt) {
  std::string large;
  append_part(large, {.content_type = "text/plain", .bytes = std::string(limits::kStoredInlineBytesMax + 1, 'y')});
  add_ended(1, 1, large);
  Batch open;
  open.jobs.push_back(job_row(2, 1, large));
  open.jobs.back().submitted_at = kStart;
  ASSERT_FALSE(store_->commit(open).has_value());
  ASSERT_EQ(files(), 1U);
  EXPECT_EQ(trim_all(ten_seconds(), after(10)).trimmed_until, 3U);
  EXPECT_EQ(files(), 1U) << "another job has it";
  Batch ended;
  ended.outcomes.push_back(outcome_row(2));
  ended.outcomes.back().ending.finished_at = after(10);
  ASSERT_FALSE(store_->commit(ended).has_value());
  trim_all(ten_seconds(), after(20));
  EXPECT_EQ(files(), 0U);
}

}  // namespace
}  // namespace futured
