#include "daemon/loop/soundness.h"

#include <gtest/gtest.h>

namespace futured {
namespace {

SpecRow spec_in(const std::string& queue) {
  SpecRow row{SpecId{1}, {}};
  row.spec.queue = queue;
  return row;
}

LoadAnswer loaded(JobState state, std::vector<SpecRow> specs) {
  StoredJob job;
  job.id = JobId{42};
  job.spec = SpecId{1};
  job.state = state;
  return {{job}, std::move(specs)};
}

bool has_no_queue(const std::string&) { return false; }

TEST(Soundness, AnUnfinishedJobWhoseQueueIsGoneIsNamedWithIt) {
  const Status found = check(loaded(JobState::kQueued, {spec_in("side")}), has_no_queue);
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code, ErrorCode::kDataLoss);
  EXPECT_NE(found.error().message.find("job 42 waits in queue \"side\""), std::string::npos) << found.error().message;
}

TEST(Soundness, AnEndedJobMayOutliveItsQueue) {
  EXPECT_TRUE(check(loaded(JobState::kSucceeded, {spec_in("side")}), has_no_queue).ok());
}

TEST(Soundness, AJobWithoutItsOptionsIsNamed) {
  const Status found = check(loaded(JobState::kQueued, {}), has_no_queue);
  ASSERT_FALSE(found.ok());
  EXPECT_NE(found.error().message.find("job 42"), std::string::npos) << found.error().message;
}

TEST(Soundness, ASnapshotKnowsItsOwnQueuesAndTheDefault) {
  Snapshot snapshot;
  snapshot.queues = {{QueueId{3}, "side"}};
  snapshot.pools = {{PoolId{1}, "default"}};
  snapshot.specs = {spec_in("side")};
  snapshot.resident = loaded(JobState::kQueued, {}).jobs;
  snapshot.backlog = {{QueueId{3}, PoolId{1}, 7}};
  EXPECT_TRUE(check(snapshot).ok());
  snapshot.specs = {spec_in("default")};
  EXPECT_TRUE(check(snapshot).ok());
  snapshot.specs = {spec_in("gone")};
  EXPECT_FALSE(check(snapshot).ok());
  snapshot.specs = {spec_in("side")};
  snapshot.backlog = {{QueueId{4}, PoolId{1}, 7}};
  const Status found = check(snapshot);
  ASSERT_FALSE(found.ok());
  EXPECT_NE(found.error().message.find("7 jobs wait in queue number 4"), std::string::npos) << found.error().message;
}

}  // namespace
}  // namespace futured
