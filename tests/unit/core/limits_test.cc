// Limits of queues and of their keys, turns of fairness keys.
#include <gmock/gmock.h>

#include <algorithm>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using std::chrono::milliseconds;
using std::chrono::seconds;

StageSetup with_slots(std::uint32_t slots) {
  StageSetup setup;
  setup.pools = {{"default", false, slots}};
  return setup;
}

Event limit(Stage& stage, QueueOptions options, const std::string& queue = "default") {
  event::PutQueue put{++stage.token, queue, std::nullopt, std::nullopt, options};
  put.changed_options = {QueueField::kConcurrencyMax, QueueField::kConcurrencyPerKeyMax, QueueField::kRate,
                         QueueField::kRatePerKey, QueueField::kFair};
  return put;
}

QueueOptions at_once(std::uint32_t jobs) {
  QueueOptions options;
  options.concurrency_max = jobs;
  return options;
}

QueueOptions at_once_per_key(std::uint32_t jobs) {
  QueueOptions options;
  options.concurrency_per_key_max = jobs;
  return options;
}

QueueOptions at_rate(double starts, Duration per, std::uint32_t burst) {
  QueueOptions options;
  options.rate = {starts, per, burst};
  return options;
}

JobSpec of_key(const std::string& key) {
  JobSpec spec = Stage::work();
  spec.limit_key = key;
  return spec;
}

JobSpec fair(const std::string& key) {
  JobSpec spec = Stage::work();
  spec.fairness_key = key;
  return spec;
}

// Ids of the jobs that the last turn offered.
std::vector<std::uint64_t> offered(const Stage& stage) {
  std::vector<std::uint64_t> ids;
  for (const auto& offer : stage.history.back().offers) ids.push_back(offer.fence.job.value);
  return ids;
}

// What is offered while the time passes.
Lines offers_within(Stage& stage, Duration time) {
  Lines lines = stage.pass(time);
  std::erase_if(lines, [](const std::string& line) { return !line.starts_with("offer"); });
  return lines;
}

std::vector<std::uint64_t> turn(Stage& stage, std::vector<Event> events) {
  stage.turn(std::move(events));
  return offered(stage);
}

TEST(Limits, AQueueRunsNoMoreAtOnceThanItsConcurrency) {
  Stage stage(with_slots(4));
  stage.turn({limit(stage, at_once(2))});
  EXPECT_THAT(turn(stage, {stage.submit(Stage::work(), 5)}), ElementsAre(1, 2));
  EXPECT_THAT(turn(stage, {}), IsEmpty());
  EXPECT_THAT(turn(stage, {stage.done(1)}), ElementsAre(3));
  EXPECT_THAT(turn(stage, {stage.done(2), stage.done(3)}), ElementsAre(4, 5));
}

TEST(Limits, OtherQueuesPassOneThatIsAtItsLimit) {
  StageSetup setup = with_slots(4);
  setup.queues = {{"other", Discipline::kFifo}};
  Stage stage(setup);
  stage.turn({limit(stage, at_once(1))});
  EXPECT_THAT(turn(stage, {stage.submit(Stage::work(), 3), stage.submit(Stage::in_queue("other"), 2)}),
              testing::UnorderedElementsAre(1, 4, 5));
}

TEST(Limits, ConcurrencyHoldsAcrossPoolsAndThePoolsTakeTurns) {
  StageSetup setup;
  setup.pools = {{"first", false, 1}, {"second", false, 1}};
  Stage stage(setup);
  JobSpec first = Stage::work();
  first.pool = "first";
  JobSpec second = Stage::work();
  second.pool = "second";
  stage.turn({limit(stage, at_once(1))});
  std::vector<std::uint64_t> order = turn(stage, {stage.submit(first, 3), stage.submit(second, 3)});
  for (std::size_t next = 0; next < order.size(); ++next) {
    for (const std::uint64_t id : turn(stage, {stage.done(order[next])})) order.push_back(id);
  }
  EXPECT_THAT(order, ElementsAre(1, 2, 4, 3, 5, 6));
}

TEST(Limits, AWorkerThatDiesFreesWhatItsJobHeldOnce) {
  Stage stage(with_slots(2));
  stage.turn({limit(stage, at_once(1))});
  EXPECT_THAT(turn(stage, {stage.submit(Stage::work(), 2)}), ElementsAre(1));
  EXPECT_THAT(turn(stage, {stage.slot_ended(1, 1)}), ElementsAre(1));  // tried again, in the other slot
  EXPECT_THAT(turn(stage, {stage.slot_ready(1)}), IsEmpty());
  EXPECT_THAT(turn(stage, {stage.done(1)}), ElementsAre(2));
}

TEST(Limits, ARevokedOfferFreesItsPlace) {
  StageSetup setup = with_slots(2);
  Stage stage(setup);
  stage.turn({limit(stage, at_once(1))});
  stage.turn({stage.submit(Stage::work(), 2)});
  stage.turn({stage.cancel(1)});
  EXPECT_THAT(turn(stage, {stage.revoked(1, true)}), ElementsAre(2));
}

TEST(Limits, AChangeOfOptionsCountsWhatRuns) {
  Stage stage(with_slots(4));
  stage.turn({stage.submit(Stage::work(), 3)});
  stage.turn({limit(stage, at_once(2)), stage.submit(Stage::work(), 2)});
  EXPECT_THAT(offered(stage), IsEmpty());
  EXPECT_THAT(turn(stage, {stage.done(1)}), IsEmpty());
  EXPECT_THAT(turn(stage, {stage.done(2)}), ElementsAre(4));
  EXPECT_THAT(turn(stage, {limit(stage, QueueOptions{})}), ElementsAre(5));
}

TEST(Limits, APausedQueueStartsNothingAndGoesOnBelowItsLimit) {
  Stage stage(with_slots(2));
  stage.turn({limit(stage, at_once(1)), stage.submit(Stage::work(), 3)});
  stage.turn({event::PutQueue{++stage.token, "default", {}, true}});
  EXPECT_THAT(turn(stage, {stage.done(1)}), IsEmpty());
  EXPECT_THAT(turn(stage, {event::PutQueue{++stage.token, "default", {}, false}}), ElementsAre(2));
}

TEST(Limits, AKeyAtItsLimitBlocksNoOther) {
  Stage stage(with_slots(4));
  stage.turn({limit(stage, at_once_per_key(1))});
  EXPECT_THAT(turn(stage, {stage.submit(of_key("a"), 3), stage.submit(of_key("b"), 2)}),
              testing::UnorderedElementsAre(1, 4));
  EXPECT_THAT(turn(stage, {stage.done(1)}), ElementsAre(2));
  EXPECT_THAT(turn(stage, {stage.done(4)}), ElementsAre(5));
  EXPECT_THAT(turn(stage, {stage.done(2)}), ElementsAre(3));
}

TEST(Limits, JobsWithoutAKeyAreUnderNoLimitPerKey) {
  Stage stage(with_slots(4));
  stage.turn({limit(stage, at_once_per_key(1))});
  EXPECT_THAT(turn(stage, {stage.submit(of_key(""), 3)}), ElementsAre(1, 2, 3));
}

TEST(Limits, TheOrderAmongKeysThatMayStartIsThatOfTheQueue) {
  Stage stage(with_slots(1));
  stage.turn({limit(stage, at_once_per_key(5))});
  stage.turn(
      {stage.submit(of_key("a")), stage.submit(of_key("b")), stage.submit(of_key("a")), stage.submit(of_key("b"))});
  std::vector<std::uint64_t> order = offered(stage);
  for (std::size_t next = 0; next < order.size(); ++next) {
    for (const std::uint64_t id : turn(stage, {stage.done(order[next])})) order.push_back(id);
  }
  EXPECT_THAT(order, ElementsAre(1, 2, 3, 4));
}

TEST(Limits, AJobThatWaitsForItsKeyCanBeCancelled) {
  Stage stage(with_slots(4));
  stage.turn({limit(stage, at_once_per_key(1))});
  stage.turn({stage.submit(of_key("a"), 3)});
  stage.turn({stage.cancel(2)});
  ASSERT_NE(stage.ending(2), nullptr);
  EXPECT_THAT(turn(stage, {stage.done(1)}), ElementsAre(3));
}

TEST(Rates, ABurstGoesAtOnceAndThenTheRate) {
  Stage stage(with_slots(8));
  stage.turn({limit(stage, at_rate(10, seconds(1), 3))});
  EXPECT_THAT(turn(stage, {stage.submit(Stage::work(), 6)}), ElementsAre(1, 2, 3));
  EXPECT_THAT(offers_within(stage, milliseconds(99)), IsEmpty());
  EXPECT_THAT(offers_within(stage, milliseconds(2)), ElementsAre(HasSubstr("offer 4.1")));
  EXPECT_THAT(offers_within(stage, milliseconds(100)), ElementsAre(HasSubstr("offer 5.1")));
}

TEST(Rates, AMinuteIsExactThoughEveryTimerIsLate) {
  Stage stage(with_slots(4));
  stage.turn({limit(stage, at_rate(50, seconds(1), 1)), stage.submit(Stage::work(), 4000)});
  const auto move = [&](Duration by) {
    stage.now.at = stage.now.at + by;
    stage.now.wall = stage.now.wall + by;
  };
  const Instant until = stage.now.at + Duration(seconds(60));
  std::size_t started = offered(stage).size();
  std::size_t lateness = 0;
  while (stage.now.at < until) {
    for (const std::uint64_t id : offered(stage)) stage.step(stage.done(id));
    const Instant due = stage.scheduler->next_timer();
    ASSERT_LE(due, until + Duration(seconds(1)));
    move(std::max(due - stage.now.at, Duration(0)) + Duration(milliseconds(lateness++ % 15)));
    stage.turn({event::TimerDue{}});
    EXPECT_LE(offered(stage).size(), 1u);  // never more than `burst` at once
    started += offered(stage).size();
  }
  EXPECT_NEAR(static_cast<double>(started), 3000, 30);
}

TEST(Rates, AfterAPauseNoMoreThanABurst) {
  Stage stage(with_slots(8));
  stage.turn({limit(stage, at_rate(10, seconds(1), 2)), stage.submit(Stage::work(), 2)});
  stage.turn({stage.done(1), stage.done(2)});
  stage.pass(seconds(100));
  EXPECT_THAT(turn(stage, {stage.submit(Stage::work(), 6)}), ElementsAre(3, 4));
  EXPECT_THAT(offers_within(stage, milliseconds(90)), IsEmpty());
}

TEST(Rates, ARestartBeginsWithAnEmptyBucket) {
  StageSetup setup = with_slots(8);
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.queues = {{QueueId{1}, "default", Discipline::kFifo, false, at_rate(1, seconds(1), 5)}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  Stage stage(setup);
  EXPECT_THAT(turn(stage, {stage.submit(Stage::work(), 3)}), IsEmpty());
  EXPECT_THAT(offers_within(stage, milliseconds(1001)), ElementsAre(HasSubstr("offer 1.1")));
}

TEST(Rates, AKeyHasABucketOfItsOwn) {
  QueueOptions options;
  options.rate_per_key = {1, seconds(1), 1};
  Stage stage(with_slots(8));
  stage.turn({limit(stage, options)});
  EXPECT_THAT(turn(stage, {stage.submit(of_key("a"), 2), stage.submit(of_key("b"), 2)}),
              testing::UnorderedElementsAre(1, 3));
  EXPECT_THAT(offers_within(stage, milliseconds(1001)),
              testing::UnorderedElementsAre(HasSubstr("offer 2.1"), HasSubstr("offer 4.1")));
}

TEST(Rates, AnOfferThatIsTakenBackWasNoStart) {
  Stage stage(with_slots(2));
  stage.turn({limit(stage, at_rate(1, seconds(100), 1)), stage.submit(Stage::work(), 2)});
  stage.turn({stage.cancel(1)});
  EXPECT_THAT(turn(stage, {stage.revoked(1, true)}), ElementsAre(2));
}

TEST(Fair, KeysTakeTurns) {
  QueueOptions options;
  options.fair = true;
  options.concurrency_max = 1;
  Stage stage(with_slots(1));
  stage.turn({limit(stage, options)});
  stage.turn({stage.submit(fair("a"), 4), stage.submit(fair("b"), 2), stage.submit(fair("c"), 1)});
  std::vector<std::uint64_t> order = offered(stage);
  for (std::size_t next = 0; next < order.size(); ++next) {
    for (const std::uint64_t id : turn(stage, {stage.done(order[next])})) order.push_back(id);
  }
  EXPECT_THAT(order, ElementsAre(1, 5, 7, 2, 6, 3, 4));
}

TEST(Fair, AKeyThatPausedHasSavedUpNothing) {
  QueueOptions options;
  options.fair = true;
  options.concurrency_max = 1;
  Stage stage(with_slots(1));
  stage.turn({limit(stage, options)});
  stage.turn({stage.submit(fair("a"), 10)});
  for (std::uint64_t id = 1; id <= 5; ++id) stage.turn({stage.done(id)});
  std::vector<std::uint64_t> order;
  std::uint64_t running = 6;
  stage.turn({stage.submit(fair("b"), 4)});
  for (int i = 0; i < 4; ++i) {
    const auto next = turn(stage, {stage.done(running)});
    ASSERT_EQ(next.size(), 1u);
    running = next.front();
    order.push_back(running);
  }
  EXPECT_EQ(std::ranges::count_if(order, [](std::uint64_t id) { return id > 10; }), 2);
}

TEST(Limits, WhyNamesTheLimit) {
  Stage stage(with_slots(4));
  QueueOptions options = at_once_per_key(1);
  stage.turn({limit(stage, options), stage.submit(of_key("a"), 2)});
  EXPECT_THAT(stage.scheduler->limited_by(of_key("a"), stage.now.at), HasSubstr("limit key \"a\""));
  EXPECT_THAT(stage.scheduler->limited_by(of_key("b"), stage.now.at), IsEmpty());
  stage.turn({limit(stage, at_once(1))});
  EXPECT_THAT(stage.scheduler->limited_by(of_key("b"), stage.now.at), HasSubstr("concurrency_max of 1"));
}

}  // namespace
}  // namespace futured
