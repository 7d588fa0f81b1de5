#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Rows, AJobBornAndEndedInOneCommitIsOneRow) {
  Stage stage;
  stage.step(stage.submit(Stage::work(), 3));
  stage.step(event::TurnEnd{});
  stage.step(stage.cancel(3));
  stage.step(event::Done{SlotId{1}, {JobId{1}, Epoch{1}, 1}, event::DoneStatus::kSucceeded, false, {}, {}, "r"});
  stage.finish();
  EXPECT_THAT(stage.rows(), ElementsAre("spec 1", "job 1 SUCCEEDED", "job 2", "job 3 CANCELLED CANCELLED"));
}

TEST(Rows, TheEndOfAnEarlierJobIsARowOfItsOwn) {
  Effects effects;
  effects.rows.jobs.push_back({.id = JobId{10}});
  effects.rows.jobs.push_back({.id = JobId{11}});
  effects.rows.jobs.push_back({.id = JobId{20}});
  EXPECT_EQ(&effects.ending_of(JobId{11}), &effects.rows.jobs[1].ending);
  EXPECT_EQ(&effects.ending_of(JobId{20}), &effects.rows.jobs[2].ending);
  EXPECT_TRUE(effects.rows.outcomes.empty());
  effects.ending_of(JobId{9}).state = JobState::kFailed;
  effects.ending_of(JobId{15}).state = JobState::kFailed;
  effects.ending_of(JobId{21}).state = JobState::kFailed;
  ASSERT_EQ(effects.rows.outcomes.size(), 3u);
  EXPECT_EQ(effects.rows.outcomes[1].id, JobId{15});
}

TEST(Rows, AnEndingTellsAttemptTimesAndResult) {
  Stage stage;
  stage.turn({stage.submit()});
  event::Done done = std::get<event::Done>(stage.done(1));
  done.started_at = stage.now.at + -std::chrono::milliseconds(3);
  done.finished_at = stage.now.at + -std::chrono::milliseconds(1);
  stage.turn({done});
  const Ending& ending = *stage.ending(1);
  EXPECT_EQ(ending.attempt, 1u);
  EXPECT_EQ(ending.epoch, Epoch{1});
  EXPECT_EQ(ending.started_at.us, stage.now.wall.us - 3000);
  EXPECT_EQ(ending.finished_at.us, stage.now.wall.us - 1000);
  EXPECT_EQ(ending.result, "result");
}

TEST(Rows, TimesThatAWorkerInventsAreBounded) {
  Stage stage;
  stage.turn({stage.submit()});
  event::Done done = std::get<event::Done>(stage.done(1));
  done.started_at = Instant::never();
  done.finished_at = Instant::never();
  stage.turn({done});
  EXPECT_EQ(stage.ending(1)->finished_at.us, stage.now.wall.us);
  EXPECT_EQ(stage.ending(1)->started_at.us, stage.now.wall.us);
}

TEST(Rows, OptionsOfABatchAreStoredOnce) {
  Stage stage;
  JobSpec other = Stage::work();
  other.max_attempts = 3;
  stage.turn({stage.submit(), stage.submit(), stage.submit(other), stage.submit()});
  EXPECT_THAT(stage.rows(), ElementsAre("spec 1", "spec 2", "job 1", "job 2", "job 3", "job 4"));
}

TEST(Ids, AreReservedBeforeAnyLeaves) {
  Stage stage;
  ASSERT_FALSE(stage.history.empty());
  EXPECT_GT(stage.history[0].rows.ids_reserved_until, 10'000u) << "with the rows of the start";
  stage.turn({stage.submit()});
  EXPECT_EQ(stage.history.back().rows.ids_reserved_until, 0u);
}

TEST(Ids, TheNextBlockIsReservedLongBeforeTheLastIsSpent) {
  Stage stage({.workers_ready = false});
  stage.step(event::PoolReady{stage.scheduler->pool_named("default"), {"work"}});
  stage.turn();
  std::uint64_t committed = 1;
  for (std::uint64_t next = 1; next < 3 * limits::kIdBlock; next += limits::kBatchItemsMax) {
    for (const Effects& turn : stage.history) committed = std::max(committed, turn.rows.ids_reserved_until);
    stage.history.clear();
    ASSERT_GE(committed, next + 2 * limits::kBatchItemsMax) << next;
    stage.scheduler->step(stage.submit(Stage::work(), limits::kBatchItemsMax, 0), stage.now, stage.effects);
    stage.history.push_back(std::move(stage.effects));
    stage.effects = Effects{};
  }
}

TEST(Ids, AStartGoesOnBehindEverythingReserved) {
  StageSetup setup;
  setup.snapshot.epoch = Epoch{4};
  setup.snapshot.ids_reserved_until = 5000;
  setup.snapshot.specs_until = 3;
  setup.snapshot.queues = {{QueueId{1}, "default"}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  Stage stage(std::move(setup));
  EXPECT_THAT(stage.turn({stage.submit()}), testing::Contains("accepted 1: 5000 x1"));
  EXPECT_THAT(stage.rows(), testing::IsSupersetOf({"spec 3", "job 5000"}));
}

}  // namespace
}  // namespace futured
