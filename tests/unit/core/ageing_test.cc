#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

StageSetup with_priorities() { return {.queues = {{"urgent", Discipline::kPriority}}}; }

event::PutQueue ages(Duration ageing, const std::string& queue = "urgent") {
  event::PutQueue put{99, queue};
  put.options = QueueOptions{.concurrency_max = 1, .ageing = ageing};
  put.changed_options = {QueueField::kAgeing, QueueField::kConcurrencyMax};
  return put;
}

JobSpec urgent(std::int32_t priority) {
  JobSpec spec = Stage::in_queue("urgent");
  spec.priority = priority;
  return spec;
}

// One of priority 0, and ever new ones of priority 3, one a second. How many of those start before it.
int started_before_the_low_one(Stage& stage, int seconds_at_most) {
  stage.turn({stage.submit(urgent(3))});  // has the slot
  stage.turn({stage.submit(urgent(0))});
  std::uint64_t running = 1;
  for (int second = 0; second < seconds_at_most; ++second) {
    stage.turn({stage.submit(urgent(3), 2)});
    stage.pass(seconds(1));
    stage.turn({stage.done(running)});
    const auto& offers = stage.history.back().offers;
    if (offers.size() != 1) return -1;
    running = offers.front().fence.job.value;
    if (running == 2) return second;
  }
  return seconds_at_most;
}

TEST(Ageing, AFloodOfMoreUrgentJobsStarvesNobody) {
  Stage stage(with_priorities());
  stage.turn({ages(seconds(10))});
  // Three steps of ten seconds: then those that come stand behind it.
  const int before = started_before_the_low_one(stage, 200);
  EXPECT_GE(before, 20);
  EXPECT_LE(before, 60);
  stage.scheduler->audit();
}

TEST(Ageing, WithoutItAFloodDoes) {
  Stage stage(with_priorities());
  stage.turn({ages(seconds(0))});
  EXPECT_EQ(started_before_the_low_one(stage, 200), 200);
}

TEST(Ageing, APlaceCountsFromWhenTheJobMightStart) {
  const JobSpec spec = [] {
    JobSpec aged = urgent(2);
    aged.ageing = seconds(1);
    return aged;
  }();
  const OrderKey early = order_key(Discipline::kPriority, spec, JobId{7}, WallTime{5'000'000});
  const OrderKey late = order_key(Discipline::kPriority, spec, JobId{7}, WallTime{9'999'999});
  EXPECT_EQ(early.rank, 3);
  EXPECT_EQ(late.rank, 7);
  EXPECT_EQ(order_key(Discipline::kFifo, spec, JobId{7}, WallTime{9'999'999}).rank, 0);
}

TEST(Ageing, IsRefusedWhereThereAreNoPriorities) {
  Stage stage(with_priorities());
  EXPECT_THAT(stage.turn({ages(seconds(1), "default")}),
              ElementsAre("refused 99: options.ageing_ms: queue \"default\" is fifo and has no priorities that waiting "
                          "could raise"));
  event::PutQueue create{100, "new", Discipline::kLifo};
  create.options = QueueOptions{.ageing = seconds(1)};
  EXPECT_THAT(stage.turn({create}), ElementsAre(HasSubstr("refused 100: options.ageing_ms")));
  EXPECT_FALSE(stage.scheduler->has_queue("new"));
}

TEST(Ageing, DoesNotChangeWhileJobsWait) {
  Stage stage(with_priorities());
  stage.turn({stage.submit(urgent(0))});
  EXPECT_THAT(stage.turn({ages(seconds(1))}), ElementsAre(HasSubstr("has 1 jobs that have not ended")));
  stage.turn({stage.done(1)});
  EXPECT_THAT(stage.turn({ages(seconds(1))}), ElementsAre("queue 99: urgent"));
  // Another option may change meanwhile.
  stage.turn({stage.submit(urgent(0))});
  event::PutQueue put{101, "urgent"};
  put.options = QueueOptions{.concurrency_max = 3};
  put.changed_options = {QueueField::kConcurrencyMax};
  EXPECT_THAT(stage.turn({put}), testing::Contains("queue 101: urgent"));
}

}  // namespace
}  // namespace futured
