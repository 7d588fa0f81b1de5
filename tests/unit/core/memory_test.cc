// Attempts that may have more memory than their pool's workers, and the workers that they run in.
#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr std::uint64_t kMiB = 1024 * 1024;

StageSetup limited(std::uint32_t slots = 1) {
  StageSetup setup;
  setup.pools = {{.name = "default", .slots = slots, .memory_bytes_max = 64 * kMiB}};
  return setup;
}

JobSpec hungry(std::uint32_t attempts = 4) {
  JobSpec spec = Stage::work();
  spec.max_attempts = attempts;
  spec.retry_memory_factor = 2;
  spec.retry_memory_bytes_max = 200 * kMiB;
  return spec;
}

// The worker died over its limit.
Event over_limit(Stage& stage, std::uint32_t slot, std::uint64_t job) {
  Event event = stage.slot_ended(slot, job);
  auto& ended = std::get<event::SlotEnded>(event);
  ended.cause = {.kind = CauseKind::kOutOfMemory, .signal = 9, .message = "over"};
  ended.is_over_limit = true;
  return event;
}

// The worker lives, and tells of a command or a task that had too little.
Event too_little(Stage& stage, std::uint64_t job) {
  static const Cause cause{.kind = CauseKind::kOutOfMemory};
  Event event = stage.failed(job);
  std::get<event::Done>(event).cause = &cause;
  return event;
}

Event ready(Stage& stage, std::uint32_t slot, std::uint64_t mib) { return stage.slot_ready(slot, mib * kMiB); }

TEST(Memory, AWorkerThatDiedOfItIsReplacedByOneThatMayHaveMore) {
  Stage stage(limited());
  stage.turn({stage.submit(hungry())});
  EXPECT_THAT(stage.turn({over_limit(stage, 1, 1)}), ElementsAre("start slot 1 with 128 MiB"));
  EXPECT_THAT(stage.turn({ready(stage, 1, 128)}), ElementsAre("offer 1.2 slot 1"));
}

TEST(Memory, AWorkerThatLivesIsReplacedBeforeTheNextAttempt) {
  Stage stage(limited());
  stage.turn({stage.submit(hungry())});
  EXPECT_THAT(stage.turn({too_little(stage, 1)}), ElementsAre("kill slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ended(1)}), ElementsAre("start slot 1 with 128 MiB"));
  EXPECT_THAT(stage.turn({ready(stage, 1, 128)}), ElementsAre("offer 1.2 slot 1"));
}

TEST(Memory, EachFurtherAttemptGetsMoreUpToTheCap) {
  Stage stage(limited());
  stage.turn({stage.submit(hungry())});
  EXPECT_THAT(stage.turn({over_limit(stage, 1, 1)}), ElementsAre("start slot 1 with 128 MiB"));
  for (int i = 0; i < 2; ++i) {
    stage.turn({ready(stage, 1, i == 0 ? 128 : 200)});
    stage.turn({over_limit(stage, 1, 1)});
    EXPECT_THAT(stage.pass(seconds(1)), ElementsAre("start slot 1 with 200 MiB"));
  }
  stage.turn({ready(stage, 1, 200)});
  stage.turn({over_limit(stage, 1, 1)});
  ASSERT_NE(stage.ending(1), nullptr) << "more memory is no further attempt";
  EXPECT_EQ(stage.ending(1)->cause->kind, CauseKind::kOutOfMemory);
}

TEST(Memory, AnyOtherFailureLeavesTheLimitAsItIs) {
  Stage stage(limited());
  stage.turn({stage.submit(hungry())});
  EXPECT_THAT(stage.turn({stage.failed(1)}), ElementsAre("offer 1.2 slot 1"));
  stage.turn({over_limit(stage, 1, 1)});
  stage.turn({ready(stage, 1, 128)});
  EXPECT_THAT(stage.turn({stage.failed(1)}), ElementsAre("offer 1.4 slot 1")) << "in the worker that it had";
}

TEST(Memory, WithoutAFactorTheNextAttemptHasTheSame) {
  Stage stage(limited());
  JobSpec spec = Stage::work();
  spec.max_attempts = 2;
  stage.turn({stage.submit(spec)});
  EXPECT_THAT(stage.turn({over_limit(stage, 1, 1)}), ElementsAre("start slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ready(1)}), ElementsAre("offer 1.2 slot 1"));
}

TEST(Memory, AKillForWhichTheMachineIsToBlameRaisesTheLimitToo) {
  Stage stage(limited());
  stage.turn({stage.submit(hungry())});
  Event event = stage.slot_ended(1, 1);
  std::get<event::SlotEnded>(event).cause = {.kind = CauseKind::kOutOfMemory, .signal = 9};
  EXPECT_THAT(stage.turn({event}), ElementsAre("start slot 1 with 128 MiB"));
}

TEST(Memory, NothingIsOfferedBehindAnAttemptThatHasMore) {
  Stage stage(limited());
  stage.turn({stage.submit(hungry())});
  stage.turn({over_limit(stage, 1, 1)});
  stage.turn({ready(stage, 1, 128)});
  EXPECT_THAT(stage.turn({stage.submit(Stage::work(), 3)}), ElementsAre("accepted 2: 2 x3"));
}

TEST(Memory, ItsWorkerGoesBehindItAndOthersGetOneOfThePools) {
  Stage stage(limited());
  stage.turn({stage.submit(hungry())});
  stage.turn({over_limit(stage, 1, 1)});
  stage.turn({ready(stage, 1, 128), stage.submit(Stage::work(), 1)});
  EXPECT_THAT(stage.turn({stage.done(1)}), ElementsAre("kill slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ended(1)}), ElementsAre("start slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ready(1)}), ElementsAre("offer 2.1 slot 1"));
}

TEST(Memory, TheSameWorkerServesTheNextJobThatMayHaveAsMuch) {
  Stage stage(limited());
  stage.turn({stage.submit(hungry(), 2)});
  stage.turn({over_limit(stage, 1, 1)});
  stage.turn({ready(stage, 1, 128)});
  EXPECT_THAT(stage.turn({stage.done(1)}), ElementsAre("kill slot 1")) << "the second has not failed yet";
  stage.turn({stage.slot_ended(1)});
  stage.turn({stage.slot_ready(1)});
  stage.turn({stage.submit(hungry())});
  stage.turn({over_limit(stage, 1, 2)});
  EXPECT_THAT(stage.turn({ready(stage, 1, 128)}), ElementsAre("offer 2.2 slot 1"));
}

TEST(Memory, AWorkerThatOthersKeepBusyIsLeftToRunDry) {
  StageSetup setup = limited();
  setup.queues = {{"side", Discipline::kFifo}};
  Stage stage(std::move(setup));
  JobSpec spec = hungry();
  spec.backoff = milliseconds(10);
  stage.turn({stage.submit(spec)});
  EXPECT_THAT(stage.turn({over_limit(stage, 1, 1)}), ElementsAre("start slot 1")) << "nobody waits for more yet";
  stage.turn({stage.slot_ready(1)});
  stage.turn({stage.submit(Stage::in_queue("side"))});
  stage.take(1, 2);
  EXPECT_THAT(stage.pass(milliseconds(10)), IsEmpty());
  EXPECT_THAT(stage.turn({stage.submit(Stage::in_queue("side"))}), ElementsAre("accepted 3: 3 x1"));
  EXPECT_THAT(stage.turn({stage.done(2)}), ElementsAre("kill slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ended(1)}), ElementsAre("start slot 1 with 128 MiB"));
  EXPECT_THAT(stage.turn({ready(stage, 1, 128)}), ElementsAre("offer 1.2 slot 1"));
  EXPECT_THAT(stage.turn({stage.done(1)}), ElementsAre("kill slot 1"));
  stage.turn({stage.slot_ended(1)});
  EXPECT_THAT(stage.turn({stage.slot_ready(1)}), ElementsAre("offer 3.1 slot 1"));
}

TEST(Memory, OtherWorkersGoOnMeanwhile) {
  Stage stage(limited(2));
  stage.turn({stage.submit(hungry())});
  stage.take(1, 1);
  stage.turn({stage.submit(Stage::work(), 1)});
  stage.take(2, 2);
  EXPECT_THAT(stage.turn({over_limit(stage, 1, 1)}), ElementsAre("start slot 1 with 128 MiB"));
  EXPECT_THAT(stage.turn({stage.done(2), stage.submit(Stage::work(), 1)}), ElementsAre("accepted 3: 3 x1"))
      << "the job in front has its worker on the way";
  EXPECT_THAT(stage.turn({ready(stage, 1, 128)}), ElementsAre("offer 1.2 slot 1", "offer 3.1 slot 2"));
}

// Each would take the only worker from the other for ever.
TEST(Memory, TwoJobsWithLimitsOfTheirOwnGetOneWorkerInTurn) {
  StageSetup setup = limited(1);
  setup.queues = {{"side", Discipline::kFifo}};
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 100;
  setup.snapshot.specs_until = 3;
  setup.snapshot.queues = {{QueueId{1}, "default"}, {QueueId{2}, "side"}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  JobSpec other = hungry();
  other.queue = "side";
  setup.snapshot.specs = {{SpecId{1}, hungry()}, {SpecId{2}, other}};
  StoredJob first{.id = JobId{1}, .spec = SpecId{1}, .submitted_at = WallTime{1'699'999'999'000'000}};
  first.count_attempt(1, Charge::kRetry, {}, 128 * kMiB);
  StoredJob second{.id = JobId{2}, .spec = SpecId{2}, .submitted_at = WallTime{1'699'999'999'000'000}};
  second.count_attempt(1, Charge::kRetry, {}, 200 * kMiB);
  setup.snapshot.resident = {first, second};
  Stage stage(std::move(setup));
  std::set<std::uint64_t> done;
  Lines lines = stage.turn();
  for (int i = 0; i < 12 && done.size() < 2; ++i) {
    ASSERT_EQ(lines.size(), 1u);
    std::vector<Event> next;
    if (lines[0] == "kill slot 1") next = {stage.slot_ended(1)};
    if (lines[0] == "start slot 1 with 128 MiB") next = {ready(stage, 1, 128)};
    if (lines[0] == "start slot 1 with 200 MiB") next = {ready(stage, 1, 200)};
    for (const std::uint64_t job : {1, 2}) {
      if (lines[0] != "offer " + std::to_string(job) + ".2 slot 1") continue;
      done.insert(job);
      next = {stage.done(job)};
    }
    lines = stage.turn(next);
  }
  EXPECT_THAT(done, UnorderedElementsAre(1, 2));
}

TEST(Memory, ALimitThatNobodyWaitsForAnyMoreIsPutBack) {
  Stage stage(limited());
  stage.turn({stage.submit(hungry())});
  stage.turn({over_limit(stage, 1, 1)});
  EXPECT_THAT(stage.turn({stage.cancel(1)}), ElementsAre("cancelled 2: 1 CANCELLED"));
  EXPECT_THAT(stage.turn({ready(stage, 1, 128)}), ElementsAre("kill slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ended(1)}), ElementsAre("start slot 1"));
}

TEST(Memory, APoolWhoseQueueIsPausedKeepsNoWorkerForIt) {
  Stage stage(limited());
  stage.turn({stage.submit(hungry())});
  stage.turn({over_limit(stage, 1, 1)});
  stage.turn({event::PutQueue{++stage.token, "default", std::nullopt, true}});
  EXPECT_THAT(stage.turn({ready(stage, 1, 128)}), ElementsAre("kill slot 1"));
  stage.turn({stage.slot_ended(1)});
  stage.turn({stage.slot_ready(1)});
  EXPECT_THAT(stage.turn({event::PutQueue{++stage.token, "default", std::nullopt, false}}), Contains("kill slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ended(1)}), ElementsAre("start slot 1 with 128 MiB"));
}

TEST(Memory, EachAttemptsLimitIsOnRecordAndSoIsTheNextOnes) {
  Stage stage(limited());
  stage.turn({stage.submit(hungry())});
  stage.turn({over_limit(stage, 1, 1)});
  const AttemptRow& first = stage.history.back().rows.attempts.at(0);
  EXPECT_EQ(first.memory_bytes_max, 64 * kMiB);
  EXPECT_EQ(first.next_memory_bytes_max, 128 * kMiB);
  stage.turn({ready(stage, 1, 128)});
  stage.turn({stage.done(1)});
  const AttemptRow& last = stage.history.back().rows.attempts.at(0);
  EXPECT_EQ(last.charge, Charge::kLast);
  EXPECT_EQ(last.memory_bytes_max, 128 * kMiB);
}

StageSetup restarted(std::uint64_t next_limit) {
  StageSetup setup = limited();
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 100;
  setup.snapshot.specs_until = 2;
  setup.snapshot.queues = {{QueueId{1}, "default"}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  setup.snapshot.specs = {{SpecId{1}, hungry()}};
  StoredJob job{.id = JobId{1}, .spec = SpecId{1}, .submitted_at = WallTime{1'699'999'999'000'000}};
  job.count_attempt(1, Charge::kRetry, {}, next_limit);
  setup.snapshot.resident = {job};
  return setup;
}

TEST(Memory, ARestartLowersNoLimit) {
  Stage stage(restarted(128 * kMiB));
  EXPECT_THAT(stage.turn(), ElementsAre("kill slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ended(1)}), ElementsAre("start slot 1 with 128 MiB"));
  EXPECT_THAT(stage.turn({ready(stage, 1, 128)}), ElementsAre("offer 1.2 slot 1"));
}

// The daemon died before the end of the second attempt, and what follows from it, was on disk.
TEST(Memory, AnAdoptedAttemptHasWhatItsWorkerHas) {
  StageSetup setup = restarted(128 * kMiB);
  setup.workers_ready = false;
  setup.live.jobs = setup.snapshot.resident;
  setup.live.specs = setup.snapshot.specs;
  Stage stage(std::move(setup));
  stage.step(event::PoolReady{stage.scheduler->pool_named("default"), {"work"}});
  stage.step(ready(stage, 1, 200));
  stage.step(stage.adopt(1, {JobId{1}, Epoch{1}, 3}));
  EXPECT_THAT(stage.finish(), IsEmpty());
  EXPECT_EQ(stage.scheduler->live(JobId{1})->memory_bytes_max, 200 * kMiB);
  EXPECT_THAT(stage.turn({stage.submit(Stage::work(), 1)}), ElementsAre("accepted 1: 100 x1")) << "nothing behind it";
  EXPECT_THAT(stage.turn({over_limit(stage, 1, 1)}), ElementsAre("start slot 1 with 200 MiB"));
}

TEST(Memory, APoolThatAllowsMoreNowThanTheJobGotIsEnough) {
  StageSetup setup = restarted(128 * kMiB);
  setup.pools[0].memory_bytes_max = 512 * kMiB;
  Stage stage(std::move(setup));
  EXPECT_THAT(stage.turn(), ElementsAre("offer 1.2 slot 1"));
}

TEST(Memory, APoolThatHasNoLimitAnyMoreIsEnough) {
  StageSetup setup = restarted(128 * kMiB);
  setup.pools[0].memory_bytes_max = 0;
  Stage stage(std::move(setup));
  EXPECT_THAT(stage.turn(), ElementsAre("offer 1.2 slot 1"));
}

TEST(Memory, AWorkerBeyondTheLeastGoesWithItsLimit) {
  StageSetup setup = limited(2);
  setup.pools[0].workers_min = 1;
  setup.pools[0].idle = seconds(1);
  Stage stage(std::move(setup));
  stage.turn({stage.submit(hungry())});
  stage.turn({over_limit(stage, 1, 1)});
  stage.turn({ready(stage, 1, 128)});
  stage.turn({stage.done(1)});
  stage.turn({stage.slot_ended(1)});
  stage.turn({stage.slot_ready(1)});
  EXPECT_THAT(stage.pass(seconds(10)), IsEmpty());
}

TEST(Memory, IsRefusedWhereNoLimitCouldBeRaised) {
  Stage stage;
  const Lines lines = stage.turn({stage.submit(hungry())});
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], HasSubstr("spec.retries.memory_factor: pool \"default\" has no memory_max"));
}

TEST(Memory, ACapThatRaisesNothingIsRefused) {
  Stage stage(limited());
  JobSpec spec = hungry();
  spec.retry_memory_bytes_max = 64 * kMiB;
  const Lines lines = stage.turn({stage.submit(spec)});
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0],
              HasSubstr("memory_bytes_max: 67108864 bytes are no more than the memory_max of pool \"default\""));
}

}  // namespace
}  // namespace futured
