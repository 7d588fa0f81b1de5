#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

event::PurgeQueue purge(std::uint64_t token, std::uint32_t uid = 0) { return {token, {uid}, "default"}; }

Lines after(Stage& stage, Lines lines, Duration time) {
  for (std::string& line : stage.pass(time)) lines.push_back(std::move(line));
  return lines;
}

TEST(Purge, CancelsWhatIsQueuedAndLeavesWhatRuns) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 100)});
  stage.take(1, 1);
  Lines lines = stage.turn({purge(100)});
  std::vector<Event> answers;
  for (const effect::OfSlot& revoke : stage.history.back().revokes) {
    const std::uint64_t job = revoke.fence.job.value;
    answers.push_back(stage.revoked(job, job != 1));
  }
  EXPECT_FALSE(answers.empty());
  lines = stage.turn(std::move(answers));
  EXPECT_THAT(after(stage, lines, std::chrono::milliseconds(20)), Contains("purged 100: 99"));
  for (std::uint64_t job = 2; job <= 100; ++job) {
    ASSERT_NE(stage.ending(job), nullptr) << job;
    EXPECT_EQ(stage.ending(job)->state, JobState::kCancelled);
  }
  EXPECT_THAT(stage.ending(2)->cause->message, HasSubstr("its queue was purged"));
  EXPECT_EQ(stage.ending(1), nullptr);
  stage.turn({stage.done(1)});
  EXPECT_EQ(stage.ending(1)->state, JobState::kSucceeded);
  stage.scheduler->audit();
}

TEST(Purge, TakesBoundedSteps) {
  Stage stage;
  stage.turn({event::PutQueue{99, "default", {}, true}});
  const auto count = static_cast<std::uint32_t>(3 * limits::kPurgeStepJobs + 7);
  stage.turn({stage.submit(Stage::work(), 4000), stage.submit(Stage::work(), count - 4000)});
  stage.turn({purge(100)});
  const Lines lines = stage.pass(seconds(1));
  EXPECT_THAT(lines, Contains("purged 100: " + std::to_string(count)));
  for (const Effects& turn : stage.history) {
    EXPECT_LE(turn.rows.outcomes.size(), limits::kPurgeStepJobs);
  }
}

TEST(Purge, CancelsWhatWaitsForItsNextAttempt) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.max_attempts = 2;
  spec.backoff = seconds(100);
  stage.turn({stage.submit(spec)});
  stage.turn({stage.failed(1)});
  EXPECT_THAT(after(stage, stage.turn({purge(100)}), seconds(1)), Contains("purged 100: 1"));
  EXPECT_EQ(stage.ending(1)->state, JobState::kCancelled);
}

TEST(Purge, BlockedJobsGoInBoundedStepsToo) {
  Stage stage;
  const auto count = static_cast<std::uint32_t>(3 * limits::kPurgeStepJobs + 7);
  for (std::uint32_t left = count; left > 0;) {
    const std::uint32_t some = std::min(left, 4000U);
    Event submit = stage.submit(Stage::work(), some);
    std::get<event::Submit>(submit).dependencies = {{{{}, "go", DependencyCondition::kEnded}, std::nullopt}};
    stage.turn({submit});
    left -= some;
  }
  stage.turn({purge(100)});
  EXPECT_THAT(stage.pass(seconds(1)), Contains("purged 100: " + std::to_string(count)));
  for (const Effects& turn : stage.history) EXPECT_LE(turn.rows.outcomes.size(), limits::kPurgeStepJobs);
  stage.scheduler->audit();
}

TEST(Purge, NothingComesInOrOutMeanwhile) {
  Stage stage;
  stage.turn({event::PutQueue{99, "default", {}, true}});
  stage.turn({stage.submit(Stage::work(), 10)});
  stage.step(purge(100));
  stage.step(event::PutQueue{101, "default", {}, false});
  const Lines lines = stage.turn({stage.submit(Stage::work(), 1)});
  EXPECT_THAT(lines, Contains(HasSubstr("refused 2: queue \"default\" is being purged; try again")));
  EXPECT_THAT(lines, Not(Contains(HasSubstr("offer"))));
  EXPECT_THAT(stage.pass(seconds(1)), Contains("purged 100: 10"));
  EXPECT_THAT(stage.turn({stage.submit(Stage::work(), 1)}), Contains("accepted 3: 11 x1"));
}

TEST(Purge, OfTheBacklogClaimsItEvenThoughItIsPaused) {
  StageSetup setup;
  setup.snapshot.queues = {{QueueId{1}, "default", Discipline::kFifo, true}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  setup.snapshot.backlog = {{QueueId{1}, PoolId{1}, 2}};
  setup.snapshot.ids_reserved_until = 10;
  setup.snapshot.specs_until = 2;
  Stage stage(setup);
  stage.turn();
  EXPECT_TRUE(stage.claims.empty());
  stage.turn({purge(100)});
  stage.pass(std::chrono::milliseconds(1));
  ASSERT_EQ(stage.claims.size(), 1u);
  ClaimAnswer answer{stage.claims[0], {}, {{SpecId{1}, Stage::work()}}};
  for (std::uint64_t id = 1; id <= 2; ++id) {
    StoredJob job;
    job.id = JobId{id};
    job.spec = SpecId{1};
    job.in_backlog = true;
    answer.jobs.push_back({order_key(Discipline::kFifo, 0, job.id), job});
  }
  stage.turn({event::Claimed{answer}});
  EXPECT_THAT(stage.pass(seconds(1)), Contains("purged 100: 2"));
  EXPECT_EQ(stage.ending(1)->state, JobState::kCancelled);
  EXPECT_EQ(stage.ending(2)->state, JobState::kCancelled);
}

TEST(Purge, IsForAdministrators) {
  Stage stage;
  EXPECT_THAT(stage.turn({purge(100, 1234)}), ElementsAre(HasSubstr("which only root and the daemon's own user may")));
  EXPECT_EQ(stage.history.back().refused.at(0).error.code, ErrorCode::kPermissionDenied);
}

}  // namespace
}  // namespace futured
