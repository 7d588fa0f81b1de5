#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

StageSetup with_slots(std::uint32_t slots) {
  StageSetup setup;
  setup.pools = {{"default", false, slots}};
  return setup;
}

Event set(Stage& stage, const std::string& name, std::uint32_t permits) {
  return event::PutSemaphore{++stage.token, name, permits};
}

Event drop(Stage& stage, const std::string& name) { return event::DropSemaphore{++stage.token, name}; }

JobSpec needing(std::vector<Need> needs) {
  JobSpec spec = Stage::work();
  spec.needs = std::move(needs);
  return spec;
}

std::vector<std::uint64_t> turn(Stage& stage, std::vector<Event> events) {
  stage.turn(std::move(events));
  std::vector<std::uint64_t> ids;
  for (const auto& offer : stage.history.back().offers) ids.push_back(offer.fence.job.value);
  return ids;
}

std::uint64_t held(const Stage& stage, const std::string& name) {
  for (const SemaphoreFigures& one : stage.scheduler->semaphores()) {
    if (one.name == name) return one.held;
  }
  return UINT64_MAX;
}

TEST(Semaphores, NoMoreRunThanThereArePermits) {
  Stage stage(with_slots(4));
  stage.turn({set(stage, "gpu", 2)});
  EXPECT_THAT(turn(stage, {stage.submit(needing({{"gpu", 1}}), 4)}), ElementsAre(1, 2));
  EXPECT_EQ(held(stage, "gpu"), 2u);
  EXPECT_EQ(stage.scheduler->semaphores().front().waiting_jobs, 2u);
  EXPECT_THAT(turn(stage, {stage.done(1)}), ElementsAre(3));
  EXPECT_THAT(turn(stage, {stage.done(2), stage.done(3)}), ElementsAre(4));
  stage.turn({stage.done(4)});
  EXPECT_EQ(held(stage, "gpu"), 0u);
}

TEST(Semaphores, JobsThatNeedNothingPass) {
  Stage stage(with_slots(4));
  stage.turn({set(stage, "gpu", 1)});
  EXPECT_THAT(turn(stage, {stage.submit(needing({{"gpu", 1}}), 3), stage.submit(Stage::work(), 2)}),
              UnorderedElementsAre(1, 4, 5));
}

TEST(Semaphores, NeedsAreTakenAllOrNone) {
  Stage stage(with_slots(4));
  stage.turn({set(stage, "a", 1), set(stage, "b", 1)});
  EXPECT_THAT(turn(stage, {stage.submit(needing({{"a", 1}})), stage.submit(needing({{"a", 1}, {"b", 1}}))}),
              ElementsAre(1));
  EXPECT_EQ(held(stage, "b"), 0u);
  EXPECT_THAT(turn(stage, {stage.done(1)}), ElementsAre(2));
  EXPECT_EQ(held(stage, "a"), 1u);
  EXPECT_EQ(held(stage, "b"), 1u);
}

TEST(Semaphores, ALargeNeedIsNotPassedForEverBySmallOnes) {
  Stage stage(with_slots(8));
  stage.turn({set(stage, "gpu", 4)});
  EXPECT_THAT(turn(stage, {stage.submit(needing({{"gpu", 1}}), 2)}), ElementsAre(1, 2));
  EXPECT_THAT(turn(stage, {stage.submit(needing({{"gpu", 4}}))}), IsEmpty());
  EXPECT_THAT(turn(stage, {stage.submit(needing({{"gpu", 1}}), 2)}), IsEmpty());  // would fit, but came later
  EXPECT_THAT(turn(stage, {stage.done(1)}), IsEmpty());
  EXPECT_THAT(turn(stage, {stage.done(2)}), ElementsAre(3));
  EXPECT_THAT(turn(stage, {stage.done(3)}), ElementsAre(4, 5));
}

TEST(Semaphores, WhoeverWaitsInAPausedQueueHoldsUpNobody) {
  StageSetup setup = with_slots(8);
  setup.queues = {{"other", Discipline::kFifo}};
  Stage stage(setup);
  JobSpec large = needing({{"gpu", 2}});
  large.queue = "other";
  stage.turn({set(stage, "gpu", 2), stage.submit(needing({{"gpu", 1}}))});
  stage.turn({stage.submit(large)});
  EXPECT_THAT(turn(stage, {stage.submit(needing({{"gpu", 1}}))}), IsEmpty());
  EXPECT_THAT(turn(stage, {event::PutQueue{++stage.token, "other", {}, true}}), ElementsAre(3));
  EXPECT_THAT(turn(stage, {stage.done(1), stage.done(3)}), IsEmpty());
  EXPECT_THAT(turn(stage, {event::PutQueue{++stage.token, "other", {}, false}}), ElementsAre(2));
}

TEST(Semaphores, ANeedThatCouldNeverBeMetIsRefused) {
  Stage stage(with_slots(4));
  stage.turn({set(stage, "gpu", 2)});
  EXPECT_THAT(stage.turn({stage.submit(needing({{"gpu", 3}}))}),
              ElementsAre(AllOf(HasSubstr("refused"), HasSubstr("3 permits of semaphore \"gpu\""))));
  EXPECT_THAT(stage.turn({stage.submit(needing({{"none", 1}}))}),
              ElementsAre(AllOf(HasSubstr("refused"), HasSubstr("no semaphore \"none\""))));
}

TEST(Semaphores, OneThatShrankKeepsItsHoldersAndLetsSmallerNeedsPass) {
  Stage stage(with_slots(8));
  stage.turn({set(stage, "gpu", 4), stage.submit(needing({{"gpu", 4}}), 2)});
  stage.turn({set(stage, "gpu", 1)});
  EXPECT_EQ(held(stage, "gpu"), 4u);
  stage.turn({stage.submit(needing({{"gpu", 1}}))});
  EXPECT_THAT(turn(stage, {stage.done(1)}), ElementsAre(3));
  EXPECT_THAT(stage.scheduler->limited_by(needing({{"gpu", 4}}), stage.now.at), HasSubstr("which has only 1"));
  EXPECT_THAT(turn(stage, {stage.done(3)}), IsEmpty());
  EXPECT_THAT(turn(stage, {set(stage, "gpu", 4)}), ElementsAre(2));
}

TEST(Semaphores, OneThatJobsNeedIsNotRemoved) {
  Stage stage(with_slots(1));
  stage.turn({set(stage, "gpu", 1), stage.submit(needing({{"gpu", 1}}))});
  EXPECT_THAT(stage.turn({drop(stage, "gpu")}), ElementsAre(AllOf(HasSubstr("refused"), HasSubstr("1 job needs it"))));
  stage.turn({stage.done(1)});
  stage.turn({drop(stage, "gpu")});
  EXPECT_THAT(stage.scheduler->semaphores(), IsEmpty());
  EXPECT_THAT(stage.turn({drop(stage, "gpu")}), ElementsAre(HasSubstr("no semaphore \"gpu\"")));
  EXPECT_THAT(stage.turn({stage.submit(needing({{"gpu", 1}}))}), ElementsAre(HasSubstr("no semaphore \"gpu\"")));
}

TEST(Semaphores, OneThatAScheduleNeedsIsNotRemoved) {
  Stage stage(with_slots(1));
  ScheduleRow row;
  row.name = "nightly";
  row.every = std::chrono::hours(24);
  stage.turn({set(stage, "gpu", 1),
              event::PutSchedule{++stage.token, {1000}, row, needing({{"gpu", 1}}), std::make_shared<const Zone>()}});
  EXPECT_THAT(stage.turn({drop(stage, "gpu")}),
              ElementsAre(AllOf(HasSubstr("schedule \"nightly\" need it"), HasSubstr("fut schedule rm nightly"))));
  stage.turn({event::ChangeSchedule{++stage.token, {1000}, "nightly", event::ChangeSchedule::What::kDelete}});
  stage.turn({drop(stage, "gpu")});
  EXPECT_THAT(stage.scheduler->semaphores(), IsEmpty());
}

// Who has waited longer goes first, though the options of the queue change meanwhile.
TEST(Semaphores, AChangeOfTheQueueLeavesThoseWhoWaitInTheirOrder) {
  Stage stage(with_slots(4));
  stage.turn({set(stage, "gpu", 1), set(stage, "other", 1)});
  EXPECT_THAT(turn(stage, {stage.submit(needing({{"gpu", 1}}), 3), stage.submit(needing({{"gpu", 1}, {"other", 1}}))}),
              ElementsAre(1));
  EXPECT_THAT(turn(stage, {stage.done(1)}), ElementsAre(2));  // the third goes to the back
  event::PutQueue put{++stage.token, "default"};
  put.options = QueueOptions{.concurrency_max = 10};
  put.changed_options = {QueueField::kConcurrencyMax};
  EXPECT_THAT(turn(stage, {put}), IsEmpty());
  stage.scheduler->audit();
  EXPECT_THAT(turn(stage, {stage.done(2)}), ElementsAre(4));
  EXPECT_THAT(turn(stage, {stage.done(4)}), ElementsAre(3));
}

TEST(Semaphores, OneThatJobsOnDiskMayNeedIsNotRemoved) {
  StageSetup setup = with_slots(1);
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.queues = {{QueueId{1}, "default", Discipline::kFifo, true}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  setup.snapshot.backlog = {{QueueId{1}, PoolId{1}, 7}};
  setup.snapshot.semaphores = {{"gpu", 1}, {"unused", 1}};
  setup.snapshot.needs = {{"default", "gpu"}};
  Stage stage(setup);
  EXPECT_THAT(stage.turn({drop(stage, "gpu")}), Contains(HasSubstr("lie on disk")));
  stage.turn({drop(stage, "unused")});
  EXPECT_EQ(stage.scheduler->semaphores().size(), 1u);
}

TEST(Semaphores, PermitsComeBackHoweverAnAttemptEnds) {
  Stage stage(with_slots(2));
  stage.turn({set(stage, "gpu", 1)});
  JobSpec spec = needing({{"gpu", 1}});
  spec.max_attempts = 2;
  EXPECT_THAT(turn(stage, {stage.submit(spec, 2)}), ElementsAre(1));
  EXPECT_EQ(turn(stage, {stage.failed(1)}).size(), 1u);  // one of the two goes on
  EXPECT_EQ(held(stage, "gpu"), 1u);
  const std::uint64_t running = stage.history.back().offers.front().fence.job.value;
  const std::uint32_t slot = stage.history.back().offers.front().slot.value;
  stage.turn({stage.slot_ended(slot, running)});
  EXPECT_EQ(held(stage, "gpu"), 1u);
}

TEST(Semaphores, AKilledAttemptHoldsUntilItsWorkerIsGone) {
  Stage stage(with_slots(2));
  stage.turn({set(stage, "gpu", 1), stage.submit(needing({{"gpu", 1}}), 2)});
  stage.step(stage.head(1, 1));
  stage.turn({stage.cancel(1)});
  stage.pass(std::chrono::seconds(2));  // past its grace: killed, and not yet dead
  EXPECT_EQ(held(stage, "gpu"), 1u);
  EXPECT_THAT(turn(stage, {stage.slot_ended(1, 1)}), ElementsAre(2));
  EXPECT_EQ(held(stage, "gpu"), 1u);
}

TEST(Semaphores, AnAdoptedAttemptHoldsItsPermits) {
  StageSetup setup = with_slots(2);
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 3;
  setup.snapshot.specs_until = 2;
  setup.snapshot.queues = {{QueueId{1}, "default", Discipline::kFifo, false}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  setup.snapshot.semaphores = {{"gpu", 1}};
  JobSpec spec = needing({{"gpu", 1}});
  spec.pool = "default";
  setup.snapshot.specs = {{SpecId{1}, spec}};
  StoredJob running{JobId{1}, SpecId{1}};
  StoredJob waiting{JobId{2}, SpecId{1}};
  setup.snapshot.resident = {running, waiting};
  setup.live.jobs = {running};
  setup.live.specs = setup.snapshot.specs;
  Stage stage(setup);
  stage.turn({stage.adopt(1, {JobId{1}, Epoch{1}, 1})});
  EXPECT_EQ(held(stage, "gpu"), 1u);
  EXPECT_THAT(turn(stage, {}), IsEmpty());
  EXPECT_THAT(turn(stage, {stage.done(1)}), ElementsAre(2));
}

TEST(Semaphores, WhyNamesTheSemaphoreAndWhatFreesIt) {
  Stage stage(with_slots(4));
  const JobSpec spec = needing({{"gpu", 1}});
  stage.turn({set(stage, "gpu", 1), stage.submit(spec, 2)});
  EXPECT_THAT(stage.scheduler->limited_by(spec, stage.now.at), HasSubstr("1 of 1 are held by running jobs"));
  stage.turn({stage.done(1), stage.done(2)});
}

TEST(Semaphores, AreRowsOfTheirTurn) {
  Stage stage(with_slots(1));
  stage.turn({set(stage, "gpu", 2)});
  EXPECT_THAT(stage.history.back().rows.semaphores, ElementsAre(SemaphoreRow{"gpu", 2}));
  stage.turn({set(stage, "gpu", 3), drop(stage, "gpu")});
  EXPECT_THAT(stage.history.back().rows.semaphores, IsEmpty());
  EXPECT_THAT(stage.history.back().rows.semaphores_removed, ElementsAre("gpu"));
}

}  // namespace
}  // namespace futured
