#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

StageSetup slots(std::uint32_t count) { return {.pools = {{"default", false, count}}}; }

JobSpec command() {
  JobSpec spec;
  spec.task.clear();
  return spec;
}

// A job that took so long until now.
Event done_after(Stage& stage, std::uint64_t job, Duration length) {
  stage.now.at = stage.now.at + length;
  event::Done done = std::get<event::Done>(stage.done(job));
  done.started_at = stage.now.at + -length;
  return done;
}

TEST(Dispatch, NothingIsOfferedToASlotThatIsNotReady) {
  Stage stage({.workers_ready = false});
  stage.step(event::PoolReady{stage.scheduler->pool_named("default"), {"work"}});
  EXPECT_THAT(stage.turn({stage.submit()}), ElementsAre("accepted 1: 1 x1"));
  EXPECT_THAT(stage.turn({stage.slot_ready(1)}), ElementsAre("offer 1.1 slot 1"));
}

TEST(Dispatch, NothingIsOfferedBeforeTheTasksAreKnown) {
  StageSetup setup;
  setup.workers_ready = false;
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 100;
  setup.snapshot.specs_until = 2;
  setup.snapshot.queues = {{QueueId{1}, "default"}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  setup.snapshot.resident.push_back({.id = JobId{5}, .spec = SpecId{1}});
  setup.snapshot.specs.push_back({SpecId{1}, Stage::work()});
  Stage stage(std::move(setup));
  EXPECT_THAT(stage.turn({stage.slot_ready(1)}), IsEmpty());
  EXPECT_THAT(stage.turn({event::PoolReady{PoolId{1}, {"work"}}}), ElementsAre("offer 5.1 slot 1"));
}

TEST(Dispatch, WorkIsSpreadOverIdleSlots) {
  Stage stage(slots(2));
  EXPECT_THAT(stage.turn({stage.submit(Stage::work(), 2)}),
              ElementsAre("offer 1.1 slot 1", "offer 2.1 slot 2", "accepted 1: 1 x2"));
}

Event reloaded(const Stage& stage) {
  return event::PoolReady{stage.scheduler->pool_named("default"), {"other", "work"}, true};
}

TEST(Dispatch, AReloadReplacesAWorkerOnceItHasNothingToDo) {
  Stage stage(slots(2));
  stage.turn({stage.submit(Stage::work(), 2)});
  stage.turn({stage.head(1, 1), stage.head(2, 2)});
  EXPECT_THAT(stage.turn({reloaded(stage)}), IsEmpty()) << "both run";
  EXPECT_THAT(stage.turn({stage.submit()}), ElementsAre("accepted 2: 3 x1")) << "it waits for the new tasks";
  EXPECT_THAT(stage.turn({stage.done(1)}), ElementsAre("kill slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ended(1, 1)}), ElementsAre("start slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ready(1)}), ElementsAre("offer 3.1 slot 1"));
  EXPECT_THAT(stage.turn({stage.done(2)}), ElementsAre("kill slot 2"));
}

TEST(Dispatch, AReloadTakesBackWhatNobodyHasTaken) {
  Stage stage(slots(1));
  stage.turn({stage.submit(Stage::work(), 2)});
  stage.turn({stage.head(1, 1)});
  EXPECT_THAT(stage.turn({reloaded(stage)}), ElementsAre("revoke 2.1 slot 1"));
}

TEST(Dispatch, CommandsGetOneOfferEachUntilTheirLengthIsKnown) {
  Stage stage({.pools = {{"command", true, 2}}});
  EXPECT_THAT(stage.turn({stage.submit(command(), 5)}),
              ElementsAre("offer 1.1 slot 1", "offer 2.1 slot 2", "accepted 1: 1 x5"));
  EXPECT_THAT(stage.turn({done_after(stage, 2, milliseconds(10))}), ElementsAre("offer 3.1 slot 2"));
  EXPECT_THAT(stage.turn({done_after(stage, 1, milliseconds(1))}), ElementsAre("offer 4.1 slot 1", "offer 5.1 slot 1"));
}

TEST(Dispatch, APoolGetsOnlyItsOwnJobs) {
  Stage stage({.pools = {{"default", false, 1}, {"command", true, 1}}});
  EXPECT_THAT(stage.turn({stage.submit(command()), stage.submit()}),
              ElementsAre("offer 2.1 slot 1", "offer 1.1 slot 2", "accepted 1: 1 x1", "accepted 2: 2 x1"));
}

TEST(Credit, GrowsForShortJobsAndShrinksForLongOnes) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 2000)});
  const auto offers = [&] { return stage.scheduler->slots()[0].offers; };
  EXPECT_EQ(offers(), 2u) << "nothing is known yet";
  std::uint64_t next = 1;
  const auto run = [&](int jobs, Duration length) {
    for (int i = 0; i < jobs; ++i, ++next) {
      stage.turn({done_after(stage, next, length)});
    }
  };
  run(50, microseconds(10));
  const auto ahead = static_cast<std::size_t>(limits::kCreditNs / 10'000);
  EXPECT_GT(offers(), ahead / 2);
  EXPECT_LE(offers(), ahead + ahead / 10) << "about the credit's worth of work";
  run(600, 2 * Duration(limits::kCreditNs));
  EXPECT_EQ(offers(), 1u);
}

TEST(Slack, IsWhatEveryBusyWorkerHasToDoBeyondItsJobWhileMoreWaits) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 6)});
  EXPECT_EQ(stage.scheduler->slack(), Duration(0)) << "nothing is known yet";
  stage.turn({done_after(stage, 1, milliseconds(2))});
  ASSERT_EQ(stage.scheduler->slots()[0].offers, 3u);
  EXPECT_EQ(stage.scheduler->slack(), milliseconds(4));
  stage.turn({done_after(stage, 2, milliseconds(2))});
  stage.turn({done_after(stage, 3, milliseconds(2))});
  ASSERT_EQ(stage.scheduler->slots()[0].offers, 3u);
  EXPECT_EQ(stage.scheduler->slack(), Duration(0)) << "these are the last";
}

TEST(Credit, IsBoundedWhateverAWorkerClaims) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 10'000)});
  for (std::uint64_t job = 1; job <= 200; ++job) stage.turn({stage.done(job)});  // of no length at all
  EXPECT_LE(stage.scheduler->slots()[0].offers, limits::kOffersPerSlotMax);
}

TEST(Head, ALongJobLosesWhatWaitsBehindIt) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 2)});
  EXPECT_THAT(stage.pass(milliseconds(5)), ElementsAre("inspect slot 1"));
  EXPECT_THAT(stage.turn({stage.head(1, 1, milliseconds(5))}), ElementsAre("revoke 2.1 slot 1"));
  EXPECT_THAT(stage.turn({stage.revoked(2, true)}), IsEmpty()) << "it waits for room";
  EXPECT_THAT(stage.turn({stage.done(1)}), ElementsAre("offer 2.1 slot 1"));
}

TEST(Head, WhatComesBackGoesToASlotThatIsFree) {
  Stage stage(slots(2));
  stage.turn({stage.submit(Stage::work(), 4)});
  ASSERT_EQ(stage.scheduler->live(JobId{2})->slot, SlotId{1}) << "behind job 1";
  stage.turn({stage.done(3), stage.done(4)});
  stage.pass(milliseconds(5));
  EXPECT_THAT(stage.turn({stage.head(1, 1, milliseconds(5))}), ElementsAre("revoke 2.1 slot 1"));
  EXPECT_THAT(stage.turn({stage.revoked(2, true)}), ElementsAre("offer 2.1 slot 2"));
}

TEST(Head, AJobThatJustBeganIsLookedAtAgainLater) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 2)});
  EXPECT_THAT(stage.pass(milliseconds(5)), ElementsAre("inspect slot 1"));
  EXPECT_THAT(stage.turn({stage.head(1, 1)}), IsEmpty());
  EXPECT_THAT(stage.pass(milliseconds(5)), ElementsAre("inspect slot 1"));
}

TEST(Head, ASlotThatGoesOnIsNotLookedAt) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 100)});
  for (std::uint64_t job = 1; job <= 20; ++job) {
    EXPECT_THAT(stage.pass(milliseconds(2)), IsEmpty());
    stage.turn({stage.done(job)});
  }
}

TEST(Head, AnIdleSlotIsNotLookedAt) {
  Stage stage;
  stage.turn({stage.submit()});
  stage.turn({stage.done(1)});
  EXPECT_THAT(stage.pass(seconds(10)), IsEmpty());
}

TEST(Head, WhatAWorkerSaysOfAnotherFenceChangesNothing) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 2)});
  stage.pass(milliseconds(5));
  EXPECT_THAT(stage.turn({event::Head{SlotId{1}, Fence{JobId{99}, Epoch{1}, 1}, stage.now.at}}), IsEmpty());
  EXPECT_THAT(stage.turn({event::Head{SlotId{99}, std::nullopt, stage.now.at}}), IsEmpty());
  EXPECT_TRUE(stage.scheduler->running().empty());
}

// Its ring was full, what it held was fetched back, and the answer about its head came after that.
TEST(Head, ASlotThatWasFullAndHasNothingLeftIsUsedAgain) {
  StageSetup setup;
  setup.pools[0].slots = 1;
  Stage stage(std::move(setup));
  stage.turn({stage.submit(Stage::work(), 2)});
  stage.step(event::OfferRefused{SlotId{1}, Fence{JobId{2}, Epoch{1}, 1}});
  stage.step(stage.cancel(1));
  EXPECT_THAT(stage.turn({stage.revoked(1, true)}), ElementsAre("revoke 1.1 slot 1", "cancelled 2: 1 CANCELLED"));
  EXPECT_THAT(stage.turn({stage.nothing_taken(1)}), ElementsAre("offer 2.1 slot 1"));
}

TEST(Head, AWorkerThatTakesNothingIsKilledAndItsJobsRunElsewhere) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 2)});
  int looks = 0;
  Lines lines;
  for (const Instant begin = stage.now.at; stage.now.at < begin + seconds(6);) {
    lines = stage.pass(milliseconds(1));
    if (lines.empty()) continue;
    if (lines != Lines{"inspect slot 1"}) break;
    ++looks;
    lines = stage.turn({stage.nothing_taken(1)});
    if (!lines.empty()) break;
  }
  EXPECT_THAT(lines, ElementsAre("kill slot 1"));
  EXPECT_LE(looks, 20) << "it is looked at ever more seldom";
  EXPECT_THAT(stage.turn({stage.slot_ended(1)}), Contains("start slot 1"));
  EXPECT_THAT(stage.attempts(1), ElementsAre("1 WORKER_CRASHED"));
  EXPECT_THAT(stage.attempts(2), IsEmpty());
  EXPECT_THAT(stage.turn({stage.slot_ready(1)}), ElementsAre("offer 1.2 slot 1", "offer 2.1 slot 1"));
}

TEST(Figures, TellWhatRunsAndWhatWaits) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 5)});
  stage.pass(milliseconds(5));
  stage.turn({stage.head(1, 1)});
  const auto lanes = stage.scheduler->lanes();
  ASSERT_EQ(lanes.size(), 1u);
  EXPECT_EQ(lanes[0].queued, 3u);
  EXPECT_EQ(lanes[0].running, 2u);
  ASSERT_EQ(stage.scheduler->running().size(), 1u);
  EXPECT_EQ(stage.scheduler->running()[0].id, JobId{1});
  EXPECT_FALSE(stage.scheduler->idle());
}

}  // namespace
}  // namespace futured
