// Retention of what jobs share: options that no job names any more, and idempotency keys whose jobs are gone. Every
// store removes them, and never one that a job, a schedule or the core still needs.
#include <gtest/gtest.h>

#include "tests/store/store_fixture.h"

namespace futured {
namespace {

constexpr WallTime kStart{1'000'000'000};

WallTime after(int seconds) { return kStart + std::chrono::seconds(seconds); }

// Kept as long as the policy says.
SpecRow plain_spec(std::uint64_t id) {
  SpecRow row = spec_row(id);
  row.spec.retention = Duration(0);
  return row;
}

class TrimWordsTest : public StoreTest {
 protected:
  struct Trimmed {
    Ids jobs;
    std::uint64_t specs = 0;
    std::uint64_t keys = 0;
  };

  void SetUp() override {
    StoreTest::SetUp();
    Batch words;
    words.specs.push_back(plain_spec(3));
    words.specs.push_back(plain_spec(9));  // the newest, which never goes
    commit(words);
  }

  void submit(std::uint64_t first, std::uint64_t last, std::uint64_t spec = 3) {
    Batch batch;
    for (std::uint64_t id = first; id <= last; ++id) {
      batch.jobs.push_back(job_row(id, spec));
      batch.jobs.back().submitted_at = kStart;
    }
    commit(batch);
  }
  void end(std::uint64_t id, JobState state = JobState::kSucceeded) {
    Batch batch;
    batch.outcomes.push_back(outcome_row(id, state));
    batch.outcomes.back().ending.started_at = kStart;
    batch.outcomes.back().ending.finished_at = kStart;
    commit(batch);
  }
  void forget(std::uint64_t spec, std::uint64_t newest) {
    Batch batch;
    batch.specs_forgotten.push_back({SpecId{spec}, JobId{newest}});
    commit(batch);
  }
  void hand_in(std::uint64_t spec) {
    Batch batch;
    batch.specs.push_back(plain_spec(spec));
    commit(batch);
  }
  void add_key(const std::string& key, std::uint64_t first, std::uint32_t count = 1) {
    Batch batch;
    batch.keys_added.push_back({{1000, key}, JobId{first}, count, 7});
    commit(batch);
  }
  bool knows(const std::string& key) {
    const bool asked = store_->find_keys({{1000, key}})->front().has_value();
    EXPECT_EQ(store_->reader()->find_key({1000, key})->has_value(), asked);
    return asked;
  }

  // Successes go after 10 s, failures after 100 s. Steps until there is nothing to do, and some more, as a daemon does.
  Trimmed trim(WallTime now) {
    Trimmed all;
    int idle = 0;
    for (int step = 0; step < 1000 && idle < 20; ++step) {
      TrimQuestion question;
      question.policy = {std::chrono::seconds(10), std::chrono::seconds(100), 0, 0};
      question.now = now;
      const auto answer = store_->trim(question);
      EXPECT_TRUE(answer.ok()) << answer.error().message;
      if (!answer.ok()) break;
      for (const JobId id : answer->removed) all.jobs.push_back(id.value);
      all.specs += answer->removed_specs;
      all.keys += answer->removed_keys;
      idle = answer->more ? 0 : idle + 1;
    }
    EXPECT_EQ(idle, 20) << "trimming does not come to an end";
    return all;
  }
};

TEST_P(TrimWordsTest, OptionsGoWithTheLastJobThatNamesThem) {
  submit(1, 3);
  for (std::uint64_t id = 1; id <= 2; ++id) end(id);
  forget(3, 3);
  EXPECT_EQ(trim(after(50)).specs, 0U) << "job 3 has not ended";
  reopen();
  end(3);
  const Trimmed rest = trim(after(60));
  EXPECT_EQ(rest.jobs, Ids{3});
  EXPECT_EQ(rest.specs, 1U);
  EXPECT_EQ(trim(after(70)).specs, 0U) << "they go once";
}

TEST_P(TrimWordsTest, WhatTheCoreHoldsStaysWithoutJobs) {
  submit(1, 1);
  end(1);
  const Trimmed first = trim(after(50));
  EXPECT_EQ(first.jobs, Ids{1});
  EXPECT_EQ(first.specs, 0U);
  submit(2, 2);
  EXPECT_EQ(text(get(2).spec), text(plain_spec(3).spec));
}

TEST_P(TrimWordsTest, AJobThatIsKeptLongerKeepsItsOptions) {
  submit(1, 5);
  submit(6, 6, 9);
  for (const std::uint64_t id : {1, 2, 4, 5, 6}) end(id);
  end(3, JobState::kFailed);
  forget(3, 6);
  EXPECT_EQ(trim(after(50)).specs, 0U);
  reopen();
  EXPECT_EQ(trim(after(51)).specs, 0U);
  EXPECT_EQ(text(get(3).spec), text(plain_spec(3).spec));
  EXPECT_EQ(trim(after(150)).specs, 1U);
}

TEST_P(TrimWordsTest, OptionsThatAreHandedInAgainAreThereForTheJobsThatFollow) {
  submit(1, 1);
  end(1);
  forget(3, 1);
  EXPECT_EQ(trim(after(50)).specs, 1U);
  hand_in(3);
  submit(2, 2);
  end(2, JobState::kFailed);
  EXPECT_EQ(trim(after(60)).specs, 0U);
  reopen();
  EXPECT_EQ(text(get(2).spec), text(plain_spec(3).spec));
  forget(3, 2);
  hand_in(3);  // before they went
  submit(3, 3);
  EXPECT_EQ(trim(after(200)).jobs, Ids{2});
  EXPECT_EQ(trim(after(201)).specs, 0U);
  EXPECT_EQ(text(get(3).spec), text(plain_spec(3).spec));
}

TEST_P(TrimWordsTest, ANewDaemonHoldsNothingUntilItHandsItIn) {
  submit(1, 2);
  end(1);
  ASSERT_TRUE(store_->begin_epoch(Epoch{2}, "spawner").ok());
  std::uint64_t removed =
      trim(after(50)).specs;  // specs 1 and 2 have no job; a store may wait for the newest job's end
  reopen();
  EXPECT_EQ(snapshot().specs.size(), 1U);
  hand_in(3);
  end(2);
  removed += trim(after(60)).specs;
  EXPECT_EQ(removed, 2U) << "that of job 2 is held again, and the newest stays";
  submit(3, 3);
  EXPECT_EQ(text(get(3).spec), text(plain_spec(3).spec));
}

TEST_P(TrimWordsTest, AScheduleKeepsItsOptions) {
  Batch batch;
  ScheduleRow row;
  row.name = "tick";
  row.spec = SpecId{3};
  row.every = std::chrono::seconds(5);
  batch.schedules.push_back(row);
  commit(batch);
  submit(1, 1, 9);
  end(1);
  forget(3, 1);
  EXPECT_EQ(trim(after(50)).specs, 0U);
  reopen();
  ASSERT_EQ(snapshot().schedules.size(), 1U);
  EXPECT_EQ(snapshot().specs.size(), 1U);
  row.is_removed = true;
  Batch removed;
  removed.schedules.push_back(row);
  commit(removed);
  submit(2, 2, 9);
  end(2);
  EXPECT_EQ(trim(after(60)).specs, 1U);
}

TEST_P(TrimWordsTest, AKeyGoesWithTheLastOfItsJobs) {
  submit(1, 8);
  for (std::uint64_t id = 1; id <= 8; ++id) add_key("key " + std::to_string(id), id);
  for (std::uint64_t id = 1; id <= 6; ++id) end(id, id == 2 ? JobState::kFailed : JobState::kSucceeded);
  const Trimmed first = trim(after(50));
  EXPECT_EQ(first.jobs, (Ids{1, 3, 4, 5, 6}));
  for (std::uint64_t id = 1; id <= 8; ++id) {
    EXPECT_EQ(knows("key " + std::to_string(id)), id == 2 || id >= 7) << id;
  }
  reopen();
  EXPECT_TRUE(knows("key 2"));
  submit(9, 9);
  add_key("key 1", 9);  // as if it had never been used
  EXPECT_TRUE(knows("key 1"));
  EXPECT_EQ(trim(after(150)).jobs, Ids{2});
  EXPECT_FALSE(knows("key 2"));
  EXPECT_TRUE(knows("key 1"));
  EXPECT_TRUE(knows("key 8"));
}

TEST_P(TrimWordsTest, ManyKeysGoAndNewOnesComeWhileTheyDo) {
  std::uint64_t removed = 0;
  for (std::uint64_t round = 0; round < 10; ++round) {
    const std::uint64_t first = round * 6 + 1;
    submit(first, first + 5);
    for (std::uint64_t id = first; id < first + 6; id += 2) add_key("key " + std::to_string(id), id, 2);
    for (std::uint64_t id = first; id < first + 6; ++id) end(id);
    removed += trim(after(50)).keys;
    if (round % 3 == 1) reopen();
    EXPECT_FALSE(knows("key " + std::to_string(first)));
  }
  // With large buckets they all lie in the one that fills.
  EXPECT_GE(removed, std::string(GetParam().name) == "Sqlite" ? 0U : 20U);
  submit(100, 100);
  add_key("key 1", 100);
  reopen();
  EXPECT_TRUE(knows("key 1"));
}

TEST_P(TrimWordsTest, WhatIsGoneIsToldOfNumbersThatWereRemoved) {
  submit(1, 3);
  end(1);
  end(3);
  EXPECT_EQ(trim(after(50)).jobs, (Ids{1, 3}));
  submit(4, 4);
  const auto gone = store_->reader()->gone({JobId{1}, JobId{2}, JobId{3}, JobId{4}, JobId{5}, JobId{UINT64_MAX}});
  ASSERT_TRUE(gone.ok());
  EXPECT_EQ(*gone, (std::vector<JobId>{JobId{1}, JobId{3}})) << "what comes later may not be stored yet";
}

INSTANTIATE_TEST_SUITE_P(Stores, TrimWordsTest, testing::ValuesIn(kKinds),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace futured
