#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Refused, nothing else said, and no trace left.
void expect_refused(Stage& stage, const JobSpec& spec, const std::string& why) {
  const Lines lines = stage.turn({stage.submit(spec, 3)});
  EXPECT_THAT(lines, ElementsAre("refused " + std::to_string(stage.token) + ": " + why));
  EXPECT_THAT(stage.rows(), IsEmpty());
  EXPECT_EQ(stage.scheduler->resident_jobs(), 0u);
}

TEST(Refusal, AnUnknownTaskNamesItAndThoseThatExist) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.task = "wrok";
  expect_refused(stage, spec, "no task \"wrok\"; known tasks: work, other");
  spec.pool = "default";
  expect_refused(stage, spec, "pool \"default\" has no task \"wrok\"; it has: work, other");
}

TEST(Refusal, AnUnknownQueueNamesIt) {
  Stage stage;
  const Lines lines = stage.turn({stage.submit(Stage::in_queue("nope"))});
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], testing::StartsWith("refused 1: no queue \"nope\""));
}

TEST(Refusal, AnUnknownPoolNamesIt) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.pool = "gpu";
  expect_refused(stage, spec, "no pool \"gpu\"");
}

TEST(Refusal, ACommandNeedsAPoolThatRunsCommands) {
  Stage stage;
  JobSpec spec;
  spec.task.clear();
  expect_refused(stage, spec, "no pool runs commands here");
  spec.pool = "default";
  expect_refused(stage, spec, "pool \"default\" does not run commands");
}

TEST(Refusal, ATaskThatVanishedRefusesNewJobsAndFailsOldOnes) {
  Stage stage;
  stage.turn({stage.submit(Stage::work(), 3)});
  stage.step(event::PoolReady{stage.scheduler->pool_named("default"), {"other"}});
  EXPECT_THAT(stage.turn({stage.done(1)}), IsEmpty());
  ASSERT_NE(stage.ending(3), nullptr);
  EXPECT_EQ(stage.ending(3)->state, JobState::kFailed);
  EXPECT_EQ(stage.ending(3)->cause->kind, CauseKind::kUnknownTask);
  EXPECT_THAT(stage.ending(3)->cause->message, testing::HasSubstr("\"work\""));
  EXPECT_THAT(stage.turn({stage.submit()}), ElementsAre("refused 2: no task \"work\"; known tasks: other"));
}

TEST(Queue, IsCreatedOnceAndKeepsItsOrder) {
  Stage stage;
  EXPECT_THAT(stage.turn({event::PutQueue{1, "q", Discipline::kLifo, {}}}), ElementsAre("queue 1: q"));
  EXPECT_THAT(stage.rows(), ElementsAre("queue q"));
  EXPECT_THAT(stage.turn({event::PutQueue{2, "q", Discipline::kLifo, {}}}), ElementsAre("queue 2: q"));
  EXPECT_THAT(stage.rows(), IsEmpty());
  EXPECT_THAT(stage.turn({event::PutQueue{3, "q", Discipline::kFifo, {}}}),
              ElementsAre("refused 3: queue \"q\" exists and is lifo; the order of a queue never changes"));
  EXPECT_THAT(stage.turn({event::PutQueue{4, "none", {}, true}}),
              ElementsAre("refused 4: no queue \"none\"; fut queue ls shows those that exist"));
}

TEST(Queue, ThereIsABound) {
  Stage stage;
  const std::size_t there = stage.scheduler->lanes().size();
  for (std::size_t i = there; i < limits::kQueuesMax; ++i) {
    stage.scheduler->step(event::PutQueue{i + 1, "q" + std::to_string(i), Discipline::kFifo, {}}, stage.now,
                          stage.effects);
  }
  EXPECT_TRUE(stage.effects.refused.empty());
  EXPECT_THAT(stage.turn({event::PutQueue{99'999, "one more", Discipline::kFifo, {}}}),
              testing::Contains("refused 99999: there are 10000 queues already"));
}

}  // namespace
}  // namespace futured
