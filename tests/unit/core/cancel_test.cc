#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

StageSetup no_workers() { return {.workers_ready = false}; }

void tasks_known(Stage& stage) { stage.step(event::PoolReady{stage.scheduler->pool_named("default"), {"work"}}); }

// One job, offered and known to be taken.
void run_one(Stage& stage, const JobSpec& spec = Stage::work()) {
  stage.turn({stage.submit(spec)});
  stage.take(1, 1);
  stage.pass(milliseconds(10));
}

TEST(Cancel, AQueuedJobEndsAtOnce) {
  Stage stage(no_workers());
  tasks_known(stage);
  stage.turn({stage.submit(Stage::work(), 2)});
  EXPECT_THAT(stage.turn({stage.cancel(1)}), ElementsAre("cancelled 2: 1 CANCELLED"));
  EXPECT_EQ(stage.ending(1)->state, JobState::kCancelled);
  EXPECT_EQ(stage.ending(2), nullptr);
}

TEST(Cancel, AJobThatWaitsForItsRetryEndsAtOnce) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.max_attempts = 2;
  spec.backoff = seconds(5);
  stage.turn({stage.submit(spec)});
  stage.turn({stage.failed(1)});
  EXPECT_THAT(stage.turn({stage.cancel(1)}), ElementsAre("cancelled 2: 1 CANCELLED"));
  EXPECT_THAT(stage.pass(seconds(60)), IsEmpty());
}

TEST(Cancel, AnOfferIsFetchedBack) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 2)});
  EXPECT_THAT(stage.turn({stage.cancel(2)}), ElementsAre("revoke 2.1 slot 1"));
  EXPECT_THAT(stage.turn({stage.revoked(2, true)}), ElementsAre("cancelled 2: 2 CANCELLED"));
  EXPECT_EQ(stage.ending(2)->attempt, 0u);
}

TEST(Cancel, AJobTakenMeanwhileIsStopped) {
  Stage stage;
  stage.turn({stage.submit()});
  stage.turn({stage.cancel(1)});
  EXPECT_THAT(stage.turn({stage.revoked(1, false)}), ElementsAre("stop 1.1 slot 1"));
  EXPECT_EQ(stage.ending(1), nullptr);
  EXPECT_THAT(stage.turn({stage.failed(1)}), ElementsAre("cancelled 2: 1 CANCELLED"));
}

TEST(Cancel, ARunningJobIsAnsweredOnlyWhenNothingOfItIsLeft) {
  Stage stage;
  run_one(stage);
  EXPECT_THAT(stage.turn({stage.cancel(1)}), ElementsAre("stop 1.1 slot 1"));
  EXPECT_THAT(stage.pass(milliseconds(limits::kKillGraceMs)), ElementsAre("kill slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ended(1, 1)}), ElementsAre("start slot 1", "cancelled 2: 1 CANCELLED"));
  EXPECT_EQ(stage.ending(1)->state, JobState::kCancelled);
}

TEST(Cancel, TheCallerMayChooseTheGraceAndSayWhy) {
  Stage stage;
  run_one(stage);
  stage.turn({event::Cancel{++stage.token, {0}, JobId{1}, milliseconds(20), "not needed"}});
  EXPECT_THAT(stage.pass(milliseconds(19)), IsEmpty());
  EXPECT_THAT(stage.pass(milliseconds(1)), ElementsAre("kill slot 1"));
  stage.turn({stage.slot_ended(1, 1)});
  EXPECT_EQ(stage.ending(1)->cause->message, "cancelled: not needed");
}

TEST(Cancel, NoGraceCutsOneThatIsRunningShort) {
  Stage stage;
  run_one(stage);
  stage.turn({stage.cancel(1)});
  for (int i = 0; i < 1000; ++i) stage.step(event::Cancel{++stage.token, {0}, JobId{1}, Duration(0), ""});
  EXPECT_THAT(stage.pass(Duration(1)), ElementsAre("kill slot 1"));
  stage.scheduler->audit();
}

void cancel_within(Stage& stage, Duration grace) {
  stage.turn({event::Cancel{++stage.token, {0}, JobId{1}, grace, ""}});
}

TEST(Cancel, AShorterGraceCutsAStopUnderWayShortAndALongerOneChangesNothing) {
  Stage stage;
  run_one(stage);
  cancel_within(stage, seconds(10));
  cancel_within(stage, seconds(20));
  EXPECT_THAT(stage.pass(seconds(1)), IsEmpty());
  cancel_within(stage, milliseconds(50));
  for (int i = 0; i < 1000; ++i) stage.step(event::Cancel{++stage.token, {0}, JobId{1}, milliseconds(50), ""});
  EXPECT_THAT(stage.pass(milliseconds(49)), IsEmpty());
  EXPECT_THAT(stage.pass(milliseconds(1)), ElementsAre("kill slot 1"));
  stage.scheduler->audit();
}

TEST(Cancel, ItsGraceCutsThatOfASoftTimeoutShort) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.soft_timeout = seconds(1);
  spec.grace = seconds(60);
  run_one(stage, spec);
  EXPECT_THAT(stage.pass(seconds(1)), ElementsAre("stop 1.1 slot 1 softly"));
  cancel_within(stage, milliseconds(50));
  EXPECT_THAT(stage.pass(milliseconds(50)), ElementsAre("kill slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ended(1, 1)}), ElementsAre("start slot 1", "cancelled 2: 1 CANCELLED"));
}

TEST(Cancel, AStopUnderWayIsToldWithItsReasonAndItsEnd) {
  Stage stage;
  run_one(stage);
  EXPECT_EQ(stage.scheduler->live(JobId{1})->stop.why, Doom::kNone);
  const Instant asked = stage.now.at;
  stage.turn({event::Cancel{++stage.token, {0}, JobId{1}, seconds(20), "not needed"}});
  const LiveStop stop = stage.scheduler->live(JobId{1})->stop;
  EXPECT_EQ(stage.scheduler->live(JobId{1})->state, JobState::kRunning);
  EXPECT_EQ(stop.why, Doom::kCancel);
  EXPECT_EQ(stop.since, asked);
  EXPECT_EQ(stop.kill_at, asked + seconds(20));
  EXPECT_EQ(stop.reason, "not needed");
  EXPECT_FALSE(stop.is_killed);
  stage.pass(seconds(1));
  cancel_within(stage, milliseconds(50));
  EXPECT_EQ(stage.scheduler->live(JobId{1})->stop.kill_at, asked + seconds(1) + milliseconds(50));
  stage.pass(milliseconds(50));
  EXPECT_TRUE(stage.scheduler->live(JobId{1})->stop.is_killed);
}

TEST(Cancel, ASoftTimeoutIsToldAsAStopThatTheRunTimeoutEnds) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.soft_timeout = seconds(1);
  spec.run_timeout = seconds(3);
  spec.grace = seconds(60);
  run_one(stage, spec);
  const Instant taken = stage.scheduler->live(JobId{1})->taken_at;
  stage.pass(seconds(1));
  const LiveStop stop = stage.scheduler->live(JobId{1})->stop;
  EXPECT_EQ(stop.why, Doom::kSoftTimeout);
  EXPECT_EQ(stop.kill_at, taken + seconds(3));
}

TEST(Cancel, AJobThatWasFasterSaysSo) {
  Stage stage;
  run_one(stage);
  const Event done = stage.done(1);
  stage.pass(milliseconds(1));
  EXPECT_THAT(stage.turn({stage.cancel(1)}), ElementsAre("stop 1.1 slot 1"));
  EXPECT_THAT(stage.turn({done}), ElementsAre("cancelled 2: 1 SUCCEEDED"));
}

TEST(Cancel, AJobThatHadFailedBeforeItIsNotTriedAgain) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.max_attempts = 3;
  stage.turn({stage.submit(spec)});
  stage.take(1, 1);
  stage.pass(milliseconds(limits::kHeadCheckNs / 1'000'000));
  const Event failed = stage.failed(1);
  stage.pass(milliseconds(1));
  EXPECT_THAT(stage.turn({stage.cancel(1)}), ElementsAre("stop 1.1 slot 1"));
  EXPECT_THAT(stage.turn({failed}), ElementsAre("cancelled 2: 1 CANCELLED"));
  EXPECT_THAT(stage.pass(seconds(60)), IsEmpty());
}

TEST(Cancel, EveryAskerIsAnsweredOnce) {
  Stage stage;
  run_one(stage);
  EXPECT_THAT(stage.turn({stage.cancel(1), stage.cancel(1), stage.cancel(1)}), ElementsAre("stop 1.1 slot 1"));
  EXPECT_THAT(stage.turn({stage.failed(1)}),
              ElementsAre("cancelled 2: 1 CANCELLED", "cancelled 3: 1 CANCELLED", "cancelled 4: 1 CANCELLED"));
  EXPECT_THAT(stage.pass(seconds(60)), IsEmpty());
}

TEST(Cancel, WhoDoesNotWaitIsToldOfTheStopWithTheCommitThatKeepsIt) {
  Stage stage;
  run_one(stage);
  stage.rows();
  EXPECT_THAT(stage.turn({stage.hurried_cancel(1), stage.cancel(1)}),
              ElementsAre("stop 1.1 slot 1", "cancelled 2: 1 RUNNING"));
  EXPECT_THAT(stage.rows(), ElementsAre("cancel + 1"));
  EXPECT_THAT(stage.turn({stage.failed(1)}), ElementsAre("cancelled 3: 1 CANCELLED"));
  EXPECT_THAT(stage.rows(), ElementsAre("end 1 CANCELLED CANCELLED", "last attempt 1.1", "cancel - 1"));
}

TEST(Cancel, WhoDoesNotWaitIsToldOfAnEndThatComesAtOnce) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 2)});
  stage.rows();
  EXPECT_THAT(stage.turn({stage.hurried_cancel(2)}), ElementsAre("revoke 2.1 slot 1"));
  EXPECT_THAT(stage.turn({stage.revoked(2, true)}), ElementsAre("cancelled 2: 2 CANCELLED"));
  EXPECT_THAT(stage.rows(), ElementsAre("end 2 CANCELLED CANCELLED"));
}

TEST(Cancel, IsKeptOnceAndAgainOnlyWhenItChanges) {
  Stage stage;
  run_one(stage);
  stage.rows();
  stage.turn({stage.cancel(1)});
  EXPECT_THAT(stage.rows(), ElementsAre("cancel + 1"));
  stage.pass(milliseconds(1));
  EXPECT_THAT(stage.turn({stage.hurried_cancel(1)}), ElementsAre("cancelled 3: 1 RUNNING"));
  EXPECT_THAT(stage.rows(), IsEmpty());
  stage.turn({event::Cancel{++stage.token, {0}, JobId{1}, milliseconds(20), "too slow"}});
  EXPECT_THAT(stage.rows(), ElementsAre("cancel + 1: too slow"));
  const CancelRow& kept = stage.history.back().rows.cancels_added.back();
  EXPECT_EQ(kept.kill_at, stage.now.at + milliseconds(20));
}

TEST(Cancel, OfAJobThatIsBeingStoppedForATimeoutIsKeptToo) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.run_timeout = seconds(1);
  spec.max_attempts = 5;
  run_one(stage, spec);
  stage.pass(seconds(1));
  stage.rows();
  EXPECT_THAT(stage.turn({stage.hurried_cancel(1)}), ElementsAre("cancelled 2: 1 RUNNING"));
  EXPECT_THAT(stage.rows(), ElementsAre("cancel + 1"));
}

TEST(Cancel, OverrulesARunTimeoutThatWouldRetry) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.run_timeout = seconds(1);
  spec.max_attempts = 5;
  run_one(stage, spec);
  EXPECT_THAT(stage.pass(seconds(1)), ElementsAre("stop 1.1 slot 1"));
  EXPECT_THAT(stage.turn({stage.cancel(1)}), IsEmpty()) << "it is being stopped already";
  EXPECT_THAT(stage.turn({stage.failed(1)}), ElementsAre("cancelled 2: 1 CANCELLED"));
  EXPECT_EQ(stage.ending(1)->state, JobState::kCancelled);
}

TEST(Cancel, OverrulesAQueueTimeoutThatCameTooLate) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.queue_timeout = milliseconds(1);
  stage.turn({stage.submit(spec)});
  EXPECT_THAT(stage.pass(milliseconds(1)), ElementsAre("revoke 1.1 slot 1"));
  EXPECT_THAT(stage.turn({stage.cancel(1)}), IsEmpty()) << "it is being fetched back already";
  EXPECT_THAT(stage.turn({stage.revoked(1, false)}), ElementsAre("stop 1.1 slot 1"));
  EXPECT_THAT(stage.turn({stage.failed(1)}), ElementsAre("cancelled 2: 1 CANCELLED"));
}

TEST(Cancel, DuringAKillByAnotherJobIsAnsweredByTheEnd) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 2)});
  stage.turn({stage.cancel(2)});
  EXPECT_THAT(stage.turn({stage.slot_ended(1, 1)}), ElementsAre("start slot 1", "cancelled 2: 2 CANCELLED"));
}

TEST(Cancel, AnotherUsersJobIsRefused) {
  Stage stage;
  stage.turn({stage.submit()});
  EXPECT_THAT(stage.turn({stage.cancel(1, 1001)}), ElementsAre("refused 2: job 1 belongs to user 1000"));
  EXPECT_THAT(stage.turn({stage.cancel(1, 0)}), ElementsAre("revoke 1.1 slot 1")) << "root may";
}

// A stored job as a load brings it.
event::Loaded loaded(std::uint64_t id, JobState state, bool in_backlog = true) {
  event::Loaded loaded;
  loaded.asked = {JobId{id}};
  StoredJob job;
  job.id = JobId{id};
  job.spec = SpecId{1};
  job.owner = 1000;
  job.state = state;
  job.in_backlog = in_backlog;
  loaded.answer.jobs.push_back(job);
  loaded.answer.specs.push_back({SpecId{1}, Stage::work()});
  return loaded;
}

// A store with jobs 1..3 in the backlog; nothing is resident and no worker is there.
StageSetup backlog_of_three() {
  StageSetup setup;
  setup.workers_ready = false;
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 100;
  setup.snapshot.specs_until = 2;
  setup.snapshot.queues = {{QueueId{1}, "default"}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  setup.snapshot.backlog = {{QueueId{1}, PoolId{1}, 3}};
  return setup;
}

TEST(CancelAway, AJobOnDiskIsLoadedAndEnded) {
  Stage stage(backlog_of_three());
  EXPECT_THAT(stage.turn(), ElementsAre("claim after nothing"));
  EXPECT_THAT(stage.turn({stage.cancel(2), stage.cancel(2)}), ElementsAre("load 2")) << "one load serves both";
  EXPECT_THAT(stage.turn({loaded(2, JobState::kQueued)}),
              ElementsAre("cancelled 1: 2 CANCELLED", "cancelled 2: 2 CANCELLED"));
  EXPECT_THAT(stage.rows(), testing::IsSupersetOf({"end 2 CANCELLED CANCELLED", "backlog - 2"}));
  EXPECT_EQ(stage.scheduler->resident_jobs(), 0u);
}

TEST(CancelAway, AFinishedJobTellsHowItEnded) {
  Stage stage(backlog_of_three());
  stage.turn();
  stage.turn({stage.cancel(2)});
  EXPECT_THAT(stage.turn({loaded(2, JobState::kFailed)}), ElementsAre("cancelled 1: 2 FAILED"));
  EXPECT_EQ(stage.ending(2), nullptr);
}

TEST(CancelAway, AnUnknownJobIsRefusedByItsNumber) {
  Stage stage(backlog_of_three());
  stage.turn();
  EXPECT_THAT(stage.turn({stage.cancel(77)}), ElementsAre("load 77"));
  event::Loaded none;
  none.asked = {JobId{77}};
  EXPECT_THAT(stage.turn({none}), ElementsAre("refused 1: no job 77"));
  EXPECT_THAT(stage.turn({stage.cancel(100)}), ElementsAre("refused 2: no job 100")) << "never given out";
}

TEST(CancelAway, AnotherUsersJobStaysWhereItIs) {
  Stage stage(backlog_of_three());
  stage.turn();
  stage.turn({stage.cancel(2, 1001)});
  EXPECT_THAT(stage.turn({loaded(2, JobState::kQueued)}), ElementsAre("refused 1: job 2 belongs to user 1000"));
  EXPECT_EQ(stage.scheduler->resident_jobs(), 0u);
  EXPECT_EQ(stage.scheduler->lanes()[0].queued, 3u);
}

TEST(CancelAway, AJobThatCameInAndEndedBeforeTheLoadEndsOnce) {
  Stage stage(backlog_of_three());
  stage.turn();
  stage.turn({stage.cancel(2)});
  event::Claimed claimed;
  claimed.answer.claim = stage.claims[0];
  claimed.answer.jobs.push_back({{0, 2}, loaded(2, JobState::kQueued).answer.jobs[0]});
  claimed.answer.specs = {{SpecId{1}, Stage::work()}};
  tasks_known(stage);
  stage.turn({claimed, stage.slot_ready(1)});
  EXPECT_THAT(stage.turn({stage.done(2)}), ElementsAre("cancelled 1: 2 SUCCEEDED"));
  EXPECT_THAT(stage.turn({stage.cancel(2)}), ElementsAre("cancelled 2: 2 SUCCEEDED"));
  EXPECT_THAT(stage.turn({loaded(2, JobState::kQueued)}), IsEmpty());  // read before the end was committed
  EXPECT_EQ(std::ranges::count_if(stage.rows(), [](const auto& line) { return line.starts_with("end 2"); }), 1);
}

}  // namespace
}  // namespace futured
