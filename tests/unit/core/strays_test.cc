// Runs that an earlier daemon showed a worker of many jobs, and that no store knows.
#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr Duration kGrace = milliseconds(limits::kKillGraceMs);

Fence old_fence(std::uint64_t job) { return {JobId{job}, Epoch{1}, 1}; }

// An earlier daemon left job 1, whose run was found in the channel of slot 1.
StageSetup shared_worker(PoolSetup pool, bool at_most_once = false) {
  StageSetup setup;
  setup.pools = {std::move(pool)};
  setup.workers_ready = false;
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 100;
  setup.snapshot.specs_until = 2;
  setup.snapshot.queues = {{QueueId{1}, "default"}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  JobSpec spec = Stage::work();
  spec.at_most_once = at_most_once;
  setup.snapshot.specs.push_back({SpecId{1}, spec});
  setup.snapshot.resident = {{.id = JobId{1}, .spec = SpecId{1}, .started = at_most_once}};
  setup.live.jobs = setup.snapshot.resident;
  setup.live.specs = setup.snapshot.specs;
  return setup;
}

StageSetup coroutines(bool at_most_once = false) {
  return shared_worker({.name = "default", .runs_per_slot = 4}, at_most_once);
}

void ready(Stage& stage, std::uint32_t slots = 1) {
  stage.step(event::PoolReady{PoolId{1}, {"work", "other"}});
  for (std::uint32_t slot = 1; slot <= slots; ++slot) stage.step(stage.slot_ready(slot));
}

event::Done reported(std::uint64_t job) { return {.slot = SlotId{1}, .fence = old_fence(job)}; }

TEST(Stray, IsAskedToStopWhereAKillWouldTakeItsNeighbours) {
  Stage stage(coroutines());
  stage.step(stage.adopt(1, old_fence(1)));
  stage.step(stage.adopt(1, old_fence(50)));
  ready(stage);
  EXPECT_THAT(stage.turn(), ElementsAre("stop 50.1 slot 1"));
  EXPECT_TRUE(stage.scheduler->has_stray(SlotId{1}, old_fence(50)));
  EXPECT_FALSE(stage.scheduler->has_stray(SlotId{1}, old_fence(1)));
  stage.turn({reported(50)});
  EXPECT_FALSE(stage.scheduler->has_stray(SlotId{1}, old_fence(50)));
  EXPECT_THAT(stage.pass(10 * kGrace), IsEmpty()) << "it has ended, and nobody is killed";
  stage.turn({stage.done(1)});
  EXPECT_EQ(stage.ending(1)->state, JobState::kSucceeded);
  EXPECT_EQ(stage.ending(1)->attempt, 1u);
}

TEST(Stray, ThatDoesNotStopIsKilledAndItsNeighboursAreChargedNothing) {
  Stage stage(coroutines());
  stage.step(stage.adopt(1, old_fence(1)));
  stage.step(stage.adopt(1, old_fence(50)));
  ready(stage);
  stage.turn();
  EXPECT_THAT(stage.pass(kGrace - Duration(1)), IsEmpty());
  EXPECT_THAT(stage.pass(Duration(1)), ElementsAre("kill slot 1"));
  EXPECT_THAT(stage.turn({stage.slot_ended(1)}), ElementsAre("start slot 1"));
  EXPECT_FALSE(stage.scheduler->has_stray(SlotId{1}, old_fence(50)));
  for (std::uint32_t again = 0; again < 2; ++again) {
    stage.turn({stage.slot_ready(1)});
    ASSERT_EQ(stage.ending(1), nullptr);
  }
  stage.turn({stage.done(1)});
  EXPECT_EQ(stage.ending(1)->state, JobState::kSucceeded) << "with one attempt allowed";
  EXPECT_EQ(stage.ending(1)->attempt, 2u);
}

TEST(Stray, AnAtMostOnceNeighbourGoesOnWhenTheStrayStops) {
  Stage stage(coroutines(true));
  stage.step(stage.adopt(1, old_fence(50)));
  stage.step(stage.adopt(1, old_fence(1)));
  ready(stage);
  EXPECT_THAT(stage.turn(), ElementsAre("stop 50.1 slot 1"));
  stage.turn({reported(50)});
  stage.turn({stage.done(1)});
  EXPECT_EQ(stage.ending(1)->state, JobState::kSucceeded);
}

TEST(Stray, ThatIsDoneIsOnlyRead) {
  Stage stage(coroutines());
  EXPECT_THAT(stage.turn({stage.adopt(1, old_fence(50), true)}), IsEmpty());
  EXPECT_FALSE(stage.scheduler->has_stray(SlotId{1}, old_fence(50)));
}

TEST(Stray, TakesThePlaceOfAJob) {
  Stage stage(coroutines());
  for (std::uint64_t job = 50; job < 53; ++job) stage.step(stage.adopt(1, old_fence(job)));
  stage.step(stage.adopt(1, old_fence(1)));
  ready(stage);
  stage.turn();
  EXPECT_THAT(stage.turn({stage.submit()}), ElementsAre("accepted 1: 100 x1"));
  EXPECT_THAT(stage.turn({reported(50)}), ElementsAre("offer 100.1 slot 1"));
}

// Its job would be offered again at once, and must not run twice at a time.
TEST(Stray, OfAJobThatIsUnfinishedIsKilled) {
  StageSetup setup = coroutines();
  setup.snapshot.resident[0].attempts = setup.live.jobs[0].attempts = 1;
  Stage stage(std::move(setup));
  EXPECT_THAT(stage.turn({stage.adopt(1, old_fence(1))}), ElementsAre("kill slot 1"));
}

TEST(Stray, OfAThreadIsAskedToStopAndKeepsItsSlotMeanwhile) {
  Stage stage(shared_worker({.name = "default", .slots = 2, .slots_per_worker = 2}));
  stage.step(stage.adopt(1, old_fence(50)));
  stage.step(stage.adopt(2, old_fence(1)));
  ready(stage, 2);
  EXPECT_THAT(stage.turn(), ElementsAre("stop 50.1 slot 1"));
  stage.turn({stage.done(1)});
  EXPECT_THAT(stage.turn({stage.submit()}), ElementsAre("offer 100.1 slot 2", "accepted 1: 100 x1"));
  stage.turn({reported(50), stage.submit()});
  EXPECT_TRUE(stage.scheduler->has(SlotId{1}, {JobId{101}, Epoch{2}, 1}));
}

}  // namespace
}  // namespace futured
