#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

StageSetup with_queues() {
  StageSetup setup;
  setup.queues = {{"fast", Discipline::kFifo}, {"stack", Discipline::kLifo}, {"urgent", Discipline::kPriority}};
  return setup;
}

JobSpec urgent(std::int32_t priority) {
  JobSpec spec = Stage::in_queue("urgent");
  spec.priority = priority;
  return spec;
}

// Ids in the order in which the one slot is offered them, one done after another.
std::vector<std::uint64_t> drain(Stage& stage) {
  std::vector<std::uint64_t> order;
  std::vector<std::uint64_t> offered;
  const auto note = [&] {
    for (const auto& offer : stage.history.back().offers) offered.push_back(offer.fence.job.value);
  };
  stage.turn();
  note();
  for (std::size_t next = 0; next < offered.size(); ++next) {
    order.push_back(offered[next]);
    stage.turn({stage.done(offered[next])});
    note();
  }
  return order;
}

TEST(Order, FifoRunsInTheOrderOfSubmit) {
  Stage stage(with_queues());
  stage.step(stage.submit(Stage::in_queue("fast"), 3));
  stage.step(stage.submit(Stage::in_queue("fast"), 2));
  EXPECT_THAT(drain(stage), ElementsAre(1, 2, 3, 4, 5));
}

TEST(Order, LifoRunsTheNewestFirst) {
  Stage stage(with_queues());
  stage.step(stage.submit(Stage::in_queue("stack"), 3));
  stage.step(stage.submit(Stage::in_queue("stack"), 2));
  EXPECT_THAT(drain(stage), ElementsAre(5, 4, 3, 2, 1));
}

TEST(Order, PriorityRunsTheLargestFirstAndIsStableWithinOne) {
  Stage stage(with_queues());
  stage.step(stage.submit(urgent(0), 2));
  stage.step(stage.submit(urgent(9), 2));
  stage.step(stage.submit(urgent(-1), 1));
  stage.step(stage.submit(urgent(0), 1));
  stage.step(stage.submit(urgent(9), 1));
  EXPECT_THAT(drain(stage), ElementsAre(3, 4, 7, 1, 2, 6, 5));
}

TEST(Order, APriorityInAFifoQueueIsRefused) {
  Stage stage(with_queues());
  JobSpec late = Stage::in_queue("fast");
  late.priority = 100;
  EXPECT_THAT(stage.turn({stage.submit(late)}),
              ElementsAre("refused 1: queue \"fast\" is fifo and knows no priority; use a queue of kind priority"));
}

TEST(Order, QueuesTakeTurns) {
  Stage stage(with_queues());
  stage.step(stage.submit(Stage::in_queue("fast"), 100));
  stage.step(stage.submit(Stage::in_queue("stack"), 1));
  const auto order = drain(stage);
  const auto place = std::ranges::find(order, 101u) - order.begin();
  EXPECT_LE(place, 70) << "one queue's heap must not hold up another's only job";
}

TEST(Order, AJobThatComesBackRunsBeforeThoseAfterIt) {
  Stage stage(with_queues());
  JobSpec spec = Stage::in_queue("fast");
  spec.max_attempts = 2;
  stage.step(stage.submit(spec, 5));
  EXPECT_THAT(stage.turn(), ElementsAre("offer 1.1 slot 1", "offer 2.1 slot 1", "accepted 1: 1 x5"));
  const Lines lines = stage.turn({stage.failed(1)});
  ASSERT_FALSE(lines.empty());
  EXPECT_EQ(lines[0], "offer 1.2 slot 1");
}

TEST(Order, APausedQueueHandsOutNothingUntilItIsResumed) {
  Stage stage(with_queues());
  EXPECT_THAT(stage.turn({event::PutQueue{100, "fast", std::nullopt, true}}), ElementsAre("queue 100: fast"));
  EXPECT_THAT(stage.turn({stage.submit(Stage::in_queue("fast"))}), ElementsAre("accepted 1: 1 x1"));
  EXPECT_THAT(stage.pass(std::chrono::hours(1)), IsEmpty());
  EXPECT_THAT(stage.turn({event::PutQueue{101, "fast", std::nullopt, false}}),
              ElementsAre("offer 1.1 slot 1", "queue 101: fast"));
}

TEST(Order, PausingLeavesWhatRunsAlone) {
  Stage stage(with_queues());
  stage.turn({stage.submit(Stage::in_queue("fast"), 3)});
  EXPECT_THAT(stage.turn({event::PutQueue{100, "fast", std::nullopt, true}}),
              ElementsAre("revoke 2.1 slot 1", "revoke 1.1 slot 1", "queue 100: fast"));
  EXPECT_THAT(stage.turn({stage.revoked(1, false), stage.revoked(2, true)}), IsEmpty()) << "the first one had begun";
  EXPECT_THAT(stage.turn({stage.done(1)}), IsEmpty());
  EXPECT_EQ(stage.ending(1)->state, JobState::kSucceeded);
  EXPECT_EQ(stage.ending(2), nullptr);
}

}  // namespace
}  // namespace futured
