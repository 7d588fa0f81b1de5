#include "daemon/core/retention.h"

#include <gtest/gtest.h>

namespace futured {
namespace {

using std::chrono::seconds;

TEST(Retention, AJobsOwnAgeHoldsBeforeThePolicys) {
  const RetentionPolicy policy{seconds(10), seconds(30), 0, 0};
  EXPECT_EQ(age_of(policy, JobState::kSucceeded, Duration(0)), seconds(10));
  EXPECT_EQ(age_of(policy, JobState::kCancelled, Duration(0)), seconds(10));
  EXPECT_EQ(age_of(policy, JobState::kFailed, Duration(0)), seconds(30));
  EXPECT_EQ(age_of(policy, JobState::kTimedOut, Duration(0)), seconds(30));
  EXPECT_EQ(age_of(policy, JobState::kFailed, seconds(2)), seconds(2));
}

TEST(Retention, NoAgeIsForEver) {
  EXPECT_EQ(kept_until(WallTime{5}, Duration(0)), kForEver);
  EXPECT_EQ(kept_until(WallTime{5}, seconds(1)), WallTime{1'000'005});
  EXPECT_EQ(kept_until(WallTime{INT64_MAX - 1}, seconds(1)), kForEver);
}

TEST(Retention, NothingIsDueBeforeTheShortestAge) {
  EXPECT_EQ(shortest_age({seconds(10), seconds(30), 0, 0}, Duration(0)), seconds(10));
  EXPECT_EQ(shortest_age({seconds(10), seconds(30), 0, 0}, seconds(1)), seconds(1));
  EXPECT_EQ(shortest_age({Duration(0), seconds(30), 0, 0}, Duration(0)), seconds(30));
  EXPECT_EQ(shortest_age({Duration(0), Duration(0), 0, 0}, Duration(0)), Duration(0));
}

TEST(Retention, OnlyTheNewestNumbersAreNoSurplus) {
  EXPECT_EQ(surplus_until({.jobs_max = 10}, 10), 0U);
  EXPECT_EQ(surplus_until({.jobs_max = 10}, 11), 1U);
  EXPECT_EQ(surplus_until({.jobs_max = 0}, 1'000'000), 0U);
}

}  // namespace
}  // namespace futured
