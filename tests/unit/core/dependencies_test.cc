#include <gmock/gmock.h>

#include <map>

#include "tests/unit/core/dependency_bench.h"

namespace futured {
namespace {

using dependency_bench::Bench;
using dependency_bench::kEnded;
using dependency_bench::kNotSucceeded;
using dependency_bench::kSucceeded;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(Dependencies, AJobRunsWhenItsParentHasEnded) {
  Bench bench;
  bench.turn_audited({bench.submit()});
  EXPECT_THAT(bench.turn_audited({bench.after({Bench::on(1)})}), Not(Contains(HasSubstr("offer"))));
  EXPECT_EQ(bench.state(2), JobState::kBlocked);
  EXPECT_EQ(bench.scheduler->lanes().front().blocked, 1u);
  EXPECT_EQ(bench.scheduler->lanes().front().delayed, 0u);
  EXPECT_THAT(bench.turn_audited({bench.failed(1)}), Contains("offer 2.1 slot 1"));
}

TEST(Dependencies, AllMustHold) {
  Bench bench;
  bench.turn({bench.submit(Bench::work(), 2)});
  bench.turn({bench.after({Bench::on(1), Bench::on(2, kSucceeded), Bench::on_event("go")})});
  bench.turn_audited({bench.done(1)});
  EXPECT_EQ(bench.state(3), JobState::kBlocked);
  bench.turn_audited({bench.done(2)});
  EXPECT_EQ(bench.state(3), JobState::kBlocked);
  EXPECT_THAT(bench.turn_audited({bench.put("go")}), Contains(HasSubstr("offer 3.1")));
}

TEST(Dependencies, WhatCanNoLongerHoldFailsTheJobAndThoseBehindIt) {
  Bench bench;
  bench.turn({bench.submit()});
  bench.turn({bench.after({Bench::on(1, kSucceeded)})});
  bench.turn({bench.after({Bench::on(2, kSucceeded)}), bench.after({Bench::on(2, kNotSucceeded)}),
              bench.after({Bench::on(1, kNotSucceeded)}), bench.after({Bench::on(3), Bench::on(1, kNotSucceeded)})});
  bench.turn_audited({bench.failed(1)});
  EXPECT_EQ(bench.state(2), JobState::kFailed);
  EXPECT_EQ(bench.ending(2)->cause->kind, CauseKind::kDependency);
  EXPECT_THAT(bench.cause(2), HasSubstr("job 1 ended FAILED"));
  EXPECT_EQ(bench.ending(2)->attempt, 0u);
  EXPECT_EQ(bench.state(3), JobState::kFailed);
  EXPECT_THAT(bench.cause(3), HasSubstr("job 2 ended FAILED"));
  for (const std::uint64_t runs : {4, 5, 6}) EXPECT_FALSE(bench.ending(runs)) << runs;
  EXPECT_EQ(bench.scheduler->lanes().front().blocked, 0u);
}

TEST(Dependencies, AParentThatSucceedsFailsWhoWaitsForItsFailure) {
  Bench bench;
  bench.turn({bench.submit()});
  bench.turn({bench.after({Bench::on(1, kNotSucceeded)})});
  bench.turn_audited({bench.done(1)});
  EXPECT_EQ(bench.ending(2)->cause->kind, CauseKind::kDependency);
}

TEST(Dependencies, ACancelledParentHasNotSucceeded) {
  Bench bench({.pools = {{"default", false, 1}}});
  bench.turn({bench.submit(Bench::work(), 2)});
  bench.turn({bench.after({Bench::on(2, kNotSucceeded)}), bench.after({Bench::on(2, kSucceeded)})});
  bench.turn_audited({bench.cancel(2), bench.done(1)});
  if (!bench.ending(2)) bench.turn_audited({bench.revoked(2, true)});
  ASSERT_TRUE(bench.ending(2));
  EXPECT_FALSE(bench.ending(3));
  EXPECT_EQ(bench.ending(4)->cause->kind, CauseKind::kDependency);
}

TEST(Dependencies, ABlockedJobIsCancelledAtOnce) {
  Bench bench;
  bench.turn({bench.submit()});
  bench.turn({bench.after({Bench::on(1)})});
  bench.turn_audited({bench.cancel(2)});
  EXPECT_EQ(bench.state(2), JobState::kCancelled);
  bench.turn_audited({bench.done(1)});
  EXPECT_EQ(bench.state(2), JobState::kCancelled);
}

TEST(Dependencies, AParentThatHasEndedIsJudgedAtTheSubmit) {
  Bench bench;
  bench.turn({bench.submit(Bench::work(), 2)});
  bench.turn({bench.done(1), bench.failed(2)});
  bench.turn({bench.after({Bench::on(1, kSucceeded)}), bench.after({Bench::on(2, kSucceeded)})});
  EXPECT_EQ(bench.scheduler->keyed_jobs(), 2u);
  const Lines lines = bench.read();
  bench.scheduler->audit();
  EXPECT_THAT(lines, Contains(HasSubstr("offer 3.1")));
  EXPECT_EQ(bench.ending(4)->cause->kind, CauseKind::kDependency);
  EXPECT_EQ(bench.scheduler->keyed_jobs(), 0u);
}

TEST(Dependencies, AParentThatEndsWhileItIsLookedUpCounts) {
  StageSetup setup{.pools = {{"default", false, 1}}, .window_bytes = 1};
  Bench bench(std::move(setup));
  bench.turn({bench.submit(Bench::work(), 2 * limits::kWindowJobsPerQueueMin + 2)});
  const std::uint64_t parent = 2 * limits::kWindowJobsPerQueueMin + 2;  // in the backlog
  ASSERT_FALSE(bench.scheduler->live(JobId{parent}));
  bench.turn({bench.after({Bench::on(parent, kSucceeded)})});
  const Event early = bench.answer(bench.history.back().batch_queries.front());
  bench.turn({bench.cancel(parent)});
  StoredJob stored;
  for (const Effects& turn : bench.history) {
    for (const JobRow& row : turn.rows.jobs) {
      if (row.id.value == parent) stored = {.id = row.id, .spec = row.spec, .owner = row.owner, .in_backlog = true};
    }
  }
  bench.turn({event::Loaded{{JobId{parent}}, {{stored}, {}}}});
  ASSERT_EQ(bench.state(parent), JobState::kCancelled);
  bench.turn_audited({early});
  EXPECT_EQ(bench.ending(parent + 1)->cause->kind, CauseKind::kDependency);
}

TEST(Dependencies, AnUnknownParentIsRefusedByItsField) {
  Bench bench;
  bench.turn({bench.submit()});
  EXPECT_THAT(bench.turn({bench.after({Bench::on(1), Bench::on(900'000'000)})}),
              ElementsAre(HasSubstr("spec.dependencies[1].job_id: no job 900000000")));
  // Handed out before a crash, or not kept any more: the store does not know it.
  bench.turn({bench.submit(Bench::work(), 3)});
  Event submit = bench.dag(2, {{1, Bench::on(3)}});
  bench.history.clear();
  bench.turn({bench.done(3)});
  bench.history.clear();
  bench.turn({submit});
  const BatchQuery query = bench.history.back().batch_queries.front();
  EXPECT_THAT(bench.turn_audited({event::BatchRead{{query, {}}}}),
              ElementsAre(HasSubstr("items[1].dependencies[0].job_id: no job 3")));
}

TEST(Dependencies, ItemsOfOneRequestWaitForEachOther) {
  Bench bench;
  EXPECT_THAT(bench.turn_audited({bench.dag(4, {{0, Bench::on_item(3, kSucceeded)},
                                                {1, Bench::on_item(0, kSucceeded)},
                                                {2, Bench::on_item(0, kSucceeded)},
                                                {2, Bench::on_item(1, kSucceeded)}})}),
              Contains(HasSubstr("offer 4.1")));
  EXPECT_EQ(bench.scheduler->lanes().front().blocked, 3u);
  EXPECT_THAT(bench.turn_audited({bench.done(4)}), Contains(HasSubstr("offer 1.1")));
  EXPECT_THAT(bench.turn_audited({bench.done(1)}), Contains(HasSubstr("offer 2.1")));
  EXPECT_EQ(bench.state(3), JobState::kBlocked);
  EXPECT_THAT(bench.turn_audited({bench.done(2)}), Contains(HasSubstr("offer 3.1")));
}

TEST(Dependencies, ALongChainFailsInOneTurn) {
  Bench bench;
  constexpr std::uint32_t kJobs = 10'000;
  std::vector<std::pair<std::uint32_t, event::AskedDependency>> chain;
  for (std::uint32_t i = 1; i < kJobs; ++i) chain.emplace_back(i, Bench::on_item(i - 1, kSucceeded));
  bench.turn_audited({bench.dag(kJobs, chain)});
  bench.turn_audited({bench.failed(1)});
  EXPECT_EQ(bench.ending(kJobs)->cause->kind, CauseKind::kDependency);
  EXPECT_EQ(bench.scheduler->resident_jobs(), 0u);
}

TEST(Dependencies, ATimeAndADependencyHoldBoth) {
  Bench bench;
  bench.turn({bench.submit()});
  Event submit = bench.after({Bench::on(1)});
  std::get<event::Submit>(submit).start_after = seconds(10);
  bench.turn({submit});
  EXPECT_EQ(bench.state(2), JobState::kBlocked);
  bench.turn_audited({bench.done(1)});
  EXPECT_EQ(bench.scheduler->delayed_jobs(), 1u) << "its time has not come";
  EXPECT_EQ(bench.history.back().rows.delayed_added.size(), 1u);
  EXPECT_EQ(bench.scheduler->lanes().front().blocked, 0u);
}

// In whatever order they are let go.
TEST(Dependencies, JobsComeAmongThoseThatWaitInTheOrderOfTheirSubmit) {
  Bench bench({.pools = {{"default", false, 1}}});
  event::PutQueue pause{99, "default", std::nullopt, true};
  bench.turn({pause});
  constexpr std::uint64_t kBlocked = 40;
  for (std::uint64_t i = 0; i < kBlocked; ++i) {
    bench.turn({bench.submit(Stage::work(), 2), bench.after({Bench::on_event("event " + std::to_string(i))})});
  }
  for (std::uint64_t i = 0; i < kBlocked; ++i) {  // 7 and 40 have no divisor in common: each once
    bench.turn({bench.put("event " + std::to_string(i * 7 % kBlocked))});
    bench.scheduler->audit();
  }
  pause.paused = false;
  bench.turn({pause});
  for (std::uint64_t job = 1; job <= 3 * kBlocked; ++job) {
    ASSERT_TRUE(bench.scheduler->live(JobId{job})->slot.is_set()) << job;
    bench.turn({bench.done(job)});
  }
}

TEST(Dependencies, AnEventStaysSetUntilItIsCleared) {
  Bench bench;
  bench.turn({bench.put("go")});
  EXPECT_THAT(bench.turn_audited({bench.after({Bench::on_event("go")})}), Contains(HasSubstr("offer 1.1")));
  bench.turn_audited({bench.put("go", false)});
  EXPECT_THAT(bench.scheduler->named_events(), IsEmpty());
  bench.turn_audited({bench.after({Bench::on_event("go")}, 2)});
  ASSERT_EQ(bench.scheduler->named_events().size(), 1u);
  EXPECT_EQ(bench.scheduler->named_events()[0].waiting_jobs, 2u);
  EXPECT_FALSE(bench.scheduler->named_events()[0].is_set);
  bench.turn_audited({bench.cancel(2)});
  EXPECT_EQ(bench.scheduler->named_events()[0].waiting_jobs, 1u);
  bench.turn_audited({bench.put("go"), bench.put("go", false)});
  EXPECT_FALSE(bench.scheduler->live(JobId{3})->state == JobState::kBlocked) << "it was let go in between";
}

TEST(Dependencies, AQueueTimeoutCountsWhileAJobIsBlocked) {
  Bench bench;
  JobSpec spec = Bench::work();
  spec.queue_timeout = seconds(5);
  bench.turn({bench.after({Bench::on_event("go")}, 1, spec)});
  bench.pass(seconds(5));
  bench.scheduler->audit();
  EXPECT_EQ(bench.state(1), JobState::kTimedOut);
}

TEST(Dependencies, APurgeEndsBlockedJobs) {
  Bench bench;
  bench.turn({bench.after({Bench::on_event("go")}, 3)});
  bench.turn({event::PurgeQueue{++bench.token, {0}, "default"}});
  bench.pass(seconds(1));
  bench.scheduler->audit();
  EXPECT_EQ(bench.state(3), JobState::kCancelled);
  EXPECT_THAT(bench.scheduler->named_events(), IsEmpty());
}

TEST(Dependencies, MoreThanThereIsRoomForIsRefused) {
  Bench bench;
  std::vector<event::AskedDependency> many;
  for (int i = 0; i < 100; ++i) many.push_back(Bench::on_event("event " + std::to_string(i)));
  Lines lines;
  for (int i = 0; i < 6; ++i) lines = bench.turn({bench.after(many, 1'000)});
  EXPECT_THAT(lines, ElementsAre(HasSubstr("dependencies of blocked jobs")));
  EXPECT_EQ(bench.scheduler->lanes().front().blocked, 5'000u);
  bench.scheduler->audit();
}

TEST(Dependencies, ARestartFindsThemAsTheyWere) {
  StageSetup setup{.pools = {{"default", false, 8}}};
  const SpecId spec{1};
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 100;
  setup.snapshot.specs_until = 2;
  setup.snapshot.queues = {{QueueId{1}, "default"}};
  setup.snapshot.pools = {{PoolId{1}, "default"}};
  JobSpec work = Bench::work();
  work.pool = "default";
  setup.snapshot.specs = {{spec, work}};
  for (const std::uint64_t id : {5, 6, 7}) {
    setup.snapshot.resident.push_back({.id = JobId{id}, .spec = spec, .owner = 1000, .payload = SharedBytes::of("x")});
  }
  setup.snapshot.dependencies = {{JobId{6}, 0, {JobId{5}, "", kSucceeded}}, {JobId{7}, 1, {{}, "go"}}};
  setup.snapshot.events = {{"other", WallTime{7}}};
  Bench bench(std::move(setup));
  bench.turn_audited();
  EXPECT_EQ(bench.state(6), JobState::kBlocked);
  EXPECT_EQ(bench.state(7), JobState::kBlocked);
  EXPECT_EQ(bench.scheduler->named_events().size(), 2u);
  bench.turn_audited({bench.failed(5), bench.put("go")});
  EXPECT_EQ(bench.ending(6)->cause->kind, CauseKind::kDependency);
  EXPECT_NE(bench.state(7), JobState::kBlocked);
}

}  // namespace
}  // namespace futured
