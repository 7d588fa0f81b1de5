#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

event::PutQueue creates(std::uint64_t token, const std::string& name, QueueOptions options = {}) {
  event::PutQueue put{token, name, Discipline::kFifo};
  put.options = std::move(options);
  return put;
}

event::PutQueue changes(std::uint64_t token, const std::string& name, QueueOptions options,
                        std::vector<QueueField> fields) {
  event::PutQueue put{token, name};
  put.options = std::move(options);
  put.changed_options = std::move(fields);
  return put;
}

event::PutQueue drains(std::uint64_t token, const std::string& name, bool draining) {
  event::PutQueue put{token, name};
  put.draining = draining;
  return put;
}

// A job that says nothing of its own.
JobSpec bare(const std::string& queue) {
  JobSpec spec = Stage::in_queue(queue);
  spec.max_attempts = 0;
  spec.backoff_factor = 0;
  return spec;
}

const JobSpec& stored_spec(const Stage& stage) {
  for (auto turn = stage.history.rbegin(); turn != stage.history.rend(); ++turn) {
    if (!turn->rows.specs.empty()) return turn->rows.specs.back().spec;
  }
  ADD_FAILURE() << "no spec was stored";
  static const JobSpec kNone;
  return kNone;
}

TEST(QueueCreate, WithOtherOptionsThanItHasIsRefused) {
  Stage stage;
  EXPECT_THAT(stage.turn({creates(100, "q", {.concurrency_max = 2})}), ElementsAre("queue 100: q"));
  EXPECT_THAT(stage.turn({creates(101, "q", {.concurrency_max = 2})}), ElementsAre("queue 101: q"));
  EXPECT_THAT(stage.turn({creates(102, "q", {.concurrency_max = 3})}),
              ElementsAre("refused 102: queue \"q\" exists and has other options; fut queue show tells them, fut queue "
                          "set changes them"));
}

TEST(QueueCreate, APoolThatThereIsNotIsRefused) {
  Stage stage;
  EXPECT_THAT(stage.turn({creates(100, "q", {.pools = {"default", "gpu"}})}),
              ElementsAre("refused 100: options.pools: no pool \"gpu\"; fut pool ls shows those that exist"));
}

// Jobs of two queues, one at a time on one worker: the queues in the order of their starts.
std::string starts_of_two(std::uint32_t weight_of_a, std::size_t count) {
  Stage stage({.pools = {{"default", false, 1}}});
  stage.turn({creates(100, "a", {.weight = weight_of_a}), creates(101, "b")});
  JobSpec in_a = Stage::in_queue("a");
  JobSpec in_b = Stage::in_queue("b");
  in_a.at_most_once = in_b.at_most_once = true;
  std::vector<std::string> told = stage.turn({stage.submit(in_a, 20), stage.submit(in_b, 20)});
  constexpr std::string_view kOffer = "committed offer ";
  std::string starts;
  while (starts.size() < count) {
    const auto offer = std::ranges::find_if(told, [](const std::string& line) { return line.starts_with(kOffer); });
    if (offer == told.end()) return starts + " and then none";
    const std::uint64_t job = std::stoull(offer->substr(kOffer.size()));
    starts += job <= 20 ? 'a' : 'b';
    stage.turn({stage.head(1, job)});
    told = stage.turn({stage.done(job)});
  }
  return starts;
}

TEST(QueuePause, TakesBackWhatNoWorkerHasTaken) {
  Stage stage({.pools = {{"default", false, 1}}});
  stage.turn({stage.submit(Stage::work(), 2)});
  stage.turn({stage.head(1, 1)});
  event::PutQueue pause{100, "default"};
  pause.paused = true;
  EXPECT_THAT(stage.turn({pause}), Contains("revoke 2.1 slot 1"));
}

TEST(QueueTurns, TwoOfTheSameWeightTakeThemInTurn) { EXPECT_EQ(starts_of_two(1, 8), "abababab"); }

TEST(QueueTurns, OneOfThreeTimesTheWeightHasThreeInARow) { EXPECT_EQ(starts_of_two(3, 8), "aaabaaab"); }

TEST(QueueChange, TakesWhatIsNamedAndIsStored) {
  Stage stage;
  stage.turn({creates(100, "q", {.concurrency_max = 2, .queued_jobs_max = 9})});
  stage.rows();
  EXPECT_THAT(stage.turn({changes(101, "q", {.concurrency_max = 5}, {QueueField::kConcurrencyMax})}),
              ElementsAre("queue 101: q"));
  const QueueRow& row = stage.history.back().rows.queues.at(0);
  EXPECT_EQ(row.options.concurrency_max, 5u);
  EXPECT_EQ(row.options.queued_jobs_max, 9u);
  EXPECT_EQ(row.created_at, (WallTime{1'700'000'000'000'000}));
  stage.rows();
  stage.turn({changes(102, "q", {.concurrency_max = 5}, {QueueField::kConcurrencyMax})});
  EXPECT_THAT(stage.rows(), IsEmpty()) << "nothing changed";
  EXPECT_THAT(stage.turn({changes(103, "none", {}, {QueueField::kWeight})}),
              ElementsAre("refused 103: no queue \"none\"; fut queue ls shows those that exist"));
}

TEST(QueueDrain, RefusesNewJobsAndFinishesOldOnes) {
  Stage stage;
  stage.turn({creates(100, "q"), stage.submit(Stage::in_queue("q"), 3)});
  EXPECT_THAT(stage.turn({drains(101, "q", true)}), ElementsAre("queue 101: q"));
  EXPECT_THAT(stage.rows(), Contains("queue q draining"));
  EXPECT_THAT(stage.turn({stage.submit(Stage::in_queue("q"))}),
              ElementsAre("refused 2: queue \"q\" is draining and takes no new jobs; name another one, or let it take "
                          "jobs again with fut queue resume"));
  stage.turn({stage.done(1), stage.done(2)});
  stage.turn({stage.done(3)});
  EXPECT_EQ(stage.ending(3)->state, JobState::kSucceeded);
  stage.turn({drains(102, "q", false)});
  EXPECT_THAT(stage.turn({stage.submit(Stage::in_queue("q"))}), Contains("accepted 3: 4 x1"));
}

TEST(QueueDefaults, AreOfJobsThatSayNothingElse) {
  Stage stage;
  QueueOptions options;
  options.defaults = {.max_attempts = 3,
                      .backoff = seconds(2),
                      .backoff_factor = 4,
                      .backoff_max = seconds(60),
                      .jitter = 0.5,
                      .queue_timeout = seconds(100),
                      .soft_timeout = seconds(5),
                      .run_timeout = seconds(10),
                      .heartbeat_timeout = seconds(3),
                      .total_timeout = seconds(500),
                      .grace = seconds(7)};
  stage.turn({creates(100, "q", options), stage.submit(bare("q"))});
  const JobSpec given = stored_spec(stage);
  EXPECT_EQ(given.max_attempts, 3u);
  EXPECT_EQ(given.backoff, seconds(2));
  EXPECT_EQ(given.backoff_factor, 4);
  EXPECT_EQ(given.backoff_max, seconds(60));
  EXPECT_EQ(given.jitter, 0.5);
  EXPECT_EQ(given.queue_timeout, seconds(100));
  EXPECT_EQ(given.soft_timeout, seconds(5));
  EXPECT_EQ(given.run_timeout, seconds(10));
  EXPECT_EQ(given.heartbeat_timeout, seconds(3));
  EXPECT_EQ(given.total_timeout, seconds(500));
  EXPECT_EQ(given.grace, seconds(7));

  JobSpec own = bare("q");
  own.max_attempts = 1;
  own.run_timeout = seconds(4);  // before the soft timeout of the queue, which is void then
  stage.turn({stage.submit(own)});
  EXPECT_EQ(stored_spec(stage).max_attempts, 1u);
  EXPECT_EQ(stored_spec(stage).run_timeout, seconds(4));
  EXPECT_EQ(stored_spec(stage).soft_timeout, Duration(0));

  JobSpec once = bare("q");
  once.at_most_once = true;
  stage.turn({stage.submit(once)});
  EXPECT_EQ(stored_spec(stage).max_attempts, 1u) << "it is never run twice, whatever the queue gives";
}

TEST(QueueDefaults, ASoftTimeoutThatTheQueueLeavesNoTimeForIsRefused) {
  Stage stage;
  QueueOptions options;
  options.defaults.run_timeout = seconds(10);
  JobSpec spec = bare("q");
  spec.soft_timeout = seconds(20);
  const Lines lines = stage.turn({creates(100, "q", options), stage.submit(spec)});
  EXPECT_THAT(lines, Contains(HasSubstr("spec.timeouts.soft_ms: it is not under the run_ms of 10000")));
}

TEST(QueueDefaults, ALaterChangeIsOfNewJobsOnly) {
  Stage stage;
  QueueOptions options;
  options.defaults.max_attempts = 2;
  stage.turn({creates(100, "q", options), stage.submit(bare("q"))});
  options.defaults.max_attempts = 5;
  stage.turn({changes(101, "q", options, {QueueField::kDefaultRetries})});
  stage.turn({stage.submit(bare("q"))});
  EXPECT_EQ(stored_spec(stage).max_attempts, 5u);
  ASSERT_FALSE(stage.turn({stage.failed(1)}).empty());
  stage.turn({stage.failed(1)});
  ASSERT_NE(stage.ending(1), nullptr) << "the first job has two attempts";
  EXPECT_EQ(stage.ending(1)->state, JobState::kFailed);
}

TEST(QueuePools, TheFirstIsThatOfJobsThatNameNoneAndNoOtherMayBeNamed) {
  StageSetup setup;
  setup.pools = {{"default", false, 1}, {"gpu", false, 1}, {"spare", false, 1}};
  Stage stage(setup);
  stage.turn({creates(100, "q", {.pools = {"gpu", "spare"}})});
  stage.turn({stage.submit(bare("q"))});
  EXPECT_EQ(stored_spec(stage).pool, "gpu");
  JobSpec named = bare("q");
  named.pool = "spare";
  stage.turn({stage.submit(named)});
  EXPECT_EQ(stored_spec(stage).pool, "spare");
  named.pool = "default";
  EXPECT_THAT(stage.turn({stage.submit(named)}),
              ElementsAre("refused 3: spec.pool: \"default\" is not among those of queue \"q\": \"gpu\", \"spare\""));
}

TEST(QueueDelete, IsRefusedWhileItHasUnfinishedJobs) {
  Stage stage;
  stage.turn({creates(100, "q"), stage.submit(Stage::in_queue("q"))});
  EXPECT_THAT(stage.turn({event::DeleteQueue{101, "q"}}),
              ElementsAre(HasSubstr("refused 101: queue \"q\" has 1 jobs that have not ended")));
  stage.turn({stage.done(1)});
  stage.rows();
  EXPECT_THAT(stage.turn({event::DeleteQueue{102, "q"}}), ElementsAre("deleted 102"));
  EXPECT_THAT(stage.rows(), ElementsAre("no queue 2"));
  EXPECT_FALSE(stage.scheduler->has_queue("q"));
  EXPECT_THAT(stage.turn({stage.submit(Stage::in_queue("q"))}), ElementsAre(HasSubstr("no queue \"q\"")));
  EXPECT_THAT(stage.turn({event::DeleteQueue{103, "q"}}), ElementsAre(HasSubstr("refused 103: no queue \"q\"")));
  stage.scheduler->audit();
}

TEST(QueueDelete, ItsNameMayBeUsedAgainAndItsNumberIsNot) {
  Stage stage;
  stage.turn({creates(100, "q"), stage.submit(Stage::in_queue("q"))});
  stage.turn({stage.done(1)});
  stage.turn({event::DeleteQueue{101, "q"}, creates(102, "q", {.weight = 2})});
  EXPECT_EQ(stage.history.back().rows.queues.at(0).id, QueueId{3});
  EXPECT_THAT(stage.turn({stage.submit(Stage::in_queue("q"))}), Contains("accepted 2: 2 x1"));
}

TEST(QueueDelete, TheDefaultQueueStays) {
  Stage stage;
  EXPECT_THAT(stage.turn({event::DeleteQueue{100, "default"}}),
              ElementsAre(HasSubstr("refused 100: queue \"default\" always exists")));
}

TEST(QueueFigures, CountStatesBytesAndStarts) {
  Stage stage;
  stage.turn({creates(100, "q"), stage.submit(Stage::in_queue("q"), 3, 10)});
  stage.pass(seconds(1));
  stage.turn({stage.done(1), stage.failed(2)});
  const auto figures = stage.scheduler->queue("q", stage.now.at + seconds(1));
  ASSERT_TRUE(figures.has_value());
  EXPECT_EQ(figures->succeeded, 1u);
  EXPECT_EQ(figures->failed, 1u);
  EXPECT_EQ(figures->bytes, 10u);
  EXPECT_NEAR(figures->starts_per_second, 0.2, 1e-9);
  EXPECT_GT(figures->wait_p99, Duration(0));
  EXPECT_FALSE(stage.scheduler->queue("none", stage.now.at).has_value());
  EXPECT_EQ(stage.scheduler->queues("default", 10, stage.now.at).size(), 1u);
  EXPECT_EQ(stage.scheduler->queues("", 1, stage.now.at).at(0).row.name, "default");
}

TEST(Front, GoesAheadOfItsEqualsTheLatestFirst) {
  StageSetup setup;
  setup.queues = {{"urgent", Discipline::kPriority}};
  Stage stage(setup);
  stage.turn({event::PutQueue{100, "urgent", {}, true}, event::PutQueue{101, "default", {}, true}});
  const auto submit = [&](const std::string& queue, std::int32_t priority, bool front) {
    JobSpec spec = Stage::in_queue(queue);
    spec.priority = priority;
    spec.front = front;
    stage.turn({stage.submit(spec)});
  };
  submit("urgent", 1, false);
  submit("urgent", 2, false);
  submit("urgent", 1, true);
  submit("urgent", 1, true);
  submit("default", 0, false);
  submit("default", 0, true);
  stage.scheduler->audit();
  const auto order_of = [&](const std::string& queue, std::uint64_t token) {
    std::vector<std::uint64_t> order;
    stage.turn({event::PutQueue{token, queue, {}, false}});
    for (std::size_t turn = stage.history.size() - 1; turn < stage.history.size(); ++turn) {
      std::vector<Event> done;
      for (const effect::Offer& offer : stage.history[turn].offers) {
        order.push_back(offer.fence.job.value);
        done.push_back(stage.done(offer.fence.job.value));
      }
      if (!done.empty()) stage.turn(std::move(done));
    }
    return order;
  };
  EXPECT_THAT(order_of("urgent", 102), ElementsAre(2, 4, 3, 1));
  EXPECT_THAT(order_of("default", 103), ElementsAre(6, 5));
}

}  // namespace
}  // namespace futured
