#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

event::PutQueue bounded(std::uint64_t token, std::uint64_t jobs_max, std::uint64_t bytes_max = 0) {
  event::PutQueue put{token, "q", Discipline::kFifo};
  put.options = QueueOptions{.queued_jobs_max = jobs_max, .queued_bytes_max = bytes_max};
  return put;
}

Event waiting(Stage& stage, std::uint32_t count) {
  Event submit = stage.submit(Stage::in_queue("q"), count);
  std::get<event::Submit>(submit).waits = true;
  return submit;
}

TEST(Room, ASubmitOverTheBoundIsRefusedByName) {
  Stage stage;
  stage.turn({bounded(100, 3), stage.submit(Stage::in_queue("q"), 2)});
  EXPECT_THAT(stage.turn({stage.submit(Stage::in_queue("q"), 2)}),
              ElementsAre("refused 2: queue \"q\" is full: it has 2 jobs that have not ended, and with 2 more it would "
                          "be over its queued_jobs_max of 3; try again later, or raise it with fut queue set"));
  EXPECT_EQ(stage.history.back().refused.at(0).error.code, ErrorCode::kResourceExhausted);
  EXPECT_THAT(stage.turn({stage.submit(Stage::in_queue("q"), 1)}), Contains("accepted 3: 3 x1"));
  stage.turn({stage.done(1)});
  EXPECT_THAT(stage.turn({stage.submit(Stage::in_queue("q"), 1)}), Contains("accepted 4: 4 x1"));
}

TEST(Room, BytesOfPayloadsAreBoundedToo) {
  Stage stage;
  stage.turn({bounded(100, 0, 20), stage.submit(Stage::in_queue("q"), 1, 15)});
  EXPECT_THAT(stage.turn({stage.submit(Stage::in_queue("q"), 1, 6)}), ElementsAre(HasSubstr("queued_bytes_max of 20")));
  EXPECT_THAT(stage.turn({stage.submit(Stage::in_queue("q"), 1, 5)}), Contains("accepted 3: 2 x1"));
  EXPECT_EQ(stage.history.back().rows.queue_bytes.at(0).bytes, 20u);
  stage.turn({stage.done(1), stage.done(2)});
  EXPECT_EQ(stage.history.back().rows.queue_bytes.at(0).bytes, 0u);
}

TEST(Room, WhatNeverFitsIsSaidToBeWrong) {
  Stage stage;
  stage.turn({bounded(100, 3)});
  EXPECT_THAT(stage.turn({waiting(stage, 4)}),
              ElementsAre(HasSubstr("4 jobs at once are over the queued_jobs_max of 3")));
  EXPECT_EQ(stage.history.back().refused.at(0).error.code, ErrorCode::kInvalidArgument);
}

TEST(Room, WhoWaitsComesInWhenThereIsRoomInTurn) {
  Stage stage;
  stage.turn({bounded(100, 2), stage.submit(Stage::in_queue("q"), 2)});
  EXPECT_THAT(stage.turn({waiting(stage, 2), waiting(stage, 1)}), IsEmpty());
  EXPECT_THAT(stage.scheduler->full_queues(), ElementsAre("q"));
  EXPECT_FALSE(stage.scheduler->idle());
  stage.turn({stage.done(1)});
  EXPECT_THAT(stage.turn({stage.submit(Stage::in_queue("q"), 1)}), ElementsAre(HasSubstr("others wait for room")))
      << "there is room for one, but two wait before it";
  EXPECT_THAT(stage.turn({stage.done(2)}), Contains("accepted 2: 3 x2"));
  EXPECT_THAT(stage.turn({stage.done(3)}), Contains("accepted 3: 5 x1"));
  EXPECT_THAT(stage.scheduler->full_queues(), IsEmpty());
  stage.scheduler->audit();
}

// What was sent first has the first numbers, though its key is looked up a second time.
TEST(Room, OneWithAKeyKeepsItsPlaceInLine) {
  Stage stage;
  stage.turn({bounded(100, 1), stage.submit(Stage::in_queue("q"), 1)});
  Event keyed = waiting(stage, 1);
  std::get<event::Submit>(keyed).keys = {{"k", 7}};
  std::get<event::Submit>(keyed).key_is_of_batch = true;
  stage.turn({keyed});
  stage.turn({event::KeysFound{KeyAnswer(1)}});  // nobody has used it, and there is no room
  stage.turn({waiting(stage, 1)});
  EXPECT_THAT(stage.turn({stage.done(1)}), Contains("key? k"));
  EXPECT_THAT(stage.turn({stage.submit(Stage::in_queue("q"), 1)}), ElementsAre(HasSubstr("others wait for room")));
  EXPECT_THAT(stage.turn({event::KeysFound{KeyAnswer(1)}}), Contains("accepted 2: 2 x1"));
  EXPECT_THAT(stage.turn({stage.done(2)}), Contains("accepted 3: 3 x1"));
  stage.scheduler->audit();
}

TEST(Room, ARaisedBoundLetsThemInAndDrainingRefusesThem) {
  Stage stage;
  stage.turn({bounded(100, 2), stage.submit(Stage::in_queue("q"), 2)});
  stage.turn({waiting(stage, 2), waiting(stage, 2)});
  event::PutQueue raised{101, "q"};
  raised.options = QueueOptions{.queued_jobs_max = 4};
  raised.changed_options = {QueueField::kQueuedJobsMax};
  EXPECT_THAT(stage.turn({raised}), Contains("accepted 2: 3 x2"));
  event::PutQueue drained{102, "q"};
  drained.draining = true;
  EXPECT_THAT(stage.turn({drained}), Contains(HasSubstr("refused 3: queue \"q\" is draining")));
  stage.scheduler->audit();
}

TEST(Room, WhatWaitsIsBounded) {
  Stage stage;
  stage.turn({bounded(100, 10'000), stage.submit(Stage::in_queue("q"), 10'000)});
  std::size_t held = 0;
  while (held + 10'000 <= limits::kHeldJobsMax) {
    ASSERT_THAT(stage.turn({waiting(stage, 10'000)}), IsEmpty());
    held += 10'000;
  }
  EXPECT_THAT(stage.turn({waiting(stage, 10'000)}), ElementsAre(HasSubstr("queue \"q\" is full")));
}

TEST(Room, IsCountedAcrossARestart) {
  StageSetup setup;
  setup.snapshot.queues = {{QueueId{1}, "default"}, {QueueId{2}, "q"}};
  setup.snapshot.queues[1].options.queued_jobs_max = 5;
  setup.snapshot.queues[1].options.queued_bytes_max = 100;
  setup.snapshot.queues[1].bytes = 90;
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  setup.snapshot.backlog = {{QueueId{2}, PoolId{1}, 4}};
  Stage stage(setup);
  EXPECT_THAT(stage.turn({stage.submit(Stage::in_queue("q"), 2)}), Contains(HasSubstr("it has 4 jobs")));
  EXPECT_THAT(stage.turn({stage.submit(Stage::in_queue("q"), 1, 11)}),
              ElementsAre(HasSubstr("it has 90 bytes of jobs")));
  EXPECT_THAT(stage.turn({stage.submit(Stage::in_queue("q"), 1, 10)}), Contains(HasSubstr("accepted 3")));
}

}  // namespace
}  // namespace futured
