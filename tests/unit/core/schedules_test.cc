#include "daemon/core/schedule.h"

#include <gmock/gmock.h>

#include <map>
#include <memory>
#include <set>
#include <utility>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

ScheduleRow every(Duration interval, const std::string& name = "tick") {
  ScheduleRow row;
  row.name = name;
  row.every = interval;
  row.payload = "payload";
  return row;
}

ScheduleRow by_cron(const std::string& line) {
  ScheduleRow row = every(Duration(0));
  row.cron = line;
  return row;
}

class ScheduleStage : public Stage {
 public:
  explicit ScheduleStage(StageSetup setup = {}) : Stage(std::move(setup)) {}

  Event put(const ScheduleRow& row, std::uint32_t uid = 1000, const JobSpec& spec = work()) {
    return event::PutSchedule{++token, {uid}, row, spec, std::make_shared<const Zone>()};
  }
  Event change(event::ChangeSchedule::What what, const std::string& name = "tick", std::uint32_t uid = 1000) {
    return event::ChangeSchedule{++token, {uid}, name, what};
  }
  // Jobs that were made, and the firing that each is of, as its commit says.
  [[nodiscard]] std::map<std::uint64_t, WallTime> made() const {
    std::map<std::uint64_t, WallTime> jobs;
    for (const Effects& turn : history) {
      for (const ScheduleRow& row : turn.rows.schedules) {
        for (const JobRow& job : turn.rows.jobs) {
          if (job.id == row.last_job) jobs.emplace(job.id.value, row.last_at);
        }
      }
    }
    return jobs;
  }
  [[nodiscard]] ScheduleRow row(const std::string& name = "tick") const { return scheduler->schedule(name)->row; }
  void wind(Duration time) {
    now.at = now.at + time;
    now.wall = now.wall + time;
  }
  // A daemon that starts `away` later, from what is on disk.
  [[nodiscard]] std::unique_ptr<ScheduleStage> restart(Duration away, bool last_is_open = false) const {
    StageSetup setup;
    setup.snapshot.epoch = Epoch{1};
    setup.snapshot.ids_reserved_until = 1'000;
    setup.snapshot.specs_until = 2;
    setup.snapshot.queues = {{QueueId{1}, "default"}};
    setup.snapshot.pools = {{PoolId{1}, "default"}};
    setup.zones = {{"", std::make_shared<const Zone>()}};
    JobSpec spec = work();
    spec.pool = "default";
    setup.snapshot.specs = {{SpecId{1}, spec}};
    ScheduleRow row;
    for (const Effects& turn : history) {
      for (const ScheduleRow& written : turn.rows.schedules) row = written;
    }
    setup.snapshot.schedules = {{row, last_is_open}};
    setup.now = {now.at + away, now.wall + away};
    auto next = std::make_unique<ScheduleStage>(std::move(setup));
    next->turn();
    return next;
  }
};

TEST(Schedules, AnIntervalFiresFromNowOn) {
  ScheduleStage stage;
  EXPECT_THAT(stage.turn({stage.put(every(seconds(5)))}), ElementsAre("schedule 1: tick"));
  EXPECT_THAT(stage.pass(seconds(5) - milliseconds(1)), IsEmpty());
  EXPECT_THAT(stage.pass(milliseconds(1)), ElementsAre("offer 1.1 slot 1"));
  stage.turn({stage.done(1)});
  EXPECT_THAT(stage.pass(seconds(5)), ElementsAre("offer 2.1 slot 1"));
  EXPECT_EQ(stage.row().last_job, JobId{2});
}

TEST(Schedules, AFiringIsOneCommitWithItsJob) {
  ScheduleStage stage;
  const WallTime begun = stage.now.wall;
  stage.turn({stage.put(every(seconds(1)))});
  stage.pass(seconds(3));
  const auto made = stage.made();
  ASSERT_THAT(made, SizeIs(3));
  EXPECT_EQ(made.at(1), begun + seconds(1));
  EXPECT_EQ(made.at(2), begun + seconds(2));
  EXPECT_EQ(made.at(3), begun + seconds(3));
}

TEST(Schedules, ACronLineFiresByTheWallClock) {
  ScheduleStage stage;  // it is 2023-11-14 22:13:20 there
  stage.turn({stage.put(by_cron("15 22 * * *"))});
  EXPECT_THAT(stage.pass(seconds(99)), IsEmpty());
  EXPECT_THAT(stage.pass(seconds(1)), Contains("offer 1.1 slot 1"));
}

TEST(Schedules, ALineThatNeverFiresIsRefused) {
  ScheduleStage stage;
  EXPECT_THAT(stage.turn({stage.put(by_cron("0 0 30 2 *"))}), ElementsAre(HasSubstr("never fires")));
  EXPECT_THAT(stage.scheduler->schedules(0), IsEmpty());
}

TEST(Schedules, AnUnknownTaskOrQueueIsRefused) {
  ScheduleStage stage;
  JobSpec spec = Stage::work();
  spec.task = "none";
  EXPECT_THAT(stage.turn({stage.put(every(seconds(1)), 1000, spec)}), ElementsAre(HasSubstr("no task \"none\"")));
  EXPECT_THAT(stage.turn({stage.put(every(seconds(1)), 1000, Stage::in_queue("gone"))}),
              ElementsAre(HasSubstr("no queue \"gone\"")));
}

TEST(Schedules, SkipMakesNoneUpAfterARestart) {
  ScheduleStage stage;
  stage.turn({stage.put(every(minutes(1)))});
  const auto next = stage.restart(hours(1) + seconds(30));
  EXPECT_THAT(next->made(), IsEmpty());
  next->pass(seconds(30));
  EXPECT_THAT(next->made(), SizeIs(1));
}

TEST(Schedules, OneMakesTheNewestUp) {
  ScheduleStage stage;
  ScheduleRow row = every(minutes(1));
  row.catch_up = CatchUp::kOne;
  const WallTime begun = stage.now.wall;
  stage.turn({stage.put(row)});
  const auto next = stage.restart(hours(1) + seconds(30));
  ASSERT_THAT(next->made(), SizeIs(1));
  EXPECT_EQ(next->made().begin()->second, begun + hours(1));
}

TEST(Schedules, AllMakesUpSoManyOfTheNewest) {
  ScheduleStage stage;
  ScheduleRow row = every(minutes(1));
  row.catch_up = CatchUp::kAll;
  row.catch_up_max = 3;
  stage.turn({stage.put(row)});
  const auto next = stage.restart(hours(1) + seconds(30));
  EXPECT_EQ(next->scheduler->resident_jobs(), 3u);
  EXPECT_EQ(next->row().seen_at, next->row().last_at);
}

TEST(Schedules, AShortAbsenceMissesNothing) {
  ScheduleStage stage;
  stage.turn({stage.put(every(seconds(2)))});
  const auto next = stage.restart(seconds(7));
  EXPECT_EQ(next->scheduler->resident_jobs(), 3u) << "each is late by less than ten seconds";
}

TEST(Schedules, NoFiringIsMadeTwiceAcrossARestart) {
  ScheduleStage stage;
  stage.turn({stage.put(every(seconds(2)))});
  stage.pass(seconds(4));
  EXPECT_THAT(stage.made(), SizeIs(2));
  const auto next = stage.restart(Duration(0));
  EXPECT_THAT(next->made(), IsEmpty());
  next->pass(seconds(2));
  EXPECT_THAT(next->made(), SizeIs(1));
}

TEST(Schedules, OverlapSkipDropsAFiringWhileTheLastJobGoesOn) {
  ScheduleStage stage;
  ScheduleRow row = every(seconds(1));
  row.overlap = Overlap::kSkip;
  stage.turn({stage.put(row)});
  stage.pass(seconds(3));
  EXPECT_THAT(stage.made(), SizeIs(1));
  stage.turn({stage.done(1)});
  stage.pass(seconds(1));
  EXPECT_THAT(stage.made(), SizeIs(2));
}

TEST(Schedules, OverlapQueueMakesThemOneAfterAnother) {
  ScheduleStage stage;
  ScheduleRow row = every(seconds(1));
  row.overlap = Overlap::kQueue;
  const WallTime begun = stage.now.wall;
  stage.turn({stage.put(row)});
  stage.pass(seconds(3));
  EXPECT_THAT(stage.made(), SizeIs(1));
  EXPECT_THAT(stage.row().waiting, ElementsAre(begun + seconds(2), begun + seconds(3)));
  stage.turn({stage.done(1)});
  EXPECT_EQ(stage.made().at(2), begun + seconds(2));
  stage.turn({stage.done(2)});
  EXPECT_EQ(stage.made().at(3), begun + seconds(3));
  EXPECT_THAT(stage.row().waiting, IsEmpty());
}

TEST(Schedules, WhatWaitsOutlivesARestart) {
  ScheduleStage stage;
  ScheduleRow row = every(minutes(1));
  row.overlap = Overlap::kQueue;
  stage.turn({stage.put(row)});
  stage.pass(minutes(2));
  EXPECT_THAT(stage.row().waiting, SizeIs(1));
  const auto next = stage.restart(seconds(1));  // its last job ended as the daemon did
  EXPECT_THAT(next->made(), SizeIs(1));
  EXPECT_THAT(next->row().waiting, IsEmpty());
}

TEST(Schedules, OverlapReplaceCancelsTheLastJob) {
  ScheduleStage stage;
  ScheduleRow row = every(seconds(10));
  row.overlap = Overlap::kReplace;
  stage.turn({stage.put(row)});
  stage.pass(seconds(10));
  stage.take(1, 1);
  stage.turn({stage.head(1, 1)});
  const Lines lines = stage.pass(seconds(10));
  EXPECT_THAT(lines, Contains("stop 1.1 slot 1"));
  EXPECT_THAT(stage.made(), SizeIs(1)) << "never two at once";
  stage.turn({stage.failed(1)});
  EXPECT_EQ(stage.ending(1)->state, JobState::kCancelled);
  EXPECT_THAT(stage.made(), SizeIs(2));
}

TEST(Schedules, OverlapReplaceOfAJobThatHasNotBegunIsAtOnce) {
  StageSetup setup;
  setup.workers_ready = false;
  setup.pools = {{"default", false, 1, {"work"}}};
  ScheduleStage stage(std::move(setup));
  ScheduleRow row = every(seconds(1));
  row.overlap = Overlap::kReplace;
  stage.turn({stage.put(row)});
  stage.pass(seconds(3));
  EXPECT_THAT(stage.made(), SizeIs(3));
  EXPECT_EQ(stage.scheduler->resident_jobs(), 1u);
  EXPECT_EQ(stage.ending(1)->state, JobState::kCancelled);
}

TEST(Schedules, APausedOneDoesNotFireAndMissesNothing) {
  ScheduleStage stage;
  ScheduleRow row = every(seconds(1));
  row.catch_up = CatchUp::kOne;
  using What = event::ChangeSchedule::What;
  stage.turn({stage.put(row)});
  stage.turn({stage.change(What::kPause)});
  stage.pass(minutes(1));
  EXPECT_THAT(stage.made(), IsEmpty());
  EXPECT_FALSE(stage.scheduler->schedule("tick")->next.has_value());
  stage.turn({stage.change(What::kResume)});
  EXPECT_THAT(stage.made(), IsEmpty());
  stage.pass(seconds(1));
  EXPECT_THAT(stage.made(), SizeIs(1));
}

TEST(Schedules, ARemovedOneIsGone) {
  ScheduleStage stage;
  using What = event::ChangeSchedule::What;
  stage.turn({stage.put(every(seconds(1)))});
  stage.turn({stage.change(What::kDelete)});
  stage.pass(seconds(5));
  EXPECT_THAT(stage.made(), IsEmpty());
  EXPECT_THAT(stage.turn({stage.change(What::kPause)}), ElementsAre(HasSubstr("no schedule \"tick\"")));
}

TEST(Schedules, OnlyTheirOwnersChangeThem) {
  ScheduleStage stage;
  using What = event::ChangeSchedule::What;
  stage.turn({stage.put(every(seconds(1)))});
  EXPECT_THAT(stage.turn({stage.put(every(seconds(2)), 77)}), ElementsAre(HasSubstr("belongs to user 1000")));
  EXPECT_THAT(stage.turn({stage.change(What::kDelete, "tick", 77)}), ElementsAre(HasSubstr("belongs to user 1000")));
  EXPECT_THAT(stage.turn({stage.change(What::kDelete, "tick", 0)}), ElementsAre("schedule 4: tick"));
}

TEST(Schedules, PutAnewItFiresAsThatSays) {
  ScheduleStage stage;
  stage.turn({stage.put(every(seconds(1)))});
  stage.pass(seconds(1));
  stage.turn({stage.put(every(seconds(10)))});
  stage.pass(seconds(9));
  EXPECT_THAT(stage.made(), SizeIs(1));
  EXPECT_EQ(stage.row().last_job, JobId{1}) << "what it made is known";
  stage.pass(seconds(1));
  EXPECT_THAT(stage.made(), SizeIs(2));
}

TEST(Schedules, AStepOfTheClockForwardIsAnAbsence) {
  ScheduleStage stage;
  ScheduleRow row = every(minutes(1));
  row.catch_up = CatchUp::kOne;
  stage.turn({stage.put(row)});
  stage.now.wall = stage.now.wall + hours(5) + seconds(30);
  stage.pass(seconds(1));
  EXPECT_THAT(stage.made(), SizeIs(1));
}

TEST(Schedules, AStepBackFiresNothingAgain) {
  ScheduleStage stage;
  stage.turn({stage.put(every(seconds(10)))});
  stage.pass(seconds(20));
  EXPECT_THAT(stage.made(), SizeIs(2));
  stage.now.wall = stage.now.wall + Duration(-seconds(20));
  stage.pass(seconds(29));
  EXPECT_THAT(stage.made(), SizeIs(2));
  stage.pass(seconds(1));
  EXPECT_THAT(stage.made(), SizeIs(3));
}

TEST(Schedules, JitterIsTheSameEachTimeAndWithinItsBound) {
  ScheduleRow row = every(minutes(1));
  row.jitter = seconds(30);
  std::set<std::int64_t> delays;
  for (std::int64_t i = 1; i <= 200; ++i) {
    const WallTime firing{i * 60'000'000};
    const WallTime due = due_at(row, firing);
    EXPECT_EQ(due, due_at(row, firing));
    EXPECT_GE(due, firing);
    EXPECT_LE(due, firing + seconds(30));
    delays.insert(due.us - firing.us);
  }
  EXPECT_GT(delays.size(), 150u) << "it spreads";
}

// The second may be due before the first: it is made with it, and not taken for missed.
TEST(Schedules, JitterOverTheIntervalLosesNoFiring) {
  ScheduleStage stage;
  ScheduleRow row = every(seconds(5));
  row.jitter = minutes(2);
  stage.turn({stage.put(row)});
  stage.pass(minutes(12));
  const WallTime seen = stage.row().seen_at;
  const auto firings = static_cast<std::uint64_t>((seen - stage.row().anchor) / seconds(5));
  EXPECT_GT(firings, 100u);
  EXPECT_EQ(stage.scheduler->resident_jobs(), firings);
}

TEST(Schedules, TheNextFiringsAreTold) {
  ScheduleStage stage;
  stage.turn({stage.put(by_cron("0 * * * *"))});
  const auto times = stage.scheduler->next_firings("tick", 3, stage.now.wall);
  ASSERT_TRUE(times.ok());
  ASSERT_THAT(*times, SizeIs(3));
  EXPECT_EQ((*times)[1], (*times)[0] + hours(1));
  EXPECT_FALSE(stage.scheduler->next_firings("none", 3, stage.now.wall).ok());
}

TEST(Timing, TheNewestIsFoundHoweverLongAgo) {
  ScheduleRow row = by_cron("* * * * * *");
  const auto timing = Timing::of(row, std::make_shared<const Zone>());
  ASSERT_TRUE(timing.ok());
  const WallTime begin{1'700'000'000'000'000};
  const WallTime end = begin + hours(24 * 365) + milliseconds(500);
  EXPECT_EQ(timing->newest(begin, end), end + Duration(-milliseconds(500)));
  const auto many = timing->newest(begin, end, 4);
  ASSERT_THAT(many, SizeIs(4));
  EXPECT_EQ(many[0], end + Duration(-milliseconds(3'500)));
  EXPECT_EQ(timing->newest(begin, begin), std::nullopt);
}

}  // namespace
}  // namespace futured
