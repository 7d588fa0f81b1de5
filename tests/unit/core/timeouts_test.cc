#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

JobSpec with_queue_timeout() {
  JobSpec spec = Stage::work();
  spec.queue_timeout = seconds(1);
  return spec;
}

// The job whose run_timeout is tested, taken by slot 1.
JobSpec with_run_timeout(std::uint32_t attempts = 1) {
  JobSpec spec = Stage::work();
  spec.run_timeout = seconds(10);
  spec.grace = seconds(2);
  spec.max_attempts = attempts;
  return spec;
}

void expect_timed_out(const Stage& stage, std::uint64_t job, CauseKind cause) {
  ASSERT_NE(stage.ending(job), nullptr);
  EXPECT_EQ(stage.ending(job)->state, JobState::kTimedOut);
  EXPECT_EQ(stage.ending(job)->cause->kind, cause);
}

TEST(QueueTimeout, EndsAJobThatWaitsTooLong) {
  Stage stage({.workers_ready = false});
  stage.step(event::PoolReady{stage.scheduler->pool_named("default"), {"work"}});
  stage.turn({stage.submit(with_queue_timeout())});
  EXPECT_THAT(stage.pass(milliseconds(999)), IsEmpty());
  EXPECT_EQ(stage.ending(1), nullptr);
  EXPECT_THAT(stage.pass(milliseconds(1)), IsEmpty());
  expect_timed_out(stage, 1, CauseKind::kQueueTimeout);
  EXPECT_EQ(stage.ending(1)->attempt, 0u);
}

TEST(QueueTimeout, AnOfferIsFetchedBackAndEndsTheJob) {
  Stage stage;
  stage.turn({stage.submit(), stage.submit(with_queue_timeout())});
  stage.take(1, 1);
  EXPECT_THAT(stage.pass(milliseconds(999)), ElementsAre("revoke 2.1 slot 1"));  // head check
  stage.turn({stage.revoked(2, true)});
  EXPECT_THAT(stage.pass(seconds(1)), IsEmpty());
  expect_timed_out(stage, 2, CauseKind::kQueueTimeout);
}

TEST(QueueTimeout, AnOfferTakenInTimeGoesOn) {
  Stage stage;
  stage.turn({stage.submit(with_queue_timeout())});
  stage.pass(milliseconds(6));
  EXPECT_THAT(stage.turn({stage.nothing_taken(1)}), IsEmpty());
  const Lines lines = stage.pass(seconds(1));
  EXPECT_THAT(lines, testing::Contains("revoke 1.1 slot 1"));
  EXPECT_THAT(stage.turn({stage.revoked(1, false)}), IsEmpty());
  stage.turn({stage.done(1)});
  EXPECT_EQ(stage.ending(1)->state, JobState::kSucceeded);
}

TEST(QueueTimeout, ADoneThatOvertakesTheRevokeCounts) {
  Stage stage;
  stage.turn({stage.submit(with_queue_timeout())});
  stage.pass(seconds(2));
  stage.turn({stage.done(1)});
  EXPECT_EQ(stage.ending(1)->state, JobState::kSucceeded);
}

TEST(QueueTimeout, ADeathOfItsWorkerWhileItRunsIsACrash) {
  Stage stage;
  stage.turn({stage.submit(with_queue_timeout())});
  stage.pass(seconds(2));  // a revoke is under way
  stage.turn({stage.slot_ended(1, 1)});
  EXPECT_EQ(stage.ending(1), nullptr);
  EXPECT_THAT(stage.attempts(1), ElementsAre("1 WORKER_CRASHED"));
}

TEST(QueueTimeout, DoesNotReachLaterAttempts) {
  Stage stage;
  JobSpec spec = with_queue_timeout();
  spec.max_attempts = 2;
  spec.backoff = seconds(5);
  stage.turn({stage.submit(spec)});
  stage.turn({stage.failed(1)});
  stage.pass(seconds(20));
  EXPECT_EQ(stage.ending(1), nullptr);
}

TEST(QueueTimeout, StillHoldsForAnAtMostOnceJobThatCameBack) {
  Stage stage;
  JobSpec spec = with_queue_timeout();
  spec.at_most_once = true;
  stage.turn({stage.submit(spec)});
  stage.turn({stage.slot_ended(1)});  // before it was taken
  stage.pass(seconds(2));
  expect_timed_out(stage, 1, CauseKind::kQueueTimeout);
}

TEST(RunTimeout, AsksThenKillsThenEnds) {
  Stage stage;
  stage.turn({stage.submit(with_run_timeout())});
  stage.take(1, 1);
  EXPECT_THAT(stage.pass(seconds(10) - milliseconds(1)), IsEmpty());
  EXPECT_THAT(stage.pass(milliseconds(1)), ElementsAre("stop 1.1 slot 1"));
  EXPECT_THAT(stage.pass(milliseconds(1999)), IsEmpty());
  EXPECT_THAT(stage.pass(milliseconds(1)), ElementsAre("kill slot 1"));
  EXPECT_EQ(stage.ending(1), nullptr) << "it ends when nothing of it is left";
  EXPECT_THAT(stage.turn({stage.slot_ended(1, 1)}), ElementsAre("start slot 1"));
  expect_timed_out(stage, 1, CauseKind::kRunTimeout);
}

TEST(RunTimeout, AJobThatObeysEndsWithoutAKill) {
  Stage stage;
  stage.turn({stage.submit(with_run_timeout())});
  stage.take(1, 1);
  stage.pass(milliseconds(5));
  EXPECT_THAT(stage.pass(seconds(10)), ElementsAre("stop 1.1 slot 1"));
  stage.turn({stage.failed(1)});
  expect_timed_out(stage, 1, CauseKind::kRunTimeout);
  EXPECT_THAT(stage.pass(seconds(60)), IsEmpty());
}

TEST(RunTimeout, CountsFromTheTakingNotFromTheSubmit) {
  Stage stage;
  stage.turn({stage.submit(with_run_timeout(), 2)});
  stage.take(1, 1);
  EXPECT_THAT(stage.pass(seconds(9)), ElementsAre("revoke 2.1 slot 1"));
  stage.turn({stage.revoked(2, true)});
  EXPECT_THAT(stage.turn({stage.done(1)}), ElementsAre("offer 2.1 slot 1"));
  stage.take(1, 2);
  EXPECT_THAT(stage.pass(seconds(9)), IsEmpty());
  EXPECT_THAT(stage.pass(seconds(1)), ElementsAre("stop 2.1 slot 1"));
}

TEST(RunTimeout, AnAttemptThatFinishedInTimeCountsEvenIfTheReportIsLate) {
  Stage stage;
  stage.turn({stage.submit(with_run_timeout())});
  stage.take(1, 1);
  stage.pass(milliseconds(5));
  stage.pass(seconds(9));
  const Event in_time = stage.done(1);
  EXPECT_THAT(stage.pass(seconds(1)), ElementsAre("stop 1.1 slot 1"));
  stage.turn({in_time});
  EXPECT_EQ(stage.ending(1)->state, JobState::kSucceeded);
}

TEST(RunTimeout, IsOfOneAttemptTheJobGoesOn) {
  Stage stage;
  stage.turn({stage.submit(with_run_timeout(2))});
  stage.take(1, 1);
  stage.pass(milliseconds(5));
  stage.pass(seconds(10));
  EXPECT_THAT(stage.turn({stage.failed(1)}), ElementsAre("offer 1.2 slot 1"));
  EXPECT_THAT(stage.attempts(1), ElementsAre("1 RUN_TIMEOUT"));
  stage.take(1, 1);
  EXPECT_THAT(stage.pass(seconds(1)), IsEmpty()) << "the first attempt's grace is over and done";
}

TEST(RunTimeout, HoldsForAJobTakenWhileTheHeadBeforeItWasLookedAt) {
  Stage stage;
  stage.turn({stage.submit(with_run_timeout(), 2)});
  stage.take(1, 1);
  EXPECT_THAT(stage.pass(milliseconds(5)), ElementsAre("revoke 2.1 slot 1"));
  stage.turn({stage.revoked(2, false)});  // the worker was faster
  stage.turn({stage.done(1)});
  stage.take(1, 2);
  EXPECT_THAT(stage.pass(seconds(10)), ElementsAre("stop 2.1 slot 1"));
}

TEST(RunTimeout, HoldsForAJobTakenWhileItsQueueTimeoutFetchedItBack) {
  Stage stage;
  JobSpec spec = with_run_timeout();
  spec.queue_timeout = milliseconds(4);
  stage.turn({stage.submit(spec)});
  stage.take(1, 1);
  EXPECT_THAT(stage.pass(milliseconds(5)), ElementsAre("revoke 1.1 slot 1"));
  stage.turn({stage.revoked(1, false)});
  EXPECT_THAT(stage.pass(seconds(10)), ElementsAre("stop 1.1 slot 1"));
}

TEST(TotalTimeout, EndsAWaitingJob) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.total_timeout = seconds(3);
  spec.max_attempts = 5;
  spec.backoff = seconds(2);
  stage.turn({stage.submit(spec)});
  stage.turn({stage.failed(1)});
  EXPECT_THAT(stage.pass(seconds(2)), testing::Contains("offer 1.2 slot 1"));
  stage.turn({stage.failed(1)});
  EXPECT_THAT(stage.pass(seconds(1)), IsEmpty());
  expect_timed_out(stage, 1, CauseKind::kTotalTimeout);
  EXPECT_THAT(stage.pass(seconds(60)), IsEmpty());
}

TEST(TotalTimeout, StopsARunningJobAndItIsNotTriedAgain) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.total_timeout = seconds(3);
  spec.max_attempts = 5;
  stage.turn({stage.submit(spec)});
  stage.take(1, 1);
  stage.pass(milliseconds(5));
  EXPECT_THAT(stage.pass(seconds(3)), ElementsAre("stop 1.1 slot 1"));
  stage.turn({stage.failed(1)});
  expect_timed_out(stage, 1, CauseKind::kTotalTimeout);
}

TEST(TotalTimeout, OverrulesARunTimeoutThatWouldRetry) {
  Stage stage;
  JobSpec spec = with_run_timeout(5);
  spec.total_timeout = seconds(11);  // in the grace of the run_timeout
  stage.turn({stage.submit(spec)});
  stage.take(1, 1);
  stage.pass(milliseconds(5));
  stage.pass(milliseconds(11'500));
  stage.turn({stage.failed(1)});
  expect_timed_out(stage, 1, CauseKind::kTotalTimeout);
}

TEST(Timers, ThoseOfFinishedJobsAreSweptAway) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.total_timeout = std::chrono::hours(24);
  for (std::uint64_t job = 1; job <= 20'000; ++job) {
    stage.step(stage.submit(spec));
    stage.turn();
    stage.step(stage.done(job));
    stage.history.clear();
  }
  std::size_t fired = 0;
  while (stage.scheduler->next_timer() < Instant::never() && fired < 20'000) {
    stage.now.at = std::max(stage.now.at, stage.scheduler->next_timer());
    stage.scheduler->step(event::TimerDue{}, stage.now, stage.effects);
    ++fired;
  }
  EXPECT_LT(fired, 10'000u) << "the heap stays near what is alive";
}

}  // namespace
}  // namespace futured
