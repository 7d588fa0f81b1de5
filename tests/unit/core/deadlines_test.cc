#include <gmock/gmock.h>

#include <map>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint32_t kFew = limits::kWindowJobsPerQueueMin;

JobSpec timed(milliseconds queue_timeout, milliseconds total_timeout = milliseconds(0)) {
  JobSpec spec = Stage::work();
  spec.queue_timeout = queue_timeout;
  spec.total_timeout = total_timeout;
  return spec;
}

// A window of 64 jobs, and no worker: whatever comes after them lies in the backlog.
StageSetup small_and_still() {
  StageSetup setup;
  setup.window_bytes = 1;
  setup.workers_ready = false;
  setup.pools = {{"default", false, 1, {"work"}}};
  return setup;
}

// What the store of this stage has.
struct Stored {
  std::map<JobId, StoredJob> jobs;
  std::map<std::pair<WallTime, JobId>, std::uint32_t> deadlines;
  std::vector<SpecRow> specs;
};

Stored stored(const Stage& stage) {
  Stored all;
  const auto add = [&](const Batch& rows) {
    for (const SpecRow& row : rows.specs) all.specs.push_back(row);
    for (const JobRow& row : rows.jobs) {
      all.jobs[row.id] = {.id = row.id,
                          .spec = row.spec,
                          .owner = row.owner,
                          .submitted_at = row.submitted_at,
                          .payload = row.payload,
                          .state = row.ending.state};
    }
    for (const OutcomeRow& row : rows.outcomes) all.jobs[row.id].state = row.ending.state;
    for (const BacklogKey& row : rows.backlog_added) all.jobs[job_of(row.key)].in_backlog = true;
    for (const BacklogKey& row : rows.backlog_removed) all.jobs[job_of(row.key)].in_backlog = false;
    for (const DeadlineRow& row : rows.deadlines_removed) all.deadlines.erase({row.at, row.first});
    for (const DeadlineRow& row : rows.deadlines_added) all.deadlines[{row.at, row.first}] = row.count;
  };
  for (const Effects& turn : stage.history) add(turn.rows);
  return all;
}

// The store's answer to what the last turn asked.
event::Loaded answer(const Stage& stage, const std::vector<JobId>& asked) {
  const Stored all = stored(stage);
  event::Loaded loaded{.asked = asked, .answer = {{}, all.specs}, .due = true};
  for (const JobId id : asked) {
    if (const auto found = all.jobs.find(id); found != all.jobs.end()) loaded.answer.jobs.push_back(found->second);
  }
  return loaded;
}

// Answers what is due until nothing more is asked; the sizes of the questions.
std::vector<std::size_t> answer_all(Stage& stage) {
  std::vector<std::size_t> asked;
  while (!stage.history.back().due.empty()) {
    asked.push_back(stage.history.back().due.size());
    stage.turn({answer(stage, stage.history.back().due)});
  }
  return asked;
}

std::size_t timed_out(const Stage& stage, CauseKind cause) {
  std::size_t count = 0;
  for (const auto& [id, job] : stored(stage).jobs) {
    if (job.state == JobState::kTimedOut && stage.ending(id.value)->cause->kind == cause) ++count;
  }
  return count;
}

TEST(BacklogDeadlines, JobsOnDiskTimeOutInTheirTime) {
  Stage stage(small_and_still());
  stage.turn({stage.submit(timed(milliseconds(1000)), 10 * kFew)});
  EXPECT_THAT(stored(stage).deadlines, SizeIs(1)) << "one entry for all of a batch";
  stage.pass(milliseconds(999));
  EXPECT_EQ(timed_out(stage, CauseKind::kQueueTimeout), 0u);
  stage.pass(milliseconds(1));
  EXPECT_THAT(answer_all(stage), testing::ElementsAre(256, 256, 64));
  EXPECT_EQ(timed_out(stage, CauseKind::kQueueTimeout), 10u * kFew);
  EXPECT_THAT(stored(stage).deadlines, IsEmpty());
  EXPECT_TRUE(stage.scheduler->idle());
  stage.scheduler->audit();
}

TEST(BacklogDeadlines, TheEarlierOfTwoTimeoutsRules) {
  Stage stage(small_and_still());
  stage.turn({stage.submit(timed(seconds(5), milliseconds(300)), 2 * kFew)});
  stage.pass(milliseconds(300));
  answer_all(stage);
  EXPECT_EQ(timed_out(stage, CauseKind::kTotalTimeout), 2u * kFew);
}

TEST(BacklogDeadlines, JobsWithoutTimeoutsCostNothing) {
  Stage stage(small_and_still());
  stage.turn({stage.submit(Stage::work(), 2 * kFew)});
  EXPECT_THAT(stored(stage).deadlines, IsEmpty());
  EXPECT_EQ(stage.scheduler->next_timer(), Instant::never());
}

TEST(BacklogDeadlines, SubmitsOfManyTurnsShareEntriesByTheirTime) {
  Stage stage(small_and_still());
  stage.turn({stage.submit(timed(milliseconds(1000)), 2 * kFew)});
  for (int i = 0; i < 20; ++i) {  // 20 ms
    stage.pass(milliseconds(1));
    stage.turn({stage.submit(timed(milliseconds(1000)))});
  }
  EXPECT_LE(stored(stage).deadlines.size(), 5u);
  stage.pass(milliseconds(985));
  answer_all(stage);
  EXPECT_LT(timed_out(stage, CauseKind::kQueueTimeout), 2u * kFew + 20) << "none before its time";
  stage.pass(milliseconds(15));
  answer_all(stage);
  EXPECT_EQ(timed_out(stage, CauseKind::kQueueTimeout), 2u * kFew + 20);
  EXPECT_THAT(stored(stage).deadlines, IsEmpty());
}

TEST(BacklogDeadlines, BatchesThatFollowEachOtherShareAnEntry) {
  Stage stage(small_and_still());
  stage.turn({stage.submit(timed(milliseconds(1000)), 2 * kFew)});
  std::vector<Event> singles;
  for (int i = 0; i < 20; ++i) singles.push_back(stage.submit(timed(milliseconds(1000))));
  stage.turn(std::move(singles));
  EXPECT_THAT(stored(stage).deadlines, SizeIs(1));
  stage.pass(milliseconds(1000));
  answer_all(stage);
  EXPECT_EQ(timed_out(stage, CauseKind::kQueueTimeout), 2u * kFew + 20);
}

TEST(BacklogDeadlines, AnEarlierOneThatComesLaterGoesFirst) {
  Stage stage(small_and_still());
  stage.turn({stage.submit(timed(milliseconds(1000)), 2 * kFew)});
  stage.turn({stage.submit(timed(milliseconds(100)))});
  stage.pass(milliseconds(100));
  answer_all(stage);
  EXPECT_EQ(timed_out(stage, CauseKind::kQueueTimeout), 1u);
  stage.pass(milliseconds(900));
  answer_all(stage);
  EXPECT_EQ(timed_out(stage, CauseKind::kQueueTimeout), 2u * kFew + 1);
}

TEST(BacklogDeadlines, ARestartKnowsThem) {
  Stage before(small_and_still());
  before.turn({before.submit(timed(milliseconds(1000)), 2 * kFew)});
  const Stored all = stored(before);
  StageSetup setup = small_and_still();
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 1000;
  setup.snapshot.specs_until = 100;
  setup.snapshot.queues = {{QueueId{1}, "default", Discipline::kFifo, true}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  setup.snapshot.backlog = {{QueueId{1}, PoolId{1}, kFew}};
  for (const auto& [key, count] : all.deadlines) setup.snapshot.deadlines.push_back({key.first, key.second, count});
  Stage stage(std::move(setup));
  stage.pass(milliseconds(1000));
  ASSERT_THAT(stage.history.back().due, SizeIs(kFew));
  stage.turn({answer(before, stage.history.back().due)});
  EXPECT_THAT(stage.history.back().rows.outcomes, SizeIs(kFew));
  EXPECT_THAT(stage.history.back().rows.deadlines_removed, SizeIs(1));
}

TEST(BacklogDeadlines, WhatEndedWhileItWasBeingReadIsNotEndedTwice) {
  Stage stage(small_and_still());
  stage.turn({stage.submit(timed(milliseconds(1000)), 2 * kFew)});
  stage.pass(milliseconds(1000));
  const std::vector<JobId> asked = stage.history.back().due;
  const event::Loaded read = answer(stage, asked);
  // A cancel brings one of them in and ends it.
  stage.turn({stage.cancel(kFew + 3)});
  event::Loaded one = answer(stage, {JobId{kFew + 3}});
  one.due = false;
  stage.turn({one});
  ASSERT_NE(stage.ending(kFew + 3), nullptr);
  stage.turn({read});
  answer_all(stage);
  EXPECT_EQ(stage.ending(kFew + 3)->state, JobState::kCancelled);
  EXPECT_EQ(timed_out(stage, CauseKind::kQueueTimeout), 2u * kFew - 1);
  stage.scheduler->audit();
}

TEST(BacklogDeadlines, AJobThatACancelBroughtInAndLeftStillTimesOut) {
  Stage stage(small_and_still());
  stage.turn({stage.submit(timed(milliseconds(1000)), 2 * kFew)});
  stage.pass(milliseconds(1000));
  const event::Loaded read = answer(stage, stage.history.back().due);
  stage.turn({stage.cancel(kFew + 3, /*uid=*/4321)});  // not his
  event::Loaded one = answer(stage, {JobId{kFew + 3}});
  one.due = false;
  stage.turn({one});
  stage.turn({read});
  stage.pass(milliseconds(0));
  answer_all(stage);
  stage.pass(milliseconds(1));
  answer_all(stage);
  EXPECT_EQ(timed_out(stage, CauseKind::kQueueTimeout), 2u * kFew);
  EXPECT_THAT(stored(stage).deadlines, IsEmpty());
}

}  // namespace
}  // namespace futured
