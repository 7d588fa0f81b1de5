#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(Fence, LateFinisherChangesNothing) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.max_attempts = 3;
  stage.turn({stage.submit(spec)});
  const Event late = stage.done(1);
  stage.turn({stage.failed(1)});
  stage.rows();
  EXPECT_THAT(stage.turn({late}), IsEmpty());
  EXPECT_THAT(stage.rows(), IsEmpty());
  EXPECT_EQ(stage.scheduler->live(JobId{1})->attempt, 2u);
}

TEST(Fence, AReportTwiceCountsOnce) {
  Stage stage;
  stage.turn({stage.submit()});
  const Event done = stage.done(1);
  stage.turn({done, done});
  EXPECT_THAT(stage.turn({done}), IsEmpty());
  EXPECT_THAT(stage.rows(), ElementsAre("spec 1", "job 1", "end 1 SUCCEEDED"));
}

TEST(Fence, AReportFromAnotherSlotOrAnUnknownJobChangesNothing) {
  Stage stage({.pools = {{"default", false, 2}}});
  stage.turn({stage.submit()});
  stage.rows();
  EXPECT_THAT(stage.turn({stage.done_of(2, 1, 1), stage.done_of(1, 77, 1), stage.done_of(99, 1, 1)}), IsEmpty());
  EXPECT_THAT(stage.rows(), IsEmpty());
}

TEST(Retry, AFailureIsTriedAgainUntilTheAttemptsAreSpent) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.max_attempts = 3;
  stage.turn({stage.submit(spec)});
  EXPECT_THAT(stage.turn({stage.failed(1)}), ElementsAre("offer 1.2 slot 1"));
  EXPECT_THAT(stage.turn({stage.failed(1)}), ElementsAre("offer 1.3 slot 1"));
  EXPECT_THAT(stage.turn({stage.failed(1)}), IsEmpty());
  EXPECT_THAT(stage.rows(), ElementsAre("spec 1", "job 1", "attempt 1.1 TASK_ERROR", "attempt 1.2 TASK_ERROR",
                                        "end 1 FAILED TASK_ERROR", "last attempt 1.3"));
  EXPECT_EQ(stage.ending(1)->attempt, 3u);
}

TEST(Retry, DoNotRetryEndsTheJobAtOnce) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.max_attempts = 3;
  stage.turn({stage.submit(spec)});
  EXPECT_THAT(stage.turn({stage.done(1, event::DoneStatus::kFailed, true)}), IsEmpty());
  EXPECT_EQ(stage.ending(1)->state, JobState::kFailed);
}

TEST(Retry, DelaysGrowByTheFactorUpToTheirBound) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.max_attempts = 5;
  spec.backoff = milliseconds(100);
  spec.backoff_factor = 3;
  spec.backoff_max = milliseconds(500);
  stage.turn({stage.submit(spec)});
  std::uint32_t attempt = 1;
  for (const int delay_ms : {100, 300, 500, 500}) {
    EXPECT_THAT(stage.turn({stage.failed(1)}), IsEmpty());
    EXPECT_EQ(stage.scheduler->live(JobId{1})->state, JobState::kScheduled);
    EXPECT_THAT(stage.pass(milliseconds(delay_ms) - Duration(1)), IsEmpty()) << delay_ms;
    EXPECT_THAT(stage.pass(Duration(1)), ElementsAre("offer 1." + std::to_string(++attempt) + " slot 1")) << delay_ms;
  }
}

TEST(Retry, JitterSpreadsTheDelayByAtMostItsShareToEachSide) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.max_attempts = 2;
  spec.backoff = seconds(100);
  spec.jitter = 0.5;
  Duration least = seconds(1000);
  Duration most{0};
  for (std::uint64_t job = 1; job <= 200; ++job) {
    stage.turn({stage.submit(spec)});
    const Instant failed_at = stage.now.at;
    stage.turn({stage.failed(job)});
    while (stage.scheduler->live(JobId{job})->state == JobState::kScheduled) {
      stage.pass(stage.scheduler->next_timer() - stage.now.at);
    }
    least = std::min(least, stage.now.at - failed_at);
    most = std::max(most, stage.now.at - failed_at);
    stage.turn({stage.done(job)});
  }
  EXPECT_GE(least, seconds(50));
  EXPECT_LE(most, seconds(150));
  EXPECT_LT(least, seconds(60)) << "the jitter must be spread over its share";
  EXPECT_GT(most, seconds(140));
}

TEST(Crash, AWorkerThatDiesBeforeTakingCostsNothing) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 2)});
  EXPECT_THAT(stage.turn({stage.slot_ended(1)}), ElementsAre("start slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ready(1)}), ElementsAre("offer 1.1 slot 1", "offer 2.1 slot 1"));
  EXPECT_THAT(stage.attempts(1), IsEmpty());
}

TEST(Crash, AWorkerThatDiesInAJobSpendsTheCrashBudgetNotTheAttempts) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 2)});  // max_attempts is 1
  EXPECT_THAT(stage.turn({stage.slot_ended(1, 1)}), ElementsAre("start slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ready(1)}), ElementsAre("offer 1.2 slot 1", "offer 2.1 slot 1"));
  EXPECT_THAT(stage.attempts(1), ElementsAre("1 WORKER_CRASHED"));
  stage.turn({stage.done(1)});
  EXPECT_EQ(stage.ending(1)->state, JobState::kSucceeded);
  EXPECT_EQ(stage.ending(1)->attempt, 2u);
}

TEST(Crash, AJobThatKillsItsWorkersIsGivenUp) {
  Stage stage;
  stage.turn({stage.submit()});
  for (std::uint32_t crash = 1; crash <= limits::kCrashesDefault; ++crash) {
    ASSERT_EQ(stage.ending(1), nullptr);
    stage.turn({stage.slot_ended(1, 1)});
    stage.turn({stage.slot_ready(1)});
  }
  ASSERT_NE(stage.ending(1), nullptr);
  EXPECT_EQ(stage.ending(1)->state, JobState::kFailed);
  EXPECT_EQ(stage.ending(1)->cause->kind, CauseKind::kQuarantined);
}

TEST(Crash, WorkersThatDieInARowAreStartedMoreAndMoreSlowly) {
  Stage stage;
  EXPECT_THAT(stage.turn({stage.slot_ended(1)}), ElementsAre("start slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ended(1)}), IsEmpty());
  const Instant first = stage.scheduler->next_timer();
  EXPECT_GT(first, stage.now.at);
  EXPECT_THAT(stage.pass(first - stage.now.at), ElementsAre("start slot 1"));
  const Duration wait = first - stage.now.at;
  EXPECT_THAT(stage.turn({stage.slot_ended(1)}), IsEmpty());
  EXPECT_GT(stage.scheduler->next_timer() - stage.now.at, wait);
}

TEST(Crash, TheEndOfAnEarlierWorkerSaysNothingOfThisOne) {
  Stage stage;
  const Event old = stage.slot_ended(1);
  stage.turn({old});
  stage.turn({stage.slot_ready(1)});
  stage.turn({stage.submit()});
  EXPECT_THAT(stage.turn({old}), IsEmpty());
  stage.turn({stage.done(1)});
  EXPECT_EQ(stage.ending(1)->state, JobState::kSucceeded);
}

JobSpec once() {
  JobSpec spec = Stage::work();
  spec.at_most_once = true;
  spec.max_attempts = 5;
  return spec;
}

TEST(AtMostOnce, TheStartIsCommittedBeforeTheOffer) {
  Stage stage;
  EXPECT_THAT(stage.turn({stage.submit(once())}), ElementsAre("accepted 1: 1 x1", "committed offer 1.1 slot 1"));
  EXPECT_THAT(stage.rows(), ElementsAre("spec 1", "job 1", "start 1.1"));
}

TEST(AtMostOnce, ItsWorkersEndLeavesOpenWhetherItRan) {
  Stage stage;
  stage.turn({stage.submit(once())});
  stage.take(1, 1);
  stage.pass(milliseconds(10));
  stage.turn({stage.slot_ended(1, 1)});
  ASSERT_NE(stage.ending(1), nullptr);
  EXPECT_EQ(stage.ending(1)->state, JobState::kFailed);
  EXPECT_EQ(stage.ending(1)->cause->kind, CauseKind::kMayHaveRun);
}

TEST(AtMostOnce, ItsWorkersEndForAnothersSakeDoes) {
  Stage stage({.pools = {{.name = "default", .slots = 1, .tasks = {"work"}, .runs_per_slot = 8}}});
  stage.turn({stage.submit(once()), stage.submit()});
  const auto run_of = [&](std::uint64_t job) {
    return event::Taken::Run{{JobId{job}, stage.scheduler->live(JobId{job})->epoch, 1}, stage.now.at};
  };
  stage.turn({event::Taken{SlotId{1}, {run_of(1), run_of(2)}}});
  stage.turn({stage.slot_ended(1, 2)});
  ASSERT_NE(stage.ending(1), nullptr);
  EXPECT_EQ(stage.ending(1)->cause->kind, CauseKind::kMayHaveRun);
  EXPECT_EQ(stage.ending(2), nullptr);
}

TEST(AtMostOnce, NothingIsOfferedBesideIt) {
  Stage stage;
  EXPECT_THAT(stage.turn({stage.submit(once(), 2), stage.submit()}),
              ElementsAre("accepted 1: 1 x2", "accepted 2: 3 x1", "committed offer 1.1 slot 1"));
  EXPECT_THAT(stage.turn({stage.done(1)}), ElementsAre("committed offer 2.1 slot 1"));
  EXPECT_THAT(stage.turn({stage.done(2)}), ElementsAre("offer 3.1 slot 1"));
}

TEST(AtMostOnce, ItWaitsForASlotOfItsOwnWhileOthersGoOn) {
  Stage stage({.queues = {{"busy"}}});
  stage.turn({stage.submit(Stage::in_queue("busy"), 1)});
  EXPECT_THAT(stage.turn({stage.submit(once())}), ElementsAre("accepted 2: 2 x1"));
  EXPECT_THAT(stage.turn({stage.done(1)}), ElementsAre("committed offer 2.1 slot 1"));
}

TEST(AtMostOnce, ABusyNeighbourQueueDoesNotStarveIt) {
  Stage stage({.queues = {{"busy"}}});
  stage.turn({stage.submit(Stage::in_queue("busy"), 200)});
  stage.turn({stage.submit(once())});
  std::uint64_t done = 0;
  while (stage.ending(201) == nullptr && done < 150) {
    stage.turn({stage.done(++done)});
    if (!stage.history.back().offers_after_commit.empty()) return;
  }
  FAIL() << "150 jobs of the neighbour went first";
}

TEST(AtMostOnce, AFailureOrACrashIsNotTriedAgain) {
  Stage stage;
  stage.turn({stage.submit(once(), 2)});
  stage.turn({stage.failed(1)});
  EXPECT_EQ(stage.ending(1)->state, JobState::kFailed);
  stage.turn({stage.slot_ended(1, 2)});
  EXPECT_EQ(stage.ending(2)->state, JobState::kFailed);
  EXPECT_EQ(stage.ending(2)->cause->kind, CauseKind::kMayHaveRun);
}

TEST(AtMostOnce, AnOfferThatWasNotTakenMayGoElsewhereUnderANewFence) {
  Stage stage;
  stage.turn({stage.submit(once())});
  stage.turn({stage.slot_ended(1)});
  stage.rows();
  EXPECT_THAT(stage.turn({stage.slot_ready(1)}), ElementsAre("committed offer 1.2 slot 1"));
  EXPECT_THAT(stage.rows(), ElementsAre("start 1.2"));
}

}  // namespace
}  // namespace futured
