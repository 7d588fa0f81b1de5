// Whether an attempt is followed by another: error classes, what tasks ask for, crashes and their budget, history.
#include <gmock/gmock.h>

#include "base/command.h"
#include "base/payload.h"
#include "daemon/core/retry_classes.h"
#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

JobSpec tried(std::uint32_t attempts) {
  JobSpec spec = Stage::work();
  spec.max_attempts = attempts;
  return spec;
}

// The report of a failure of `error_class`.
Event failed(Stage& stage, std::uint64_t job, const Cause& cause) {
  Event event = stage.failed(job);
  std::get<event::Done>(event).cause = &cause;
  return event;
}

TEST(RetryClasses, AnErrorIsNamedByItsClassOrByItsCause) {
  JobSpec spec;
  const Cause flaky{.kind = CauseKind::kTaskError, .error_class = "Flaky"};
  EXPECT_TRUE(allows_retry(spec, flaky));
  spec.retry_only = {"Flaky"};
  EXPECT_TRUE(allows_retry(spec, flaky));
  EXPECT_FALSE(allows_retry(spec, {.kind = CauseKind::kTaskError, .error_class = "flaky"})) << "word for word";
  EXPECT_FALSE(allows_retry(spec, {.kind = CauseKind::kRunTimeout}));
  spec.retry_only = {"TASK_ERROR"};
  EXPECT_TRUE(allows_retry(spec, flaky));
  spec.retry_except = {"Flaky"};
  EXPECT_FALSE(allows_retry(spec, flaky)) << "never wins";
  spec = {};
  spec.retry_only = {"TIMEOUT", "OUT_OF_MEMORY"};
  EXPECT_TRUE(allows_retry(spec, {.kind = CauseKind::kRunTimeout}));
  EXPECT_TRUE(allows_retry(spec, {.kind = CauseKind::kOutOfMemory}));
}

TEST(RetryClasses, ACommandIsNamedByHowItEnded) {
  JobSpec spec;
  spec.retry_only = {"exit:75", "signal:9"};
  const auto exits = [](int code) { return Cause{.kind = CauseKind::kExitCode, .exit_code = code}; };
  EXPECT_TRUE(allows_retry(spec, exits(75)));
  EXPECT_FALSE(allows_retry(spec, exits(7)));
  EXPECT_FALSE(allows_retry(spec, exits(9))) << "that is a signal's number";
  EXPECT_TRUE(allows_retry(spec, {.kind = CauseKind::kSignal, .signal = 9}));
  EXPECT_TRUE(allows_retry(spec, {.kind = CauseKind::kOutOfMemory, .signal = 9}));
  EXPECT_FALSE(allows_retry(spec, {.kind = CauseKind::kSignal, .signal = 15}));
  spec.retry_only = {"COMMAND_EXIT"};
  EXPECT_TRUE(allows_retry(spec, exits(7)));
}

TEST(RetryClasses, AnErrorOfNoClassIsNotTheEmptyName) {
  JobSpec spec;
  spec.retry_except = {"x"};
  EXPECT_TRUE(allows_retry(spec, {.kind = CauseKind::kPayloadLost}));
  spec.retry_only = {"x"};
  EXPECT_FALSE(allows_retry(spec, {.kind = CauseKind::kPayloadLost}));
}

TEST(RetryClasses, AJobIsTriedAgainAfterItsOwnErrorsOnly) {
  Stage stage;
  JobSpec spec = tried(5);
  spec.retry_only = {"Flaky"};
  stage.turn({stage.submit(spec)});
  const Cause flaky{.kind = CauseKind::kTaskError, .error_class = "Flaky"};
  const Cause other{.kind = CauseKind::kTaskError, .error_class = "Other"};
  EXPECT_THAT(stage.turn({failed(stage, 1, flaky)}), ElementsAre("offer 1.2 slot 1"));
  EXPECT_THAT(stage.turn({failed(stage, 1, other)}), IsEmpty());
  EXPECT_EQ(stage.ending(1)->cause->error_class, "Other");
}

TEST(RetryClasses, TheyAreNotAskedAboutACrash) {
  Stage stage;
  JobSpec spec = tried(1);
  spec.retry_only = {"Flaky"};
  stage.turn({stage.submit(spec)});
  stage.turn({stage.slot_ended(1, 1)});
  EXPECT_THAT(stage.turn({stage.slot_ready(1)}), ElementsAre("offer 1.2 slot 1"));
}

TEST(RetryClasses, ATimeoutIsTriedAgainOrNotByName) {
  for (const bool again : {true, false}) {
    Stage stage;
    JobSpec spec = tried(2);
    spec.run_timeout = milliseconds(100);
    (again ? spec.retry_only : spec.retry_except) = {"TIMEOUT"};
    stage.turn({stage.submit(spec)});
    stage.take(1, 1);
    stage.pass(milliseconds(100) + seconds(1));
    stage.turn({stage.slot_ended(1, 1)});
    EXPECT_EQ(stage.ending(1) == nullptr, again);
  }
}

TEST(RetryAfter, ADelayThatTheTaskAsksForTakesThePlaceOfTheBackoff) {
  Stage stage;
  JobSpec spec = tried(2);
  spec.backoff = seconds(1);
  stage.turn({stage.submit(spec)});
  Event event = stage.failed(1);
  std::get<event::Done>(event).retry_after = milliseconds(30);
  EXPECT_THAT(stage.turn({event}), IsEmpty());
  EXPECT_THAT(stage.pass(milliseconds(30) - Duration(1)), IsEmpty());
  EXPECT_THAT(stage.pass(Duration(1)), ElementsAre("offer 1.2 slot 1"));
}

TEST(RetryAfter, NoDelayIsLongerThanTheLongestBackoffNorShorterThanNone) {
  Stage stage;
  JobSpec spec = tried(3);
  spec.backoff_max = milliseconds(50);
  stage.turn({stage.submit(spec)});
  Event event = stage.failed(1);
  std::get<event::Done>(event).retry_after = seconds(1'000'000);
  stage.turn({event});
  EXPECT_THAT(stage.pass(milliseconds(50)), ElementsAre("offer 1.2 slot 1"));
  event = stage.failed(1);
  std::get<event::Done>(event).retry_after = -seconds(5);
  EXPECT_THAT(stage.turn({event}), ElementsAre("offer 1.3 slot 1"));
}

TEST(RetryAfter, ItGivesNoAttemptThatTheJobDoesNotHave) {
  Stage stage;
  stage.turn({stage.submit(tried(1))});
  Event event = stage.failed(1);
  std::get<event::Done>(event).retry_after = milliseconds(1);
  stage.turn({event});
  EXPECT_EQ(stage.ending(1)->state, JobState::kFailed);
}

// Worker 1 dies in job 1, with this signal.
void crash(Stage& stage, int signal = 11, bool is_lost = false) {
  Event event = stage.slot_ended(1, 1);
  auto& ended = std::get<event::SlotEnded>(event);
  ended.cause.signal = signal;
  ended.cause.message = "the worker was ended by signal " + std::to_string(signal);
  ended.is_lost = is_lost;
  stage.turn({event});
  stage.turn({stage.slot_ready(1)});
}

TEST(Quarantine, TheCauseTellsHowManyWorkersDiedAndHowTheLastOne) {
  Stage stage;
  JobSpec spec = tried(1);
  spec.crashes_max = 2;
  stage.turn({stage.submit(spec)});
  crash(stage);
  ASSERT_EQ(stage.ending(1), nullptr);
  crash(stage, 7);
  ASSERT_NE(stage.ending(1), nullptr);
  const Cause& cause = *stage.ending(1)->cause;
  EXPECT_EQ(cause.kind, CauseKind::kQuarantined);
  EXPECT_EQ(cause.signal, 7);
  EXPECT_EQ(cause.message, "it took down 2 workers; the last time: the worker was ended by signal 7");
}

TEST(Quarantine, OneWorkerMayBeTheLimit) {
  Stage stage;
  JobSpec spec = tried(9);
  spec.crashes_max = 1;
  stage.turn({stage.submit(spec)});
  crash(stage);
  EXPECT_EQ(stage.ending(1)->cause->kind, CauseKind::kQuarantined);
}

TEST(Quarantine, FailuresAndCrashesSpendBudgetsOfTheirOwn) {
  Stage stage;
  JobSpec spec = tried(2);
  spec.crashes_max = 3;
  stage.turn({stage.submit(spec)});
  crash(stage);
  crash(stage);
  EXPECT_THAT(stage.turn({stage.failed(1)}), ElementsAre("offer 1.4 slot 1"));
  EXPECT_THAT(stage.attempts(1), ElementsAre("1 WORKER_CRASHED", "2 WORKER_CRASHED", "3 TASK_ERROR"));
  stage.turn({stage.failed(1)});
  EXPECT_EQ(stage.ending(1)->cause->kind, CauseKind::kTaskError) << "the second failure, of two";
}

TEST(OverALimit, IsAFailureOfTheJobAndNoCrash) {
  Stage stage;
  JobSpec spec = tried(2);
  spec.crashes_max = 1;
  stage.turn({stage.submit(spec)});
  const auto over_limit = [&] {
    Event event = stage.slot_ended(1, 1);
    auto& ended = std::get<event::SlotEnded>(event);
    ended.cause = {.kind = CauseKind::kOutOfMemory, .signal = 9, .message = "over"};
    ended.is_over_limit = true;
    stage.turn({event});
    stage.turn({stage.slot_ready(1)});
  };
  over_limit();
  ASSERT_EQ(stage.ending(1), nullptr) << "it has another attempt, and no crash was charged";
  over_limit();
  ASSERT_NE(stage.ending(1), nullptr);
  EXPECT_EQ(stage.ending(1)->state, JobState::kFailed);
  EXPECT_EQ(stage.ending(1)->cause->kind, CauseKind::kOutOfMemory);
  EXPECT_EQ(stage.ending(1)->cause->message, "over");
}

TEST(OverALimit, IsNotTriedAgainWhereItsErrorIsExcepted) {
  Stage stage;
  JobSpec spec = tried(9);
  spec.retry_except = {"OUT_OF_MEMORY"};
  stage.turn({stage.submit(spec)});
  Event event = stage.slot_ended(1, 1);
  auto& ended = std::get<event::SlotEnded>(event);
  ended.cause.kind = CauseKind::kOutOfMemory;
  ended.is_over_limit = true;
  stage.turn({event});
  ASSERT_NE(stage.ending(1), nullptr);
  EXPECT_EQ(stage.ending(1)->cause->kind, CauseKind::kOutOfMemory);
}

TEST(Quarantine, AWorkerThatWasLostWithItsSpawnerIsNotTheJobsFault) {
  Stage stage;
  JobSpec spec = tried(2);
  spec.crashes_max = 1;
  stage.turn({stage.submit(spec)});
  for (int i = 0; i < 5; ++i) crash(stage, 9, true);
  ASSERT_EQ(stage.ending(1), nullptr);
  EXPECT_THAT(stage.turn({stage.failed(1)}), ElementsAre("offer 1.7 slot 1")) << "and it has both attempts";
  stage.turn({stage.failed(1)});
  EXPECT_EQ(stage.ending(1)->cause->kind, CauseKind::kTaskError);
}

TEST(Quarantine, ButNoJobIsLostForEver) {
  Stage stage;
  JobSpec spec = tried(1);
  spec.crashes_max = 1;
  stage.turn({stage.submit(spec)});
  for (std::uint32_t i = 0; i < limits::kLossesMax; ++i) crash(stage, 9, true);
  ASSERT_EQ(stage.ending(1), nullptr);
  crash(stage, 9, true);
  EXPECT_EQ(stage.ending(1)->cause->kind, CauseKind::kQuarantined);
}

TEST(Quarantine, ARestartGivesNoCrashBack) {
  StageSetup setup;
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 100;
  setup.snapshot.specs_until = 2;
  setup.snapshot.queues = {{QueueId{1}, "default"}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  setup.snapshot.specs.push_back({SpecId{1}, tried(1)});
  StoredJob job{.id = JobId{1}, .spec = SpecId{1}, .submitted_at = WallTime{1'699'999'999'000'000}};
  job.count_attempt(1, Charge::kCrash, {});
  job.count_attempt(2, Charge::kNothing, {});
  job.count_attempt(3, Charge::kCrash, {});
  setup.snapshot.resident = {job};
  Stage stage(std::move(setup));
  EXPECT_THAT(stage.turn(), ElementsAre("offer 1.4 slot 1"));
  crash(stage);
  ASSERT_NE(stage.ending(1), nullptr);
  EXPECT_EQ(stage.ending(1)->cause->kind, CauseKind::kQuarantined);
}

const AttemptRow& row_of(const Stage& stage, std::size_t turn) { return stage.history.at(turn).rows.attempts.at(0); }

TEST(History, AJobThatSucceedsAtOnceWritesNoMoreThanItsEnd) {
  Stage stage;
  stage.turn({stage.submit()});
  stage.turn({stage.done(1)});
  EXPECT_THAT(stage.rows(), ElementsAre("spec 1", "job 1", "end 1 SUCCEEDED"));
}

TEST(History, EachAttemptTellsItsWorkerItsTimesAndItsCause) {
  Stage stage;
  stage.turn({stage.submit(tried(2))});
  stage.take(1, 1);
  stage.pass(seconds(1));
  stage.turn({stage.failed(1)});
  const AttemptRow& first = row_of(stage, stage.history.size() - 1);
  EXPECT_EQ(first.fence.attempt, 1u);
  EXPECT_EQ(first.slot, SlotId{1});
  EXPECT_EQ(first.worker_pid, 4001);
  EXPECT_EQ(first.finished_at, stage.now.wall);
  EXPECT_EQ(first.finished_at - first.started_at, Duration(seconds(1)));
  EXPECT_EQ(first.cause.kind, CauseKind::kTaskError);
  stage.turn({stage.done(1)});
  const AttemptRow& last = row_of(stage, stage.history.size() - 1);
  EXPECT_EQ(last.charge, Charge::kLast);
  EXPECT_EQ(last.fence.attempt, 2u);
  EXPECT_EQ(last.worker_pid, 4001);
  EXPECT_EQ(last.cause, Cause{}) << "its ending tells that";
}

TEST(History, OfAQuarantinedJobTheLastCrashIsKeptBesideItsEnd) {
  Stage stage;
  JobSpec spec = tried(1);
  spec.crashes_max = 1;
  stage.turn({stage.submit(spec)});
  stage.rows();
  crash(stage);
  EXPECT_THAT(stage.rows(), ElementsAre("end 1 FAILED QUARANTINED", "attempt 1.1 WORKER_CRASHED"));
}

TEST(History, TheLastOutputOfAnAttemptThatIsFollowedByAnotherIsKept) {
  Stage stage;
  stage.turn({stage.submit(tried(2))});
  std::string result;
  const std::string long_output(limits::kOutputTailBytes, 'o');
  append_part(result, {.content_type = std::string(kStdoutType) + "; total=9", .bytes = "lost" + long_output});
  append_part(result, {.content_type = kStderrType, .bytes = "complaint\n"});
  Event event = stage.failed(1);
  std::get<event::Done>(event).result = result;
  stage.turn({event});
  const Cause& kept = row_of(stage, stage.history.size() - 1).cause;
  EXPECT_EQ(kept.stdout_tail, long_output);
  EXPECT_EQ(kept.stderr_tail, "complaint\n");
}

TEST(History, AResultThatIsNoneHarmsNothing) {
  Stage stage;
  stage.turn({stage.submit(tried(2))});
  Event event = stage.failed(1);
  std::get<event::Done>(event).result = "no parts at all";
  EXPECT_THAT(stage.turn({event}), ElementsAre("offer 1.2 slot 1"));
}

}  // namespace
}  // namespace futured
