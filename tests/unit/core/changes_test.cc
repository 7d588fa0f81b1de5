#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;

// What was told since the last call.
class Changes : public testing::Test {
 protected:
  Lines seen(Stage& stage) {
    Lines lines;
    for (; told_ < stage.history.size(); ++told_) {
      for (const effect::Change& change : stage.history[told_].changes) {
        lines.push_back(std::visit([](const auto& what) { return line(what); }, change.what));
      }
    }
    return lines;
  }

 private:
  static std::string line(const effect::JobChange& change) {
    std::string line = std::to_string(change.job.value) + "." + std::to_string(change.attempt) + " " +
                       std::string(to_string(change.state));
    if (change.cause) line += " " + std::string(to_string(change.cause->kind));
    if (change.report)
      line += " " + std::to_string(static_cast<int>(change.report->fraction * 100)) + "% " + change.report->message;
    if (change.alive_at.us != 0) line += " alive";
    return line;
  }
  static std::string line(const effect::QueueGone& gone) { return "no queue " + gone.name; }
  static std::string line(const QueueRow& row) { return "queue " + row.name + (row.paused ? " paused" : " open"); }
  static std::string line(const effect::WorkerChange& change) {
    const std::string who =
        "worker " + change.pool + "/" + std::to_string(change.slot.value) + " " + std::to_string(change.pid);
    return who + (change.ended ? " ended" : " came");
  }

  std::size_t told_ = 0;
};

TEST_F(Changes, AreToldOnlyWhenAskedFor) {
  Stage stage;
  stage.turn({stage.submit()});
  EXPECT_THAT(seen(stage), IsEmpty());
  stage.turn({event::Record{true}, stage.submit()});
  EXPECT_THAT(seen(stage), ElementsAre("2.0 QUEUED"));
  stage.turn({event::Record{false}, stage.done(1)});
  EXPECT_THAT(seen(stage), IsEmpty());
}

TEST_F(Changes, OfAQuickJobTellThatItRan) {
  Stage stage;
  stage.turn({event::Record{true}, stage.submit()});
  stage.turn({stage.done(1)});
  EXPECT_THAT(seen(stage), ElementsAre("1.0 QUEUED", "1.1 RUNNING", "1.1 SUCCEEDED"));
}

TEST_F(Changes, OfALongOneTellItOnce) {
  Stage stage;
  stage.turn({event::Record{true}, stage.submit()});
  stage.turn({stage.head(1, 1)});
  EXPECT_THAT(seen(stage), ElementsAre("1.0 QUEUED", "1.1 RUNNING"));
  stage.turn({stage.done(1)});
  EXPECT_THAT(seen(stage), ElementsAre("1.1 SUCCEEDED"));
}

TEST_F(Changes, TellThatAJobWithAHeartbeatIsAlive) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.heartbeat_timeout = milliseconds(100);
  stage.turn({event::Record{true}, stage.submit(spec)});
  stage.turn({stage.head(1, 1)});
  seen(stage);
  stage.pass(milliseconds(60));
  stage.beat(1);
  const WallTime beaten = stage.now.wall;
  stage.pass(milliseconds(50));
  EXPECT_THAT(seen(stage), ElementsAre("1.1 RUNNING alive"));
  EXPECT_EQ(std::get<effect::JobChange>(stage.history.back().changes.back().what).alive_at, beaten);
  stage.pass(milliseconds(60));
  stage.turn({stage.slot_ended(1, 1)});
  EXPECT_THAT(seen(stage), ElementsAre("1.1 TIMED_OUT HEARTBEAT_TIMEOUT", "worker default/1 4001 ended"));
}

TEST_F(Changes, OfARetryNameItsCause) {
  Stage stage;
  JobSpec spec = Stage::work();
  spec.max_attempts = 2;
  spec.backoff = milliseconds(10);
  stage.turn({event::Record{true}, stage.submit(spec)});
  stage.turn({stage.failed(1)});
  EXPECT_THAT(seen(stage), ElementsAre("1.0 QUEUED", "1.1 RUNNING", "1.1 SCHEDULED TASK_ERROR"));
  stage.pass(milliseconds(10));
  stage.turn({stage.failed(1)});
  EXPECT_THAT(seen(stage), ElementsAre("1.2 RUNNING", "1.2 FAILED TASK_ERROR"));
}

TEST_F(Changes, OfACancelledJob) {
  StageSetup still;
  still.workers_ready = false;
  still.pools = {{"default", false, 1, {"work"}}};
  Stage stage(still);
  stage.turn({event::Record{true}, stage.submit()});
  stage.turn({stage.cancel(1)});
  EXPECT_THAT(seen(stage), ElementsAre("1.0 QUEUED", "1.0 CANCELLED CANCELLED"));
}

TEST_F(Changes, TellTheLastReportBetweenTwoCommits) {
  Stage stage;
  stage.turn({event::Record{true}, stage.submit()});
  stage.turn({stage.head(1, 1), stage.reports(1, 0.25, "a"), stage.reports(1, 0.5, "b")});
  EXPECT_THAT(seen(stage), ElementsAre("1.0 QUEUED", "1.1 RUNNING", "1.1 RUNNING 50% b"));
  stage.turn({stage.reports(1, 0.75, "c"), stage.done(1)});
  EXPECT_THAT(seen(stage), ElementsAre("1.1 RUNNING 75% c", "1.1 SUCCEEDED"));
}

TEST_F(Changes, KnowNoReportOfAnAttemptThatDoesNotRun) {
  Stage stage;
  stage.turn({event::Record{true}, stage.submit()});
  stage.turn({stage.reports(1, 0.1, "offered, and not known to run"), stage.head(1, 1)});
  auto other = std::get<event::Progress>(stage.reports(1, 0.2, "of a later attempt"));
  ++other.fence.attempt;
  stage.turn({other});
  other = std::get<event::Progress>(stage.reports(1, 0.3, "of another slot"));
  ++other.slot.value;
  stage.turn({other});
  EXPECT_THAT(seen(stage), ElementsAre("1.0 QUEUED", "1.1 RUNNING"));
}

TEST_F(Changes, OfQueuesAndWorkers) {
  Stage stage;
  stage.turn({event::Record{true}, event::PutQueue{1, "nightly", Discipline::kFifo, {}}});
  EXPECT_THAT(seen(stage), ElementsAre("queue nightly open"));
  stage.turn({event::PutQueue{2, "nightly", {}, true}, event::PutQueue{3, "nightly", {}, true}});
  EXPECT_THAT(seen(stage), ElementsAre("queue nightly paused")) << "told once";
  stage.turn({stage.slot_ended(1)});
  stage.turn({stage.slot_ready(1)});
  EXPECT_THAT(seen(stage), ElementsAre("worker default/1 4001 ended", "worker default/1 4001 came"));
}

}  // namespace
}  // namespace futured
