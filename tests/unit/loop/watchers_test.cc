#include "daemon/loop/watchers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace futured {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Listener : OutcomeSink {
  void ended(const std::shared_ptr<const Batch>&, std::vector<EndedJob> jobs) override {
    ++calls;
    for (const EndedJob& job : jobs) {
      ids.push_back(job.id.value);
      states.push_back(job.ending->state);
    }
  }
  int calls = 0;
  std::vector<std::uint64_t> ids;
  std::vector<JobState> states;
};

std::shared_ptr<const Batch> batch_of(std::vector<std::uint64_t> born_and_ended, std::vector<std::uint64_t> ended) {
  auto batch = std::make_shared<Batch>();
  for (const std::uint64_t id : born_and_ended) {
    JobRow row;
    row.id = JobId{id};
    row.ending.state = JobState::kSucceeded;
    batch->jobs.push_back(std::move(row));
  }
  for (const std::uint64_t id : ended) {
    OutcomeRow row;
    row.id = JobId{id};
    row.ending.state = JobState::kFailed;
    batch->outcomes.push_back(std::move(row));
  }
  return batch;
}

TEST(Watchers, SubmitterHearsOfEachJobOnceInOneCall) {
  Watchers watchers;
  const auto sink = std::make_shared<Listener>();
  watchers.watch_batch({10, 13}, sink);
  watchers.publish(batch_of({11}, {10}));
  EXPECT_EQ(sink->calls, 1);
  EXPECT_THAT(sink->ids, ElementsAre(11, 10));
  EXPECT_THAT(sink->states, ElementsAre(JobState::kSucceeded, JobState::kFailed));
  watchers.publish(batch_of({}, {12}));
  EXPECT_THAT(sink->ids, ElementsAre(11, 10, 12));
  EXPECT_EQ(watchers.size(), 0U);
}

TEST(Watchers, JobThatHasNotEndedTellsNobody) {
  Watchers watchers;
  const auto sink = std::make_shared<Listener>();
  watchers.watch({{5, 6}}, sink);
  auto batch = std::make_shared<Batch>();
  batch->jobs.emplace_back().id = JobId{5};
  watchers.publish(batch);
  EXPECT_EQ(sink->calls, 0);
}

TEST(Watchers, ManyMayWaitForOneJobAndShortOrLongRangesAreTheSame) {
  Watchers watchers;
  const auto single = std::make_shared<Listener>();
  const auto wide = std::make_shared<Listener>();
  const auto submitter = std::make_shared<Listener>();
  watchers.watch({{7, 8}}, single);
  watchers.watch({{1, 100'000}}, wide);
  watchers.watch_batch({7, 9}, submitter);
  watchers.publish(batch_of({}, {7}));
  EXPECT_THAT(single->ids, ElementsAre(7));
  EXPECT_THAT(wide->ids, ElementsAre(7));
  EXPECT_THAT(submitter->ids, ElementsAre(7));
}

TEST(Watchers, ForgottenSinkHearsNothingMore) {
  Watchers watchers;
  const auto sink = std::make_shared<Listener>();
  const std::vector<JobRange> ranges{{1, 3}, {10, 5'000}};
  watchers.watch(ranges, sink);
  watchers.watch_batch({6'000, 6'010}, sink);
  watchers.forget(ranges, sink.get());
  watchers.forget_batches(sink.get());
  watchers.publish(batch_of({}, {1, 2, 11, 6'001}));
  EXPECT_THAT(sink->ids, IsEmpty());
  EXPECT_EQ(watchers.size(), 0U);
}

TEST(Watchers, BatchesInterleave) {
  Watchers watchers;
  const auto first = std::make_shared<Listener>();
  const auto second = std::make_shared<Listener>();
  watchers.watch_batch({1, 3}, first);
  watchers.watch_batch({3, 5}, second);
  watchers.publish(batch_of({}, {3, 1, 4, 2}));
  EXPECT_THAT(first->ids, ElementsAre(1, 2));
  EXPECT_THAT(second->ids, ElementsAre(3, 4));
}

}  // namespace
}  // namespace futured
