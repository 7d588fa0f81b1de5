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
      for (const effect::JobChange& change : stage.history[told_].changes) {
        std::string line = std::to_string(change.job.value) + "." + std::to_string(change.attempt) + " " +
                           std::string(to_string(change.state));
        if (change.cause) line += " " + std::string(to_string(change.cause->kind));
        lines.push_back(std::move(line));
      }
    }
    return lines;
  }

 private:
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

}  // namespace
}  // namespace futured
