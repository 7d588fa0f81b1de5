// The timeouts of one attempt besides run_timeout: soft_timeout and heartbeat_timeout.
#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

JobSpec with_soft_timeout(std::uint32_t attempts = 1) {
  JobSpec spec = Stage::work();
  spec.soft_timeout = seconds(10);
  spec.grace = seconds(2);
  spec.max_attempts = attempts;
  return spec;
}

JobSpec with_heartbeat_timeout(std::uint32_t attempts = 1) {
  JobSpec spec = Stage::work();
  spec.heartbeat_timeout = seconds(3);
  spec.max_attempts = attempts;
  return spec;
}

// One job of this spec, taken by slot 1 and known to be.
void run_one(Stage& stage, const JobSpec& spec) {
  stage.turn({stage.submit(spec)});
  stage.take(1, 1);
  stage.pass(milliseconds(5));
}

void expect_end(const Stage& stage, JobState state, CauseKind cause) {
  ASSERT_NE(stage.ending(1), nullptr);
  EXPECT_EQ(stage.ending(1)->state, state);
  EXPECT_EQ(stage.ending(1)->cause ? stage.ending(1)->cause->kind : CauseKind::kNone, cause);
}

TEST(SoftTimeout, AsksInItsTimeAndAJobThatStopsHasTimedOut) {
  Stage stage;
  run_one(stage, with_soft_timeout());
  EXPECT_THAT(stage.pass(milliseconds(9'994)), IsEmpty());
  EXPECT_THAT(stage.pass(milliseconds(1)), ElementsAre("stop 1.1 slot 1 softly"));
  stage.turn({stage.failed(1)});
  expect_end(stage, JobState::kTimedOut, CauseKind::kSoftTimeout);
  EXPECT_EQ(stage.ending(1)->cause->message, "stopped when its soft_timeout asked it to");
  EXPECT_THAT(stage.pass(seconds(60)), IsEmpty());
}

TEST(SoftTimeout, AResultWithinTheGraceCounts) {
  Stage stage;
  run_one(stage, with_soft_timeout());
  stage.pass(seconds(11));
  stage.turn({stage.done(1)});
  expect_end(stage, JobState::kSucceeded, CauseKind::kNone);
  EXPECT_EQ(stage.ending(1)->result, "result");
}

TEST(SoftTimeout, AJobThatDoesNotStopIsKilledForItsStacksAndKeepsThem) {
  Stage stage;
  run_one(stage, with_soft_timeout());
  stage.pass(seconds(10));
  EXPECT_THAT(stage.pass(seconds(2)), ElementsAre("kill slot 1 for its stacks"));
  Event event = stage.slot_ended(1, 1);
  std::get<event::SlotEnded>(event).cause.stacks = "thread 7 f()";
  std::get<event::SlotEnded>(event).result = "what it wrote";
  stage.turn({event});
  expect_end(stage, JobState::kTimedOut, CauseKind::kSoftTimeout);
  EXPECT_EQ(stage.ending(1)->cause->stacks, "thread 7 f()");
  EXPECT_THAT(stage.ending(1)->cause->message, testing::HasSubstr("did not stop within its grace"));
  EXPECT_EQ(stage.ending(1)->result, "what it wrote");
}

TEST(SoftTimeout, EndsOneAttemptAndTheJobGoesOn) {
  Stage stage;
  run_one(stage, with_soft_timeout(2));
  stage.pass(seconds(10));
  EXPECT_THAT(stage.turn({stage.failed(1)}), ElementsAre("offer 1.2 slot 1"));
  EXPECT_THAT(stage.attempts(1), ElementsAre("1 SOFT_TIMEOUT"));
  stage.take(1, 1);
  EXPECT_THAT(stage.pass(seconds(5)), IsEmpty()) << "the first attempt's grace is over and done";
}

TEST(SoftTimeout, ARunTimeoutWithinTheGraceKillsAtOnceAndIsTheCause) {
  Stage stage;
  JobSpec spec = with_soft_timeout();
  spec.run_timeout = seconds(11);
  run_one(stage, spec);
  EXPECT_THAT(stage.pass(seconds(10)), ElementsAre("stop 1.1 slot 1 softly"));
  EXPECT_THAT(stage.pass(seconds(1)), ElementsAre("kill slot 1 for its stacks"));
  EXPECT_THAT(stage.pass(seconds(5)), IsEmpty());
  stage.turn({stage.slot_ended(1, 1)});
  expect_end(stage, JobState::kTimedOut, CauseKind::kRunTimeout);
}

TEST(SoftTimeout, ACancelOverrulesIt) {
  Stage stage;
  run_one(stage, with_soft_timeout(3));
  stage.pass(seconds(10));
  EXPECT_THAT(stage.turn({stage.cancel(1)}), ElementsAre("stop 1.1 slot 1")) << "it may have gone on";
  EXPECT_THAT(stage.pass(seconds(2)), ElementsAre("kill slot 1"));
  stage.turn({stage.slot_ended(1, 1)});
  expect_end(stage, JobState::kCancelled, CauseKind::kCancelled);
}

TEST(HeartbeatTimeout, KillsAJobThatNeverGaveASignOfLife) {
  Stage stage;
  run_one(stage, with_heartbeat_timeout());
  EXPECT_THAT(stage.pass(milliseconds(2'994)), IsEmpty());
  EXPECT_THAT(stage.pass(milliseconds(1)), ElementsAre("kill slot 1"));
  stage.turn({stage.slot_ended(1, 1)});
  expect_end(stage, JobState::kTimedOut, CauseKind::kHeartbeatTimeout);
}

TEST(HeartbeatTimeout, CountsFromTheLastSignOfLifeExactly) {
  Stage stage;
  run_one(stage, with_heartbeat_timeout());
  stage.pass(milliseconds(2'500));
  stage.beat(1);
  EXPECT_THAT(stage.pass(milliseconds(2'999)), IsEmpty());
  EXPECT_THAT(stage.pass(milliseconds(1)), ElementsAre("kill slot 1"));
}

TEST(HeartbeatTimeout, AJobThatBeatsCostsOneLookATimeout) {
  Stage stage;
  run_one(stage, with_heartbeat_timeout());
  for (int i = 0; i < 300; ++i) {
    stage.beat(1);
    EXPECT_THAT(stage.pass(milliseconds(100)), IsEmpty());
  }
  EXPECT_LE(stage.pulses, 11);
  stage.turn({stage.done(1)});
  expect_end(stage, JobState::kSucceeded, CauseKind::kNone);
  EXPECT_THAT(stage.pass(seconds(60)), IsEmpty());
}

TEST(HeartbeatTimeout, ASignOfLifeFromTheFutureIsOneOfNow) {
  Stage stage;
  run_one(stage, with_heartbeat_timeout());
  stage.beat(1, std::chrono::hours(1));
  EXPECT_THAT(stage.pass(seconds(3)), IsEmpty());
  EXPECT_EQ(stage.pulses, 1);
  stage.beat(1, -std::chrono::hours(1));
  EXPECT_THAT(stage.pass(seconds(3)), ElementsAre("kill slot 1"));
}

TEST(HeartbeatTimeout, EndsOneAttemptAndTheNextHasItsOwnClock) {
  Stage stage;
  run_one(stage, with_heartbeat_timeout(2));
  stage.pass(seconds(3));
  EXPECT_THAT(stage.turn({stage.slot_ended(1, 1)}), ElementsAre("start slot 1"));
  EXPECT_THAT(stage.attempts(1), ElementsAre("1 HEARTBEAT_TIMEOUT"));
  EXPECT_THAT(stage.turn({stage.slot_ready(1)}), ElementsAre("offer 1.2 slot 1"));
  stage.take(1, 1);
  EXPECT_THAT(stage.pass(milliseconds(2'999)), IsEmpty());
  EXPECT_THAT(stage.pass(milliseconds(10)), ElementsAre("kill slot 1"));
}

}  // namespace
}  // namespace futured
