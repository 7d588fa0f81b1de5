// The result cache's rows: every store keeps the same, and what it keeps outlives the jobs.
#include "base/payload.h"
#include "tests/store/store_fixture.h"

namespace futured {
namespace {

class CacheTest : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    Batch words;
    words.specs.push_back(spec_row(3));
    words.specs.back().spec.cache = {.enabled = true, .failures = true, .explain = true, .ttl = std::chrono::hours(1)};
    words.specs.back().spec.cache.key = "nightly";
    words.specs.push_back(spec_row(4));
    words.specs.back().spec.cache = {.enabled = true};
    words.specs.back().spec.cache.ignored_parts = {1, 300};
    words.specs.back().spec.cache.ignored_fields = {"", "seed"};
    commit(words);
  }

  static std::shared_ptr<const CacheKey> key(char letter) {
    return std::make_shared<const CacheKey>(CacheKey{1000, "work", "2", std::string(32, letter)});
  }
  static CacheEntryRow entry(std::uint64_t job, char letter) {
    return {JobId{job},   *key(letter), JobState::kSucceeded, 700,      3,
            WallTime{10}, WallTime{20}, WallTime{15},         "nightly"};
  }
  void end_and_keep(std::uint64_t job, const std::string& result) {
    Batch batch;
    batch.jobs.push_back(job_row(job, 3));
    batch.jobs.back().ending = ending_of(JobState::kSucceeded);
    batch.jobs.back().ending.result = result;
    batch.cache_added.push_back(entry(job, 'a'));
    commit(batch);
  }
  CacheAnswer read(const std::vector<JobId>& entries) {
    auto answer = store_->read_cache(entries);
    EXPECT_TRUE(answer.ok());
    return *std::move(answer);
  }
  void remove(std::uint64_t job) {
    Batch batch;
    batch.cache_removed.push_back(JobId{job});
    commit(batch);
  }
};

std::string large_result() {
  std::string result;
  append_part(result, {.bytes = std::string(limits::kStoredInlineBytesMax + 1, 'r')});
  return result;
}

TEST_P(CacheTest, WhatCountsAsTheSameIsToldAsItWasAsked) {
  Batch batch;
  batch.jobs.push_back(job_row(1, 3));
  batch.jobs.push_back(job_row(2, 4));
  commit(batch);
  reopen();
  EXPECT_EQ(get(1).spec.cache.key, "nightly");
  EXPECT_EQ(get(2).spec.cache.ignored_parts, (std::vector<std::uint32_t>{1, 300}));
  EXPECT_EQ(get(2).spec.cache.ignored_fields, (std::vector<std::string>{"", "seed"}));
}

TEST_P(CacheTest, KeysAreThereUntilTheJobEnds) {
  Batch batch;
  batch.jobs.push_back(job_row(1, 3));
  batch.jobs.push_back(job_row(2, 3));
  batch.jobs.push_back(job_row(3, 3));
  batch.backlog_added.push_back(fifo_key(2));
  batch.cache_keys_added = {{JobId{1}, key('a')}, {JobId{2}, key('b')}};
  commit(batch);
  reopen();
  const Snapshot found = snapshot();
  ASSERT_EQ(found.resident.size(), 2u);
  ASSERT_TRUE(found.resident[0].cache_key);
  EXPECT_EQ(*found.resident[0].cache_key, *key('a'));
  EXPECT_FALSE(found.resident[1].cache_key) << "it has none";
  const ClaimAnswer claimed = claim({QueueId{1}, PoolId{1}, std::nullopt, 10, 1'000'000});
  ASSERT_EQ(claimed.jobs.size(), 1u);
  ASSERT_TRUE(claimed.jobs[0].job.cache_key);
  EXPECT_EQ(*claimed.jobs[0].job.cache_key, *key('b'));
  EXPECT_EQ(*load(2).cache_key, *key('b'));
  Batch ends;
  ends.outcomes.push_back(outcome_row(1));
  ends.cache_keys_removed = {JobId{1}, JobId{99}};
  commit(ends);
  EXPECT_FALSE(load(1).cache_key);
}

TEST_P(CacheTest, TermsAreKeptWithTheSpec) {
  Batch batch;
  batch.jobs.push_back(job_row(1, 3));
  commit(batch);
  reopen();
  const CacheTerms terms{
      .enabled = true, .failures = true, .explain = true, .ttl = std::chrono::hours(1), .key = "nightly"};
  EXPECT_EQ(get(1).spec.cache, terms);
}

TEST_P(CacheTest, AnEntryIsFoundAgain) {
  std::string result;
  append_part(result, {.bytes = "42"});
  end_and_keep(1, result);
  Batch used;
  used.cache_used = {{JobId{1}, 4, WallTime{17}}, {JobId{99}, 1, WallTime{1}}};
  commit(used);
  reopen();
  const Snapshot found = snapshot();
  ASSERT_EQ(found.cache.size(), 1u);
  CacheEntryRow wanted = entry(1, 'a');
  wanted.hits = 4;
  wanted.used_at = WallTime{17};
  EXPECT_EQ(found.cache[0], wanted);
  const CacheAnswer answer = read({JobId{1}, JobId{2}});
  ASSERT_EQ(answer.size(), 2u);
  ASSERT_TRUE(answer[0]);
  EXPECT_EQ(answer[0]->result, result);
  EXPECT_EQ(answer[0]->state, JobState::kSucceeded);
  EXPECT_FALSE(answer[1]);
  remove(1);
  EXPECT_FALSE(read({JobId{1}})[0]);
  EXPECT_TRUE(snapshot().cache.empty());
}

TEST_P(CacheTest, AnEntryOutlivesItsJob) {
  const std::string result = large_result();
  end_and_keep(1, result);
  const RetentionPolicy soon{std::chrono::seconds(1), std::chrono::seconds(1), 0, 0};
  const auto trimmed = store_->trim({soon, kForEver + -std::chrono::hours(1)});
  ASSERT_TRUE(trimmed.ok());
  ASSERT_EQ(trimmed->removed.size(), 1u);
  EXPECT_EQ(read({JobId{1}})[0]->result, result);
  reopen();
  ASSERT_TRUE(read({JobId{1}})[0]) << "a start removes no file that it needs";
  EXPECT_EQ(read({JobId{1}})[0]->result, result);
}

TEST_P(CacheTest, AJobKeepsItsFileWhenTheEntryGoes) {
  const std::string result = large_result();
  end_and_keep(1, result);
  remove(1);
  reopen();
  EXPECT_EQ(get(1).ending.result, result);
}

TEST_P(CacheTest, AnOutcomeSaysWhereItCameFrom) {
  Batch batch;
  batch.jobs.push_back(job_row(1, 3));
  batch.jobs.back().ending = ending_of(JobState::kSucceeded);
  batch.jobs.back().ending.cause = std::make_unique<Cause>();
  batch.jobs.back().ending.cause->cached_from = JobId{7};
  batch.jobs.back().ending.cause->cache_note = "hit: job 7";
  commit(batch);
  reopen();
  EXPECT_EQ(get(1).ending.cause->cached_from, JobId{7});
  EXPECT_EQ(get(1).ending.cause->cache_note, "hit: job 7");
}

INSTANTIATE_TEST_SUITE_P(Stores, CacheTest, testing::ValuesIn(kKinds),
                         [](const testing::TestParamInfo<Kind>& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace futured
