#include <gmock/gmock.h>

#include <map>
#include <set>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A stage with a disk: it answers what the scheduler asks about delayed jobs from the rows that were committed.
class DelayedStage : public Stage {
 public:
  explicit DelayedStage(StageSetup setup = {}) : Stage(std::move(setup)) {}

  Event submit_at(WallTime at, std::uint32_t count = 1, const JobSpec& spec = work()) {
    Event event = submit(spec, count);
    std::get<event::Submit>(event).start_at = at;
    return event;
  }
  Event submit_after(Duration after, std::uint32_t count = 1, const JobSpec& spec = work()) {
    Event event = submit(spec, count);
    std::get<event::Submit>(event).start_after = after;
    return event;
  }

  // What is on disk now.
  [[nodiscard]] std::set<DelayedKey> delayed() const {
    std::set<DelayedKey> keys;
    for (const Effects& turn : history) {
      for (const DelayedKey& key : turn.rows.delayed_removed) EXPECT_EQ(keys.erase(key), 1u) << "it was there";
      for (const DelayedKey& key : turn.rows.delayed_added) EXPECT_TRUE(keys.insert(key).second);
    }
    return keys;
  }
  [[nodiscard]] StoredJob stored(JobId id) const {
    for (const Effects& turn : history) {
      for (const JobRow& row : turn.rows.jobs) {
        if (row.id != id) continue;
        return {.id = id,
                .spec = row.spec,
                .owner = row.owner,
                .submitted_at = row.submitted_at,
                .payload = row.payload,
                .start_at = row.start_at,
                .delayed = true};
      }
    }
    return {};
  }
  [[nodiscard]] std::vector<SpecRow> specs() const {
    std::vector<SpecRow> all;
    for (const Effects& turn : history) all.insert(all.end(), turn.rows.specs.begin(), turn.rows.specs.end());
    return all;
  }
  [[nodiscard]] event::DelayedClaimed answer(const DelayedClaim& claim) const {
    event::DelayedClaimed claimed{{claim, {}, specs(), {}}};
    for (const DelayedKey& key : delayed()) {
      if (key.at > claim.until || claimed.answer.jobs.size() == claim.jobs_max) {
        claimed.answer.next = key.at;
        break;
      }
      claimed.answer.jobs.push_back(stored(key.job));
    }
    return claimed;
  }
  // Turns until nothing more is asked of the disk; all that was told.
  Lines settle() {
    Lines lines;
    for (std::size_t turns = 0; !history.back().delayed_claims.empty() && turns < 100; ++turns) {
      const Lines more = turn({answer(history.back().delayed_claims.front())});
      lines.insert(lines.end(), more.begin(), more.end());
    }
    return lines;
  }
  Lines pass_and_settle(Duration time) {
    Lines lines = pass(time);
    const Lines more = settle();
    lines.insert(lines.end(), more.begin(), more.end());
    return lines;
  }
  std::uint64_t resident() const { return scheduler->resident_jobs(); }
};

TEST(Delayed, AJobStartsWhenItsTimeHasComeAndNotBefore) {
  DelayedStage stage;
  EXPECT_THAT(stage.turn({stage.submit_after(seconds(3))}), ElementsAre("accepted 1: 1 x1"));
  EXPECT_THAT(stage.pass(seconds(3) - milliseconds(1)), IsEmpty());
  EXPECT_THAT(stage.pass_and_settle(milliseconds(1)), ElementsAre("claim delayed x1024", "offer 1.1 slot 1"));
  EXPECT_THAT(stage.delayed(), IsEmpty());
}

TEST(Delayed, ATimeThatIsPastIsNone) {
  DelayedStage stage;
  EXPECT_THAT(stage.turn({stage.submit_at(stage.now.wall)}), Contains("offer 1.1 slot 1"));
  EXPECT_THAT(stage.delayed(), IsEmpty());
}

TEST(Delayed, ManyCostNoMemoryAndComeInBoundedSteps) {
  StageSetup setup;
  setup.window_bytes = 1;
  DelayedStage stage(std::move(setup));
  for (int i = 0; i < 20; ++i) stage.turn({stage.submit_after(seconds(10), 1'000)});
  EXPECT_EQ(stage.resident(), 0u);
  EXPECT_EQ(stage.scheduler->delayed_jobs(), 20'000u);
  EXPECT_EQ(stage.scheduler->lanes().front().delayed, 20'000u);
  stage.pass_and_settle(seconds(10));
  EXPECT_EQ(stage.scheduler->delayed_jobs(), 0u);
  EXPECT_LE(stage.resident(), 2u * limits::kWindowJobsPerQueueMin) << "the others lie in the backlog";
  EXPECT_EQ(stage.resident() + stage.scheduler->backlog_jobs(), 20'000u);
}

TEST(Delayed, AStepOfTheClockForwardMakesJobsDue) {
  DelayedStage stage;
  stage.turn({stage.submit_after(hours(1))});
  stage.now.wall = stage.now.wall + hours(2);
  EXPECT_THAT(stage.pass_and_settle(seconds(1)), Contains("offer 1.1 slot 1"));
}

TEST(Delayed, AStepBackDelaysThem) {
  DelayedStage stage;
  stage.turn({stage.submit_after(seconds(2))});
  stage.now.wall = stage.now.wall + Duration(-seconds(10));
  EXPECT_THAT(stage.pass_and_settle(seconds(11)), IsEmpty());
  EXPECT_THAT(stage.pass_and_settle(seconds(1)), Contains("offer 1.1 slot 1"));
}

TEST(Delayed, AnEarlierOneThatComesLaterIsNotMissed) {
  DelayedStage stage;
  stage.turn({stage.submit_after(hours(1))});
  stage.turn({stage.submit_after(milliseconds(300))});
  EXPECT_THAT(stage.pass_and_settle(milliseconds(300)), Contains("offer 2.1 slot 1"));
  EXPECT_EQ(stage.delayed().size(), 1u);
}

TEST(Delayed, OneThatComesWhileAClaimIsUnderWayIsNotMissed) {
  DelayedStage stage;
  stage.turn({stage.submit_after(milliseconds(100))});
  stage.pass(milliseconds(100));
  const DelayedClaim claim = stage.history.back().delayed_claims.front();
  const event::DelayedClaimed early = stage.answer(claim);
  stage.turn({stage.submit_after(milliseconds(50))});
  stage.turn({early});
  EXPECT_THAT(stage.pass_and_settle(milliseconds(50)), Contains("offer 2.1 slot 1"));
}

TEST(Delayed, CanBeCancelledBeforeItsTime) {
  DelayedStage stage;
  stage.turn({stage.submit_after(seconds(5), 2)});
  EXPECT_THAT(stage.turn({stage.cancel(1)}), ElementsAre("load 1"));
  const event::Loaded loaded{{JobId{1}}, {{stage.stored(JobId{1})}, stage.specs()}};
  EXPECT_THAT(stage.turn({loaded}), ElementsAre("cancelled 2: 1 CANCELLED"));
  EXPECT_EQ(stage.delayed().size(), 1u);
  EXPECT_EQ(stage.scheduler->delayed_jobs(), 1u);
  EXPECT_THAT(stage.pass_and_settle(seconds(5)), ElementsAre("claim delayed x1024", "offer 2.1 slot 1"));
}

TEST(Delayed, ACancelBeatsAClaimThatWasReadBeforeIt) {
  DelayedStage stage;
  stage.turn({stage.submit_after(milliseconds(100))});
  const event::Loaded loaded{{JobId{1}}, {{stage.stored(JobId{1})}, stage.specs()}};
  stage.now.at = stage.now.at + milliseconds(100);
  stage.now.wall = stage.now.wall + milliseconds(100);
  stage.turn({event::TimerDue{}, stage.cancel(1)});
  ASSERT_EQ(stage.history.back().delayed_claims.size(), 1u);
  const event::DelayedClaimed claimed = stage.answer(stage.history.back().delayed_claims.front());
  EXPECT_THAT(stage.turn({loaded, claimed}), ElementsAre("cancelled 2: 1 CANCELLED"));
  EXPECT_THAT(stage.delayed(), IsEmpty());
  EXPECT_EQ(stage.resident(), 0u);
}

TEST(Delayed, NobodyElseMayCancelIt) {
  DelayedStage stage;
  stage.turn({stage.submit_after(seconds(5))});
  stage.turn({stage.cancel(1, 77)});
  const event::Loaded loaded{{JobId{1}}, {{stage.stored(JobId{1})}, stage.specs()}};
  EXPECT_THAT(stage.turn({loaded}), ElementsAre(HasSubstr("belongs to user 1000")));
  EXPECT_EQ(stage.resident(), 0u);
  EXPECT_EQ(stage.scheduler->delayed_jobs(), 1u);
}

TEST(Delayed, AQueueTimeoutCountsFromItsTime) {
  JobSpec spec = Stage::work();
  spec.queue_timeout = seconds(2);
  StageSetup setup;
  setup.workers_ready = false;
  setup.pools = {{"default", false, 1, {"work"}}};
  DelayedStage stage(std::move(setup));
  stage.turn({stage.submit_after(seconds(10), 1, spec)});
  stage.pass_and_settle(seconds(10));
  stage.pass(seconds(2) - milliseconds(1));
  EXPECT_EQ(stage.ending(1), nullptr);
  stage.pass(milliseconds(1));
  ASSERT_NE(stage.ending(1), nullptr);
  EXPECT_EQ(stage.ending(1)->cause->kind, CauseKind::kQueueTimeout);
}

TEST(Delayed, OneThatWouldTimeOutFirstIsRefused) {
  JobSpec spec = Stage::work();
  spec.total_timeout = seconds(5);
  DelayedStage stage;
  EXPECT_THAT(stage.turn({stage.submit_after(seconds(5), 1, spec)}),
              ElementsAre(HasSubstr("spec.start_after_ms: its total_timeout")));
  EXPECT_THAT(stage.turn({stage.submit_after(seconds(4), 1, spec)}), ElementsAre("accepted 2: 1 x1"));
}

TEST(Delayed, OneTooFarAheadIsRefused) {
  DelayedStage stage;
  const WallTime far{stage.now.wall.us + (limits::kDelayMsMax + 1) * 1000};
  EXPECT_THAT(stage.turn({stage.submit_at(far)}),
              ElementsAre(HasSubstr("spec.start_at_us: a job starts at most 3653 days")));
}

TEST(Delayed, ARestartWaitsForThemWithoutReadingThem) {
  DelayedStage before;
  before.turn({before.submit_after(seconds(5), 3)});
  StageSetup setup;
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 100;
  setup.snapshot.specs_until = 2;
  setup.snapshot.queues = {{QueueId{1}, "default"}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  setup.snapshot.delayed = {{QueueId{1}, PoolId{1}, 3}};
  setup.snapshot.next_delayed = before.now.wall + seconds(5);
  Stage stage(std::move(setup));
  EXPECT_THAT(stage.turn(), IsEmpty());
  EXPECT_EQ(stage.scheduler->delayed_jobs(), 3u);
  EXPECT_THAT(stage.pass(seconds(5) - milliseconds(1)), IsEmpty());
  stage.pass(milliseconds(1));
  ASSERT_EQ(stage.history.back().delayed_claims.size(), 1u);
  EXPECT_THAT(stage.turn({before.answer(stage.history.back().delayed_claims.front())}),
              ElementsAre("offer 1.1 slot 1", "offer 2.1 slot 1"));
  EXPECT_EQ(stage.scheduler->resident_jobs(), 3u);
}

// Its time had come, a worker took it, and the daemon died before that was on disk.
TEST(Delayed, OneThatRanBeforeTheCommitIsAdoptedAndNoLongerDelayed) {
  DelayedStage before;
  before.turn({before.submit_after(seconds(5))});
  StoredJob job = before.stored(JobId{1});
  StageSetup setup;
  setup.workers_ready = false;
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 100;
  setup.snapshot.specs_until = 2;
  setup.snapshot.queues = {{QueueId{1}, "default"}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  setup.snapshot.delayed = {{QueueId{1}, PoolId{1}, 1}};
  setup.snapshot.next_delayed = job.start_at;
  setup.live.jobs.push_back(job);
  setup.live.specs = before.specs();
  Stage stage(std::move(setup));
  EXPECT_EQ(stage.effects.rows.delayed_removed.size(), 1u);
  EXPECT_EQ(stage.scheduler->delayed_jobs(), 0u);
  stage.step(event::PoolReady{PoolId{1}, {"work", "other"}});
  stage.step(stage.slot_ready(1));
  stage.turn({stage.adopt(1, {JobId{1}, Epoch{1}, 1})});
  EXPECT_EQ(stage.scheduler->live(JobId{1})->state, JobState::kRunning);
}

TEST(Delayed, WatchersAreToldThatItIsScheduledAndThenQueued) {
  DelayedStage stage;
  stage.turn({event::Record{true}});
  stage.turn({stage.submit_after(seconds(1))});
  const auto state = [&] { return std::get<effect::JobChange>(stage.history.back().changes.front().what).state; };
  EXPECT_EQ(state(), JobState::kScheduled);
  stage.pass_and_settle(seconds(1));
  EXPECT_EQ(state(), JobState::kQueued);
}

// Newer jobs of a lifo lane go first, and may lie in a backlog of which nothing is known yet.
TEST(Delayed, OfALifoLaneDoesNotPassABacklogThatIsNotKnown) {
  StageSetup setup;
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 100;
  setup.snapshot.queues = {{QueueId{1}, "default", Discipline::kLifo, true}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  setup.snapshot.backlog = {{QueueId{1}, PoolId{1}, 1}};
  setup.snapshot.delayed = {{QueueId{1}, PoolId{1}, 1}};
  setup.snapshot.next_delayed = setup.now.wall;
  JobSpec spec = Stage::work();
  spec.pool = "default";
  const WallTime due = setup.now.wall;
  Stage stage(std::move(setup));
  EXPECT_THAT(stage.finish(), Contains(HasSubstr("claim delayed")));
  DelayedAnswer answer;
  answer.jobs = {{.id = JobId{7}, .spec = SpecId{1}, .start_at = due, .delayed = true}};
  answer.specs = {{SpecId{1}, spec}};
  (void)stage.rows();
  (void)stage.turn({event::DelayedClaimed{std::move(answer)}});
  EXPECT_THAT(stage.rows(), Contains("backlog + 7"));
}

}  // namespace
}  // namespace futured
