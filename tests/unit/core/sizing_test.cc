#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr Duration kGrowAfter(limits::kGrowAfterNs);

StageSetup elastic(std::uint32_t least, std::uint32_t most, std::uint32_t slots_per_worker = 1) {
  return {.pools = {{.name = "default",
                     .slots = most * slots_per_worker,
                     .tasks = {},
                     .workers_min = least,
                     .slots_per_worker = slots_per_worker,
                     .idle = seconds(10)}}};
}

std::vector<std::uint32_t> wanted(const Stage& stage) {
  std::vector<std::uint32_t> slots;
  for (std::uint32_t slot = 1; slot <= stage.scheduler->slot_count(); ++slot) {
    if (stage.scheduler->is_wanted(SlotId{slot})) slots.push_back(slot);
  }
  return slots;
}

// Jobs that no worker will be done with soon; the means of their slots are known to be long.
void keep_busy(Stage& stage, std::uint32_t jobs) { stage.turn({stage.submit(Stage::work(), jobs)}); }

TEST(Sizing, BeginsWithTheLeast) {
  Stage stage(elastic(2, 5));
  EXPECT_THAT(wanted(stage), ElementsAre(1, 2));
}

TEST(Sizing, FiguresOfASlotNameItsWorkerAndAllThatRunsInIt) {
  Stage stage({.pools = {{.name = "default", .slots = 4, .tasks = {"work"}, .slots_per_worker = 2},
                         {.name = "loops", .slots = 1, .tasks = {"work"}, .runs_per_slot = 8}}});
  JobSpec spec = Stage::work();
  spec.pool = "loops";
  stage.turn({stage.submit(spec, 3)});
  stage.turn({event::Taken{SlotId{5}, {{{JobId{1}, stage.scheduler->live(JobId{1})->epoch, 1}, stage.now.at}}}});
  const std::vector<SlotFigures> slots = stage.scheduler->slots();
  EXPECT_THAT((std::vector<std::uint32_t>{slots[0].first_of_worker.value, slots[1].first_of_worker.value,
                                          slots[2].first_of_worker.value, slots[3].first_of_worker.value}),
              ElementsAre(1, 1, 3, 3));
  EXPECT_EQ(slots[4].first_of_worker, SlotId{5});
  EXPECT_EQ(slots[4].runs_max, 8u);
  EXPECT_THAT(slots[4].running, ElementsAre(JobId{1}));
}

TEST(Sizing, GrowsWhileJobsFindNoRoomAndNotAtOnce) {
  Stage stage(elastic(1, 4));
  keep_busy(stage, 20);
  EXPECT_THAT(stage.pass(kGrowAfter - milliseconds(1)), testing::Not(testing::Contains("start slot 2")));
  EXPECT_THAT(stage.pass(milliseconds(1)), testing::Contains("start slot 2"));
  EXPECT_THAT(stage.pass(kGrowAfter * 3), testing::Not(testing::Contains("start slot 3"))) << "one is under way";
  stage.turn({stage.slot_ready(2)});
  stage.pass(kGrowAfter);
  EXPECT_THAT(wanted(stage), ElementsAre(1, 2, 3));
}

TEST(Sizing, AShortBurstMakesNoWorkers) {
  Stage stage(elastic(1, 4));
  keep_busy(stage, 3);
  for (std::uint64_t job = 1; job <= 3; ++job) stage.turn({stage.done(job)});
  EXPECT_THAT(stage.pass(seconds(1)), IsEmpty());
  EXPECT_THAT(wanted(stage), ElementsAre(1));
}

TEST(Sizing, NeverBeyondTheMostNorTheJobs) {
  Stage stage(elastic(0, 8));
  keep_busy(stage, 1);
  stage.pass(kGrowAfter);
  EXPECT_THAT(wanted(stage), ElementsAre(1)) << "from nothing, for one job";
}

TEST(Sizing, IdleWorkersGoTheLastFirstDownToTheLeast) {
  Stage stage(elastic(1, 3));
  keep_busy(stage, 30);
  for (int i = 0; i < 4; ++i) {
    stage.pass(kGrowAfter);
    for (const std::uint32_t slot : wanted(stage)) stage.turn({stage.slot_ready(slot)});
  }
  ASSERT_THAT(wanted(stage), ElementsAre(1, 2, 3));
  for (int round = 0; round < 30; ++round) {
    for (std::uint64_t job = 1; job <= 30; ++job) {
      if (stage.scheduler->live(JobId{job})) stage.turn({stage.done(job)});
    }
  }
  EXPECT_THAT(stage.pass(seconds(5)), IsEmpty());
  std::vector<std::string> all;
  for (int i = 0; i < 20; ++i) {
    for (const std::string& line : stage.pass(seconds(1))) all.push_back(line);
  }
  EXPECT_THAT(all, ElementsAre("kill slot 3", "kill slot 2"));
  EXPECT_THAT(stage.turn({stage.slot_ended(3, 0), stage.slot_ended(2, 0)}), IsEmpty()) << "they are not started again";
  EXPECT_THAT(wanted(stage), ElementsAre(1));
}

TEST(Sizing, AWorkerOfSeveralSlotsComesAndGoesWhole) {
  Stage stage(elastic(1, 2, 2));
  ASSERT_THAT(wanted(stage), ElementsAre(1, 2));
  keep_busy(stage, 20);
  stage.pass(kGrowAfter);
  EXPECT_THAT(wanted(stage), ElementsAre(1, 2, 3, 4));
}

TEST(Sizing, AWorkerThatARestartFindsIsTakenOver) {
  Stage stage(elastic(1, 3));
  stage.turn({stage.slot_ready(3)});
  EXPECT_THAT(wanted(stage), ElementsAre(1, 3));
  std::vector<std::string> all;
  for (int i = 0; i < 12; ++i) {
    for (const std::string& line : stage.pass(seconds(1))) all.push_back(line);
  }
  EXPECT_THAT(all, ElementsAre("kill slot 3"));
}

}  // namespace
}  // namespace futured
