#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

// "3", "~3" when it is estimated, "-" when the job does not wait.
std::string place(const Stage& stage, std::uint64_t job, const JobSpec& spec = Stage::work()) {
  const QueuePlace place = stage.scheduler->place_of(JobId{job}, spec, stage.scheduler->pool_named("default"), {});
  if (place.position == 0) return "-";
  return (place.is_estimated ? "~" : "") + std::to_string(place.position);
}

StageSetup no_workers() {
  return {.queues = {{"stack", Discipline::kLifo}, {"urgent", Discipline::kPriority}}, .workers_ready = false};
}

void tasks_known(Stage& stage) { stage.step(event::PoolReady{stage.scheduler->pool_named("default"), {"work"}}); }

JobSpec urgent(std::int32_t priority) {
  JobSpec spec = Stage::in_queue("urgent");
  spec.priority = priority;
  return spec;
}

TEST(Place, IsThatInTheOrderOfItsQueue) {
  Stage stage(no_workers());
  tasks_known(stage);
  stage.turn({stage.submit(Stage::work(), 2), stage.submit(Stage::in_queue("stack"), 3), stage.submit(urgent(0), 2),
              stage.submit(urgent(5), 1)});
  EXPECT_EQ(place(stage, 1) + place(stage, 2), "12");
  EXPECT_EQ(place(stage, 3) + place(stage, 4) + place(stage, 5), "321");
  EXPECT_EQ(place(stage, 6) + place(stage, 7) + place(stage, 8), "231");
}

TEST(Place, MovesUpAsOthersGo) {
  Stage stage(no_workers());
  tasks_known(stage);
  stage.turn({stage.submit(Stage::work(), 3)});
  stage.turn({stage.cancel(1)});
  EXPECT_EQ(place(stage, 2) + place(stage, 3), "12");
}

TEST(Place, WhatWasHandedOutGoesFirst) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 4)});  // a slot gets two of them, and takes the first
  stage.take(1, 1);
  stage.pass(std::chrono::milliseconds(10));
  EXPECT_EQ(place(stage, 1), "-");
  EXPECT_EQ(place(stage, 2) + place(stage, 3) + place(stage, 4), "123");
}

TEST(Place, FarFromBothEndsIsEstimated) {
  Stage stage(no_workers());
  tasks_known(stage);
  constexpr auto kFar = static_cast<std::uint32_t>(limits::kPlaceJobsMax);
  stage.turn({stage.submit(Stage::work(), 4 * kFar)});
  EXPECT_EQ(place(stage, kFar), std::to_string(kFar));
  EXPECT_EQ(place(stage, 3 * kFar + 1), std::to_string(3 * kFar + 1));
  EXPECT_EQ(place(stage, 2 * kFar), "~" + std::to_string(2 * kFar));
}

TEST(Place, InTheBacklogIsEstimatedBehindWhatIsResident) {
  for (const char* const queue : {"default", "stack"}) {
    StageSetup setup = no_workers();
    setup.window_bytes = 1;
    Stage stage(std::move(setup));
    tasks_known(stage);
    const JobSpec spec = Stage::in_queue(queue);
    constexpr std::uint32_t kJobs = 1'000;
    stage.turn({stage.submit(spec, kJobs)});
    const bool is_lifo = std::string(queue) == "stack";
    const auto nth = [&](std::uint64_t place) { return is_lifo ? kJobs + 1 - place : place; };
    EXPECT_EQ(place(stage, nth(1), spec), "1");
    const QueuePlace far = stage.scheduler->place_of(JobId{nth(500)}, spec, PoolId{1}, {});
    EXPECT_TRUE(far.is_estimated);
    EXPECT_NEAR(static_cast<double>(far.position), 500, 5) << queue;
    EXPECT_EQ(place(stage, nth(kJobs), spec), "~1000");
  }
}

TEST(Place, OfAJobOfNoQueueIsNone) {
  Stage stage;
  EXPECT_EQ(place(stage, 77, Stage::in_queue("nowhere")), "-");
  EXPECT_EQ(place(stage, 77), "-");
}

}  // namespace
}  // namespace futured
