#include <gmock/gmock.h>

#include <map>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// A stage with the queues "default", "other" and "urgent", whose store answers what is asked about jobs.
class MoveStage : public Stage {
 public:
  explicit MoveStage(std::size_t window_bytes = 0)
      : Stage({.pools = {{"default", false, 1}, {"gpu", false, 1}},
               .queues = {{"other"}, {"urgent", Discipline::kPriority}},
               .window_bytes = window_bytes}) {}

  event::MoveJobs move(std::vector<std::uint64_t> jobs, const std::string& to, std::uint32_t uid = 0) {
    event::MoveJobs asked{.token = 100, .who = {uid}, .to = to};
    for (const std::uint64_t job : jobs) asked.jobs.push_back(JobId{job});
    return asked;
  }
  void pause(const std::string& queue, bool paused = true) {
    event::PutQueue put{99, queue};
    put.paused = paused;
    turn({put});
  }
  void bound(const std::string& queue, std::uint64_t jobs, std::uint64_t bytes = 0) {
    event::PutQueue put{99, queue};
    put.options = QueueOptions{.queued_jobs_max = jobs, .queued_bytes_max = bytes};
    put.changed_options = {QueueField::kQueuedJobsMax, QueueField::kQueuedBytesMax};
    turn({put});
  }
  QueueFigures figures(const std::string& queue) const { return *scheduler->queue(queue, now.at); }

  // As a store that has committed every turn has it.
  StoredJob stored(JobId id) const {
    StoredJob job;
    std::map<std::uint64_t, bool> in_backlog, delayed;
    for (const Effects& turn : history) {
      for (const JobRow& row : turn.rows.jobs) {
        if (row.id != id) continue;
        job = {.id = id,
               .spec = row.spec,
               .owner = row.owner,
               .submitted_at = row.submitted_at,
               .payload = row.payload,
               .state = row.ending.state,
               .start_at = row.start_at};
      }
      for (const MovedRow& row : turn.rows.moved) {
        if (row.job == id) job.spec = row.spec;
      }
      for (const OutcomeRow& row : turn.rows.outcomes) {
        if (row.id == id) job.state = row.ending.state;
      }
      for (const BacklogKey& row : turn.rows.backlog_removed) in_backlog[job_of(row.key).value] = false;
      for (const BacklogKey& row : turn.rows.backlog_added) in_backlog[job_of(row.key).value] = true;
      for (const DelayedKey& row : turn.rows.delayed_removed) delayed[row.job.value] = false;
      for (const DelayedKey& row : turn.rows.delayed_added) delayed[row.job.value] = true;
    }
    job.in_backlog = in_backlog[id.value];
    job.delayed = delayed[id.value];
    return job;
  }
  event::Loaded loaded(const std::vector<JobId>& ids) const {
    event::Loaded answer{ids, {}, false};
    for (const JobId id : ids) {
      if (const StoredJob job = stored(id); job.id.is_set()) answer.answer.jobs.push_back(job);
    }
    for (const Effects& turn : history) {
      for (const SpecRow& row : turn.rows.specs) answer.answer.specs.push_back(row);
    }
    return answer;
  }
  // Answers what the last turn has asked the store.
  Lines answer_loads() {
    const std::vector<JobId> ids = history.back().loads;
    EXPECT_FALSE(ids.empty());
    return turn({loaded(ids)});
  }
  std::string queue_of(std::uint64_t id) const {
    const StoredJob job = stored(JobId{id});
    for (const Effects& turn : history) {
      for (const SpecRow& row : turn.rows.specs) {
        if (row.id == job.spec) return row.spec.queue;
      }
    }
    return "";
  }
};

TEST(Move, ReadyJobsGoAndStandWhereTheirSubmitWouldHavePutThem) {
  MoveStage stage;
  stage.pause("default");
  stage.pause("other");
  stage.turn(
      {stage.submit(Stage::work(), 3), stage.submit(Stage::in_queue("other"), 1), stage.submit(Stage::work(), 1)});
  EXPECT_THAT(stage.turn({stage.move({2, 5}, "other")}), ElementsAre("moved 100: 2 moved, 5 moved"));
  EXPECT_EQ(stage.figures("default").queued, 2u);
  EXPECT_EQ(stage.figures("other").queued, 3u);
  EXPECT_EQ(stage.figures("default").bytes, 16u);
  EXPECT_EQ(stage.figures("other").bytes, 24u);
  EXPECT_EQ(stage.queue_of(2), "other");
  EXPECT_EQ(stage.queue_of(1), "default");
  stage.scheduler->audit();
  stage.pause("other", false);
  const std::size_t before = stage.history.size() - 1;
  for (const std::uint64_t job : {2, 4, 5}) stage.turn({stage.done(job)});
  std::vector<std::uint64_t> order;
  for (std::size_t i = before; i < stage.history.size(); ++i) {
    for (const effect::Offer& offer : stage.history[i].offers) order.push_back(offer.fence.job.value);
  }
  EXPECT_THAT(order, ElementsAre(2, 4, 5));
}

TEST(Move, WhatNoWorkerHasTakenComesBackFirstAndWhatRunsStays) {
  MoveStage stage;
  stage.turn({stage.submit(Stage::work(), 2)});
  stage.take(1, 1);
  Lines lines = stage.turn({stage.move({1, 2}, "other")});
  EXPECT_THAT(lines, Not(Contains(HasSubstr("moved"))));
  std::vector<Event> answers;
  for (const effect::OfSlot& revoke : stage.history.back().revokes) {
    answers.push_back(stage.revoked(revoke.fence.job.value, revoke.fence.job.value != 1));
  }
  lines = stage.turn(std::move(answers));
  EXPECT_THAT(lines, Contains("moved 100: 1 running, 2 moved"));
  EXPECT_EQ(stage.figures("other").queued + stage.figures("other").running, 1u);
  stage.scheduler->audit();
}

TEST(Move, TellsWhatBecameOfTheOthers) {
  MoveStage stage;
  stage.turn({stage.submit(Stage::work())});
  stage.turn({stage.done(1)});
  stage.pause("other");
  stage.turn({stage.submit(Stage::in_queue("other"))});
  EXPECT_THAT(stage.turn({stage.move({1, 2, 77}, "other")}), ElementsAre("load 1"));
  EXPECT_THAT(stage.answer_loads(), ElementsAre("moved 100: 1 ended, 2 already there, 77 not found"));
  EXPECT_THAT(stage.turn({stage.move({}, "other")}), ElementsAre("moved 100:"));
}

TEST(Move, OverABoundNothingOfTheStepIsMoved) {
  MoveStage stage;
  stage.pause("default");
  stage.pause("other");
  stage.bound("other", 2);
  stage.turn({stage.submit(Stage::work(), 3)});
  const Lines lines = stage.turn({stage.move({1, 2, 3}, "other")});
  EXPECT_THAT(lines, ElementsAre("refused 100: queue \"other\" is full: it has 0 jobs that have not ended, and with 3 "
                                 "more it would be over its queued_jobs_max of 2; try again later, or raise it with "
                                 "fut queue set"));
  EXPECT_EQ(stage.figures("default").queued, 3u);
  stage.scheduler->audit();
  EXPECT_THAT(stage.turn({stage.move({1, 2}, "other")}), ElementsAre("moved 100: 1 moved, 2 moved"));
  stage.bound("other", 0, 20);
  EXPECT_THAT(stage.turn({stage.move({3}, "other")}), ElementsAre(HasSubstr("over its queued_bytes_max of 20")));
  stage.pause("default", false);
  stage.turn();
  EXPECT_THAT(stage.history.back().offers, testing::SizeIs(0));
  EXPECT_TRUE(stage.scheduler->live(JobId{3})->slot.is_set());
}

TEST(Move, IsRefusedWhereItCannotGo) {
  MoveStage stage;
  stage.pause("default");
  stage.pause("other");
  stage.turn({stage.submit(Stage::work())});
  EXPECT_THAT(stage.turn({stage.move({1}, "none")}), ElementsAre(HasSubstr("no queue \"none\"")));
  EXPECT_THAT(stage.turn({stage.move({1}, "other", 77)}), ElementsAre("refused 100: job 1 belongs to user 1000"));
  EXPECT_THAT(stage.turn({stage.move({1}, "other", 1000)}), ElementsAre("moved 100: 1 moved"));
  event::MoveJobs all = stage.move({1}, "default", 1000);
  all.from = "other";
  EXPECT_THAT(stage.turn({all}), ElementsAre(HasSubstr("which only root and the daemon's own user may")));
  event::PutQueue put{99, "default"};
  put.draining = true;
  stage.turn({put});
  EXPECT_THAT(stage.turn({stage.move({1}, "default")}), ElementsAre(HasSubstr("is draining and takes no jobs")));
  put = {99, "urgent"};
  put.options = QueueOptions{.pools = {"gpu"}};
  put.changed_options = {QueueField::kPools};
  stage.turn({put});
  EXPECT_THAT(stage.turn({stage.move({1}, "urgent")}),
              Contains(HasSubstr("job 1 is for pool \"default\", which is not among those of queue \"urgent\"")));
  stage.scheduler->audit();
}

TEST(Move, OfAWholeQueueTakesOnlyWhatIsInIt) {
  MoveStage stage;
  stage.pause("default");
  stage.pause("other");
  stage.pause("urgent");
  stage.turn({stage.submit(Stage::work(), 2), stage.submit(Stage::in_queue("urgent"), 1)});
  event::MoveJobs all = stage.move({1, 2, 3}, "other");
  all.from = "default";
  EXPECT_THAT(stage.turn({all}), ElementsAre("moved 100: 1 moved, 2 moved, 3 not found"));
  EXPECT_EQ(stage.queue_of(3), "urgent");
}

TEST(Move, BlockedJobsAndThoseThatWaitForTheirNextAttemptGoAlong) {
  MoveStage stage;
  JobSpec spec = Stage::work();
  spec.max_attempts = 2;
  spec.backoff = seconds(10);
  stage.turn({stage.submit(spec)});
  stage.turn({stage.failed(1)});
  stage.pause("default");
  Event blocked = stage.submit(Stage::work());
  std::get<event::Submit>(blocked).dependencies = {{{JobId{1}, {}, DependencyCondition::kSucceeded}, std::nullopt}};
  stage.turn({blocked});
  EXPECT_THAT(stage.turn({stage.move({1, 2}, "other")}), ElementsAre("moved 100: 1 moved, 2 moved"));
  EXPECT_EQ(stage.figures("other").blocked, 1u);
  EXPECT_EQ(stage.figures("other").delayed, 1u);
  EXPECT_EQ(stage.figures("default").blocked + stage.figures("default").delayed, 0u);
  stage.scheduler->audit();
  EXPECT_THAT(stage.pass(seconds(10)), Contains(HasSubstr("offer")));
  EXPECT_THAT(stage.turn({stage.done(1)}), Contains(HasSubstr("offer")));
  stage.turn({stage.done(2)});
  EXPECT_EQ(stage.ending(2)->state, JobState::kSucceeded);
  EXPECT_EQ(stage.figures("other").succeeded, 2u);
}

TEST(Move, ADelayedJobIsLoadedAndKeepsItsTime) {
  MoveStage stage;
  Event later = stage.submit(Stage::work());
  std::get<event::Submit>(later).start_after = seconds(100);
  stage.turn({later});
  stage.rows();
  EXPECT_THAT(stage.turn({stage.move({1}, "other")}), ElementsAre("load 1"));
  EXPECT_THAT(stage.answer_loads(), ElementsAre("moved 100: 1 moved"));
  const Lines rows = stage.rows();
  EXPECT_THAT(rows, Contains("delayed + 1"));
  EXPECT_THAT(rows, Contains("delayed - 1"));
  EXPECT_EQ(stage.history.back().rows.delayed_added.at(0).at, stage.history.back().rows.delayed_removed.at(0).at);
  EXPECT_EQ(stage.figures("default").delayed, 0u);
  EXPECT_EQ(stage.figures("other").delayed, 1u);
  EXPECT_EQ(stage.scheduler->resident_jobs(), 0u);
  stage.scheduler->audit();
}

TEST(Move, TheBacklogGoesAlongAndNothingIsLost) {
  MoveStage stage(/*window_bytes=*/1);
  stage.pause("default");
  stage.pause("other");
  const std::uint32_t count = limits::kWindowJobsPerQueueMin + 20;
  stage.turn({stage.submit(Stage::work(), count)});
  ASSERT_EQ(stage.scheduler->backlog_jobs(), 20u);
  std::vector<std::uint64_t> last;
  for (std::uint64_t id = count - 9; id <= count; ++id) last.push_back(id);
  stage.turn({stage.move(last, "other")});
  EXPECT_THAT(stage.answer_loads(), Contains(HasSubstr("moved 100:")));
  EXPECT_EQ(stage.scheduler->backlog_jobs(), 10u);
  EXPECT_EQ(stage.figures("default").queued, count - 10);
  EXPECT_EQ(stage.figures("other").queued, 10u);
  EXPECT_EQ(stage.history.back().rows.backlog_removed.size(), 10u);
  EXPECT_TRUE(stage.history.back().rows.moved.at(0).opens);
  stage.scheduler->audit();
  // Resident now, and so they go back at once; there is no room, so they go to the backlog again.
  EXPECT_THAT(stage.turn({stage.move(last, "default")}), Contains(HasSubstr("moved 100:")));
  EXPECT_EQ(stage.scheduler->backlog_jobs(), 20u);
  EXPECT_EQ(stage.history.back().rows.backlog_added.size(), 10u);
  stage.scheduler->audit();
}

TEST(Move, WhatIsRefusedIsWhereItWas) {
  MoveStage stage(/*window_bytes=*/1);
  stage.pause("default");
  stage.bound("other", 1);
  const std::uint32_t count = limits::kWindowJobsPerQueueMin + 2;
  stage.turn({stage.submit(Stage::work(), count)});
  stage.turn({stage.move({1, count}, "other")});
  stage.scheduler->audit();
  EXPECT_THAT(stage.answer_loads(), Contains(HasSubstr("is full")));
  EXPECT_EQ(stage.figures("default").queued, count);
  EXPECT_EQ(stage.scheduler->backlog_jobs(), 2u);
  EXPECT_THAT(stage.history.back().rows.moved, IsEmpty());
  stage.scheduler->audit();
}

TEST(Move, AJobThatIsCancelledWhileItIsLookedForIsTold) {
  MoveStage stage(/*window_bytes=*/1);
  stage.pause("default");
  const std::uint32_t count = limits::kWindowJobsPerQueueMin + 2;
  stage.turn({stage.submit(Stage::work(), count)});
  stage.turn({stage.move({1, count}, "other"), stage.cancel(1)});
  EXPECT_EQ(stage.ending(1)->state, JobState::kCancelled);
  EXPECT_THAT(stage.answer_loads(), Contains("moved 100: 1 ended, " + std::to_string(count) + " moved"));
  EXPECT_EQ(stage.figures("default").cancelled, 1u);
  stage.scheduler->audit();
}

TEST(Move, TwoMovesOfOneJobDoNotMeet) {
  MoveStage stage(/*window_bytes=*/1);
  stage.pause("default");
  const std::uint32_t count = limits::kWindowJobsPerQueueMin + 2;
  stage.turn({stage.submit(Stage::work(), count)});
  event::MoveJobs second = stage.move({1}, "urgent");
  second.token = 101;
  EXPECT_THAT(stage.turn({stage.move({1, count}, "other"), second}),
              Contains("refused 101: job 1 is just being moved by another call; try again"));
  EXPECT_THAT(stage.answer_loads(), Contains(HasSubstr("moved 100: 1 moved")));
}

TEST(Move, TwoMovesThatAskTheSameJobBackDoNotMeet) {
  MoveStage stage;
  stage.turn({stage.submit(Stage::work(), 2)});
  event::MoveJobs second = stage.move({2}, "urgent");
  second.token = 101;
  stage.turn({stage.move({1, 2}, "other"), second});
  EXPECT_THAT(stage.turn({stage.revoked(2, true)}),
              Contains("refused 101: job 2 is just being moved by another call; try again"));
  EXPECT_THAT(stage.turn({stage.revoked(1, true)}), Contains("moved 100: 1 moved, 2 moved"));
  EXPECT_EQ(stage.figures("other").queued + stage.figures("other").running, 2u);
  stage.scheduler->audit();
}

TEST(Move, IsToldToThoseWhoWatch) {
  MoveStage stage;
  stage.pause("default");
  stage.pause("other");
  stage.turn({event::Record{true}, stage.submit(Stage::work())});
  stage.turn({stage.move({1}, "other")});
  ASSERT_FALSE(stage.history.back().changes.empty());
  const auto* change = std::get_if<effect::JobChange>(&stage.history.back().changes.back().what);
  ASSERT_NE(change, nullptr);
  EXPECT_EQ(change->spec->queue, "other");
  EXPECT_EQ(change->state, JobState::kQueued);
}

TEST(Move, KeepsWhatWasSettledAtTheSubmit) {
  MoveStage stage;
  stage.pause("default");
  stage.pause("urgent");
  JobSpec spec = Stage::work();
  spec.run_timeout = seconds(7);
  spec.max_attempts = 3;
  stage.turn({stage.submit(spec)});
  event::PutQueue put{99, "urgent"};
  put.options = QueueOptions{.ageing = seconds(5)};
  put.changed_options = {QueueField::kAgeing};
  stage.turn({put});
  stage.turn({stage.move({1}, "urgent")});
  const JobSpec& moved = stage.history.back().rows.specs.at(0).spec;
  EXPECT_EQ(moved.queue, "urgent");
  EXPECT_EQ(moved.run_timeout, Duration(seconds(7)));
  EXPECT_EQ(moved.max_attempts, 3u);
  EXPECT_EQ(moved.ageing, Duration(seconds(5)));
}

}  // namespace
}  // namespace futured
