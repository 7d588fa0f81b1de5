#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr WallTime kSubmitted{1'699'999'999'000'000};  // a second before the stage's clock

// What an earlier daemon left: `jobs` unfinished, of one spec.
StageSetup left(const JobSpec& spec, std::vector<StoredJob> jobs, bool workers_ready = true) {
  StageSetup setup;
  setup.workers_ready = workers_ready;
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 100;
  setup.snapshot.specs_until = 2;
  setup.snapshot.queues = {{QueueId{1}, "default"}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  setup.snapshot.specs.push_back({SpecId{1}, spec});
  setup.snapshot.resident = std::move(jobs);
  return setup;
}

StoredJob stored(std::uint64_t id) { return {.id = JobId{id}, .spec = SpecId{1}, .submitted_at = kSubmitted}; }

// The same, and the fence of job 1 was found in the channel of slot 1.
StageSetup found(const JobSpec& spec, const StoredJob& job) {
  StageSetup setup = left(spec, {job}, false);
  setup.live.jobs.push_back(job);
  setup.live.specs = setup.snapshot.specs;
  return setup;
}

Fence old_fence(std::uint64_t job, std::uint32_t attempt = 1) { return {JobId{job}, Epoch{1}, attempt}; }

void ready(Stage& stage) {
  stage.step(event::PoolReady{PoolId{1}, {"work", "other"}});
  stage.step(stage.slot_ready(1));
}

TEST(Restart, UnfinishedJobsRunAgain) {
  Stage stage(left(Stage::work(), {stored(1), stored(2)}));
  EXPECT_THAT(stage.turn(), ElementsAre("offer 1.1 slot 1", "offer 2.1 slot 1"));
  EXPECT_THAT(stage.turn({stage.done(1)}), IsEmpty());
  EXPECT_EQ(stage.ending(1)->epoch, Epoch{2});
}

TEST(Restart, AttemptsGoOnFromTheirNumber) {
  StoredJob job = stored(1);
  job.attempts = 2;
  job.crashes = 1;
  JobSpec spec = Stage::work();
  spec.max_attempts = 2;
  Stage stage(left(spec, {job}));
  EXPECT_THAT(stage.turn(), ElementsAre("offer 1.3 slot 1"));
  stage.turn({stage.failed(1)});
  EXPECT_EQ(stage.ending(1)->state, JobState::kFailed);
}

TEST(Restart, ARetryWaitsForItsTime) {
  StoredJob job = stored(1);
  job.attempts = 1;
  Stage probe;
  job.retry_at = probe.now.wall + seconds(2);
  JobSpec spec = Stage::work();
  spec.max_attempts = 2;
  Stage stage(left(spec, {job}));
  EXPECT_THAT(stage.turn(), IsEmpty());
  EXPECT_THAT(stage.pass(seconds(2) - Duration(1)), IsEmpty());
  EXPECT_THAT(stage.pass(Duration(1)), ElementsAre("offer 1.2 slot 1"));
}

TEST(Restart, TimeoutsWentOnMeanwhile) {
  JobSpec spec = Stage::work();
  spec.total_timeout = seconds(3);
  Stage stage(left(spec, {stored(1)}, false));
  EXPECT_THAT(stage.pass(seconds(2) - Duration(1)), IsEmpty());
  EXPECT_EQ(stage.ending(1), nullptr);
  stage.pass(Duration(1));
  ASSERT_NE(stage.ending(1), nullptr);
  EXPECT_EQ(stage.ending(1)->cause->kind, CauseKind::kTotalTimeout);
}

TEST(Restart, AnAtMostOnceJobThatWasStartedMayHaveRun) {
  StoredJob job = stored(1);
  job.started = true;
  JobSpec spec = Stage::work();
  spec.at_most_once = true;
  Stage stage(left(spec, {job}));
  EXPECT_THAT(stage.turn(), IsEmpty());
  EXPECT_EQ(stage.ending(1)->state, JobState::kFailed);
  EXPECT_EQ(stage.ending(1)->cause->kind, CauseKind::kMayHaveRun);
}

TEST(Restart, AnAtMostOnceJobThatWasNotStartedRuns) {
  JobSpec spec = Stage::work();
  spec.at_most_once = true;
  Stage stage(left(spec, {stored(1)}));
  EXPECT_THAT(stage.turn(), ElementsAre("committed offer 1.1 slot 1"));
}

TEST(Adopt, ARunningAttemptGoesOnAndCountsOnce) {
  Stage stage(found(Stage::work(), stored(1)));
  stage.step(stage.adopt(1, old_fence(1)));
  ready(stage);
  EXPECT_THAT(stage.turn(), IsEmpty()) << "it is not started again";
  ASSERT_EQ(stage.scheduler->running().size(), 1u);
  stage.turn({stage.done(1)});
  EXPECT_EQ(stage.ending(1)->state, JobState::kSucceeded);
  EXPECT_EQ(stage.ending(1)->epoch, Epoch{1}) << "of the daemon that offered it";
}

TEST(Adopt, ADoneThatWasNotCommittedIsTakenIn) {
  Stage stage(found(Stage::work(), stored(1)));
  stage.step(stage.adopt(1, old_fence(1), true));
  EXPECT_TRUE(stage.scheduler->has(SlotId{1}, old_fence(1)));
  EXPECT_FALSE(stage.scheduler->has(SlotId{2}, old_fence(1)));
  EXPECT_FALSE(stage.scheduler->has(SlotId{1}, old_fence(1, 2)));
  ready(stage);
  stage.turn({stage.done(1)});
  EXPECT_EQ(stage.ending(1)->state, JobState::kSucceeded);
}

TEST(Adopt, AnAtMostOnceJobGoesOn) {
  StoredJob job = stored(1);
  job.started = true;
  JobSpec spec = Stage::work();
  spec.at_most_once = true;
  Stage stage(found(spec, job));
  stage.step(stage.adopt(1, old_fence(1)));
  ready(stage);
  EXPECT_THAT(stage.turn({stage.submit()}), ElementsAre("accepted 1: 100 x1")) << "and gets no neighbour";
  stage.turn({stage.done(1)});
  EXPECT_EQ(stage.ending(1)->state, JobState::kSucceeded);
}

TEST(Adopt, WhatTheStoreDoesNotKnowIsKilled) {
  Stage stage(left(Stage::work(), {}, false));
  EXPECT_THAT(stage.turn({stage.adopt(1, old_fence(50))}), ElementsAre("kill slot 1"));
  ready(stage);
  EXPECT_THAT(stage.turn({stage.submit()}), ElementsAre("accepted 1: 100 x1"))
      << "nothing goes to a slot that is killed";
  EXPECT_THAT(stage.turn({stage.slot_ended(1)}), ElementsAre("start slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ready(1)}), ElementsAre("offer 100.1 slot 1"));
}

TEST(Adopt, AFinishedAttemptOfAnEndedJobIsOnlyRead) {
  StageSetup setup = left(Stage::work(), {}, false);
  StoredJob ended = stored(1);
  ended.state = JobState::kSucceeded;
  setup.live.jobs.push_back(ended);
  setup.live.specs = setup.snapshot.specs;
  Stage stage(std::move(setup));
  stage.step(stage.adopt(1, old_fence(1), true));
  EXPECT_FALSE(stage.scheduler->has(SlotId{1}, old_fence(1))) << "nothing of it is kept a second time";
  EXPECT_THAT(stage.turn({stage.done(1)}), IsEmpty());
  EXPECT_EQ(stage.ending(1), nullptr);
}

// The first attempt failed, the second was offered at once, and the daemon died before either was committed.
TEST(Adopt, OfTwoAttemptsOfAJobTheLaterGoesOn) {
  for (const bool later_first : {false, true}) {
    JobSpec spec = Stage::work();
    spec.max_attempts = 5;
    StageSetup setup = found(spec, stored(1));
    setup.pools[0].slots = 2;
    Stage stage(std::move(setup));
    if (later_first) stage.step(stage.adopt(2, old_fence(1, 2)));
    stage.step(stage.adopt(1, old_fence(1, 1), true));
    if (!later_first) stage.step(stage.adopt(2, old_fence(1, 2)));
    stage.step(event::PoolReady{PoolId{1}, {"work"}});
    EXPECT_THAT(stage.turn({stage.slot_ready(1), stage.slot_ready(2)}), IsEmpty());
    ASSERT_EQ(stage.scheduler->running().size(), 1u);
    EXPECT_EQ(stage.scheduler->running()[0].slot, SlotId{2});
    EXPECT_EQ(stage.scheduler->running()[0].attempt, 2u);
  }
}

TEST(Adopt, RunTimeoutCountsFromTheFirstStart) {
  JobSpec spec = Stage::work();
  spec.run_timeout = seconds(10);
  Stage stage(found(spec, stored(1)));
  event::Adopt adopt = std::get<event::Adopt>(stage.adopt(1, old_fence(1)));
  adopt.taken_at = stage.now.at + -milliseconds(900);
  stage.step(adopt);
  ready(stage);
  stage.turn();
  EXPECT_THAT(stage.pass(milliseconds(9'099)), IsEmpty());
  EXPECT_THAT(stage.pass(milliseconds(1)), ElementsAre("stop 1.1 slot 1"));
}

TEST(Adopt, TheClocksOfAnAttemptGoOn) {
  JobSpec spec = Stage::work();
  spec.soft_timeout = seconds(10);
  spec.heartbeat_timeout = seconds(2);
  Stage stage(found(spec, stored(1)));
  stage.beat(1);  // in the channel, of the time when no daemon was there
  event::Adopt adopt = std::get<event::Adopt>(stage.adopt(1, old_fence(1)));
  adopt.taken_at = stage.now.at + -seconds(9);
  stage.step(adopt);
  ready(stage);
  stage.turn();
  EXPECT_THAT(stage.pass(seconds(1)), ElementsAre("stop 1.1 slot 1 softly"));
  EXPECT_THAT(stage.pass(milliseconds(500)), IsEmpty()) << "a beat after nine silent seconds counts";
}

TEST(Adopt, AFenceOfASlotThatIsNoMoreFreesItsJob) {
  Stage stage(found(Stage::work(), stored(1)));
  stage.step(stage.adopt(7, old_fence(1)));  // the pool has fewer slots now, and ends that worker
  ready(stage);
  EXPECT_THAT(stage.turn(), ElementsAre("offer 1.1 slot 1"));
}

TEST(Adopt, AnAtMostOnceJobOfASlotThatIsNoMoreMayHaveRun) {
  StoredJob job = stored(1);
  job.started = true;
  JobSpec spec = Stage::work();
  spec.at_most_once = true;
  Stage stage(found(spec, job));
  stage.turn({stage.adopt(7, old_fence(1))});
  ASSERT_NE(stage.ending(1), nullptr);
  EXPECT_EQ(stage.ending(1)->cause->kind, CauseKind::kMayHaveRun);
}

TEST(Adopt, CanBeCancelled) {
  Stage stage(found(Stage::work(), stored(1)));
  stage.step(stage.adopt(1, old_fence(1)));
  ready(stage);
  EXPECT_THAT(stage.turn({stage.cancel(1, 0)}), ElementsAre("stop 1.1 slot 1"));
  EXPECT_THAT(stage.turn({stage.failed(1)}), ElementsAre("cancelled 1: 1 CANCELLED"));
}

TEST(Restart, AJobStaysInThePoolThatItWasAcceptedFor) {
  StageSetup setup;
  setup.pools = {{"first", false, 1}, {"second", false, 1}};
  setup.workers_ready = false;
  Stage before(std::move(setup));
  before.step(event::PoolReady{before.scheduler->pool_named("first"), {"other"}});
  before.step(event::PoolReady{before.scheduler->pool_named("second"), {"work"}});
  before.turn({before.submit()});

  StageSetup again = left(before.history[0].rows.specs.at(0).spec, {stored(1)}, false);
  again.pools = {{"first", false, 1}, {"second", false, 1}};
  again.snapshot.pools = {{PoolId{1}, "first"}, {PoolId{2}, "second"}};
  Stage stage(std::move(again));
  stage.step(event::PoolReady{PoolId{1}, {"other"}});
  stage.step(event::PoolReady{PoolId{2}, {"work"}});
  EXPECT_THAT(stage.turn({stage.slot_ready(1), stage.slot_ready(2)}), ElementsAre("offer 1.1 slot 2"));
}

// Of job 1: asked for `ago`, to be killed `grace` after that.
CancelRow kept_cancel(Duration ago, Duration grace) {
  const Instant asked_at = Stage().now.at + -ago;
  return {JobId{1}, asked_at, asked_at + grace, "not needed"};
}

TEST(RestartOfACancel, TheStopGoesOnWhereItWas) {
  JobSpec spec = Stage::work();
  spec.max_attempts = 5;
  StageSetup setup = found(spec, stored(1));
  setup.snapshot.cancels = {kept_cancel(milliseconds(300), seconds(1))};
  Stage stage(std::move(setup));
  ready(stage);
  EXPECT_THAT(stage.turn({stage.adopt(1, old_fence(1))}), ElementsAre("stop 1.1 slot 1"));
  EXPECT_THAT(stage.pass(milliseconds(699)), IsEmpty());
  EXPECT_THAT(stage.pass(milliseconds(1)), ElementsAre("kill slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ended(1, 1)}), ElementsAre("start slot 1"));
  EXPECT_EQ(stage.ending(1)->state, JobState::kCancelled);
  EXPECT_EQ(stage.ending(1)->cause->message, "cancelled: not needed");
  EXPECT_THAT(stage.rows(), testing::Contains("cancel - 1"));
}

TEST(RestartOfACancel, AJobThatFailsAfterItIsNotTriedAgain) {
  JobSpec spec = Stage::work();
  spec.max_attempts = 5;
  StageSetup setup = found(spec, stored(1));
  setup.snapshot.cancels = {kept_cancel(milliseconds(300), seconds(1))};
  Stage stage(std::move(setup));
  ready(stage);
  stage.turn({stage.adopt(1, old_fence(1))});
  EXPECT_THAT(stage.turn({stage.failed(1)}), IsEmpty());
  EXPECT_EQ(stage.ending(1)->state, JobState::kCancelled);
}

TEST(RestartOfACancel, AnAttemptThatIsGoneEndsTheJob) {
  JobSpec spec = Stage::work();
  spec.max_attempts = 5;
  StageSetup setup = left(spec, {stored(1)});
  setup.snapshot.cancels = {kept_cancel(milliseconds(300), seconds(1))};
  Stage stage(std::move(setup));
  EXPECT_THAT(stage.turn(), IsEmpty());
  EXPECT_EQ(stage.ending(1)->state, JobState::kCancelled);
}

TEST(RestartOfACancel, AtMostOnceTooIsCancelledWhenNothingOfItIsLeft) {
  JobSpec spec = Stage::work();
  spec.at_most_once = true;
  StoredJob job = stored(1);
  job.started = true;
  StageSetup setup = left(spec, {job});
  setup.snapshot.cancels = {kept_cancel(milliseconds(300), seconds(1))};
  Stage stage(std::move(setup));
  stage.turn();
  EXPECT_EQ(stage.ending(1)->state, JobState::kCancelled);
}

TEST(RestartOfACancel, AJobOfTheBacklogIsLoadedAndEndedBeforeItsTurn) {
  StageSetup setup = left(Stage::work(), {}, false);
  setup.snapshot.backlog = {{QueueId{1}, PoolId{1}, 1}};
  setup.snapshot.cancels = {kept_cancel(milliseconds(300), seconds(1))};
  Stage stage(std::move(setup));
  EXPECT_THAT(stage.turn(), testing::Contains("load 1"));
  event::Loaded loaded;
  loaded.asked = {JobId{1}};
  loaded.answer.jobs.push_back(stored(1));
  loaded.answer.jobs.back().in_backlog = true;
  loaded.answer.specs = {{SpecId{1}, Stage::work()}};
  EXPECT_THAT(stage.turn({loaded}), IsEmpty());
  EXPECT_EQ(stage.ending(1)->state, JobState::kCancelled);
  EXPECT_THAT(stage.rows(), testing::IsSupersetOf({"backlog - 1", "cancel - 1"}));
}

TEST(RestartOfACancel, IsAnsweredAsOneThatIsUnderWay) {
  StoredJob job = stored(1);
  job.owner = 1000;
  StageSetup setup = found(Stage::work(), job);
  setup.snapshot.cancels = {kept_cancel(milliseconds(300), seconds(60))};
  Stage stage(std::move(setup));
  ready(stage);
  stage.turn({stage.adopt(1, old_fence(1))});
  EXPECT_THAT(stage.turn({stage.hurried_cancel(1), stage.cancel(1)}), ElementsAre("cancelled 1: 1 RUNNING"));
  EXPECT_THAT(stage.turn({stage.failed(1)}), ElementsAre("cancelled 2: 1 CANCELLED"));
}

// Numbers of the specs that the last turn had among its rows.
std::vector<std::uint64_t> specs_in(const Effects& effects) {
  std::vector<std::uint64_t> ids;
  for (const SpecRow& row : effects.rows.specs) ids.push_back(row.id.value);
  return ids;
}

// Retention removes a row that no job names: of what came from the store nobody knows for how long it is there.
TEST(Restart, OptionsOfAnEarlierDaemonAreHandedInAgainWithTheNextJobThatNamesThem) {
  JobSpec settled = Stage::work();
  settled.pool = "default";
  Stage stage(left(settled, {stored(1)}));
  stage.turn();
  EXPECT_THAT(specs_in(stage.history.back()), IsEmpty());
  stage.turn({stage.done(1)});
  stage.turn({stage.submit()});
  EXPECT_THAT(specs_in(stage.history.back()), ElementsAre(1));
  EXPECT_EQ(stage.history.back().rows.specs[0].spec.task, "work");
  stage.turn({stage.submit()});
  EXPECT_THAT(specs_in(stage.history.back()), IsEmpty());
}

TEST(Restart, OptionsThatNobodyUsesAreForgottenInTimeAndTheStoreIsTold) {
  Stage stage;
  std::vector<std::uint64_t> forgotten;
  std::uint64_t handed_in = 0;
  for (std::uint64_t job = 1; job <= 8'200; ++job) {
    JobSpec spec = Stage::work();
    spec.name = "job " + std::to_string(job);
    stage.step(stage.submit(spec));
    stage.step(stage.cancel(job));
    if (job % 100 != 0) continue;
    stage.turn();
    handed_in += stage.history.back().rows.specs.size();
    for (const SpecForgotten& row : stage.history.back().rows.specs_forgotten) {
      EXPECT_LE(row.newest.value, job);
      forgotten.push_back(row.id.value);
    }
    stage.history.clear();
  }
  EXPECT_EQ(handed_in, 8'200U);
  EXPECT_GE(forgotten.size(), 8'000U);
  // One of them comes again, under a number of its own.
  JobSpec spec = Stage::work();
  spec.name = "job 1";
  stage.turn({stage.submit(spec)});
  EXPECT_THAT(specs_in(stage.history.back()), ElementsAre(8'201));
}

}  // namespace
}  // namespace futured
