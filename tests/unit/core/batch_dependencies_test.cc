// Whole batches, choices among several parents, results that payloads take, and bounds of failures.
#include <gmock/gmock.h>

#include "tests/unit/core/dependency_bench.h"

namespace futured {
namespace {

using dependency_bench::Bench;
using dependency_bench::kEnded;
using dependency_bench::kNotSucceeded;
using dependency_bench::kSucceeded;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(BatchDependency, HoldsWhenEveryJobOfTheBatchHasEnded) {
  Bench bench;
  bench.turn({bench.submit(Bench::work(), 3)});
  bench.turn({bench.after({Bench::on_batch(1)})});
  bench.read();
  EXPECT_EQ(bench.state(4), JobState::kBlocked);
  bench.turn_audited({bench.done(3)});
  bench.turn_audited({bench.failed(1)});
  EXPECT_EQ(bench.state(4), JobState::kBlocked);
  EXPECT_THAT(bench.turn_audited({bench.done(2)}), Contains(HasSubstr("offer 4.1")));
}

TEST(BatchDependency, IsBrokenByTheFirstThatEndsOtherwise) {
  Bench bench;
  bench.turn({bench.submit(Bench::work(), 3)});
  bench.turn({bench.after({Bench::on_batch(1, kSucceeded)}), bench.after({Bench::on_batch(1, kNotSucceeded)})});
  bench.read();
  bench.turn_audited({bench.failed(2)});
  EXPECT_EQ(bench.ending(4)->cause->kind, CauseKind::kDependency);
  EXPECT_THAT(bench.cause(4), HasSubstr("batch 1"));
  EXPECT_FALSE(bench.ending(5));
  bench.turn_audited({bench.done(1)});
  EXPECT_EQ(bench.ending(5)->cause->kind, CauseKind::kDependency);
}

TEST(BatchDependency, IsJudgedAgainstWhatHasEndedBefore) {
  Bench bench;
  bench.turn({bench.submit(Bench::work(), 2)});
  bench.turn({bench.done(1)});
  bench.turn({bench.after({Bench::on_batch(1, kSucceeded)})});
  bench.read();
  EXPECT_EQ(bench.state(3), JobState::kBlocked);
  EXPECT_THAT(bench.turn_audited({bench.done(2)}), Contains(HasSubstr("offer 3.1")));
  bench.turn({bench.after({Bench::on_batch(1, kSucceeded)}), bench.after({Bench::on_batch(1, kNotSucceeded)})});
  EXPECT_THAT(bench.read(), Contains(HasSubstr("offer 4.1")));
  EXPECT_EQ(bench.ending(5)->cause->kind, CauseKind::kDependency);
  bench.turn_audited();
}

TEST(BatchDependency, WhatEndsWhileTheStoreIsAskedCounts) {
  Bench bench;
  bench.turn({bench.submit(Bench::work(), 2)});
  bench.turn({bench.after({Bench::on_batch(1, kSucceeded)})});
  const Event early = bench.answer(bench.history.back().batch_queries.front());
  bench.turn({bench.done(1), bench.done(2)});
  EXPECT_THAT(bench.turn_audited({early}), Contains(HasSubstr("offer 3.1")));
}

TEST(BatchDependency, OneThatIsNotTheFirstOrUnknownIsRefused) {
  Bench bench;
  bench.turn({bench.submit(Bench::work(), 2)});
  bench.turn({bench.after({Bench::on_batch(2)})});
  EXPECT_THAT(bench.read(), Contains(HasSubstr("spec.dependencies[0].batch_id: job 2 is one of batch 1")));
  EXPECT_THAT(bench.turn({bench.after({Bench::on_batch(70)})}), Contains(HasSubstr("no job 70")));
  bench.turn_audited();
}

TEST(AnyOf, OneIsEnough) {
  Bench bench;
  bench.turn({bench.submit(Bench::work(), 3)});
  bench.turn({bench.after({Bench::any_of(Bench::on(1, kSucceeded)), Bench::any_of(Bench::on(2, kSucceeded)),
                           Bench::any_of(Bench::on_event("go"))})});
  bench.turn_audited({bench.failed(1)});
  EXPECT_EQ(bench.state(4), JobState::kBlocked);
  EXPECT_THAT(bench.turn_audited({bench.done(2)}), Contains(HasSubstr("offer 4.1")));
  EXPECT_THAT(bench.scheduler->named_events(), IsEmpty());
}

TEST(AnyOf, WhenNoneCanHoldTheJobFails) {
  Bench bench;
  bench.turn({bench.submit(Bench::work(), 2)});
  bench.turn({bench.after({Bench::any_of(Bench::on(1, kSucceeded)), Bench::any_of(Bench::on(2, kSucceeded))})});
  bench.turn_audited({bench.failed(2)});
  EXPECT_EQ(bench.state(3), JobState::kBlocked);
  bench.turn_audited({bench.failed(1)});
  EXPECT_EQ(bench.ending(3)->cause->kind, CauseKind::kDependency);
  EXPECT_THAT(bench.cause(3), HasSubstr("none of several"));
}

TEST(AnyOf, WhatEndedBeforeIsJudgedAtOnce) {
  Bench bench;
  bench.turn({bench.submit(Bench::work(), 3)});
  bench.turn({bench.done(1), bench.failed(2)});
  bench.turn({bench.after({Bench::any_of(Bench::on(1, kSucceeded)), Bench::any_of(Bench::on(3, kSucceeded))}),
              bench.after({Bench::any_of(Bench::on(2, kSucceeded)), Bench::any_of(Bench::on(1, kNotSucceeded))}),
              bench.after({Bench::any_of(Bench::on(2, kSucceeded)), Bench::any_of(Bench::on(3, kSucceeded))})});
  EXPECT_THAT(bench.read(), Contains(HasSubstr("offer 4.1")));
  EXPECT_EQ(bench.ending(5)->cause->kind, CauseKind::kDependency);
  EXPECT_EQ(bench.state(6), JobState::kBlocked);
  bench.turn_audited();
}

TEST(AnyOf, GroupsAndSingleOnesMustAllHold) {
  Bench bench;
  bench.turn({bench.submit(Bench::work(), 5)});
  bench.turn({bench.after({Bench::any_of(Bench::on(1), 1), Bench::any_of(Bench::on(2), 1),
                           Bench::any_of(Bench::on(3), 2), Bench::any_of(Bench::on(4), 2), Bench::on(5)})});
  bench.turn_audited({bench.done(1)});
  bench.turn_audited({bench.done(4)});
  EXPECT_EQ(bench.state(6), JobState::kBlocked);
  EXPECT_THAT(bench.turn_audited({bench.done(5)}), Contains(HasSubstr("offer 6.1")));
}

TEST(TakenResult, IsReadWhenItsJobHasEndedAndBeforeTheTakerIsOffered) {
  Bench bench;
  bench.turn({bench.submit()});
  bench.turn({bench.taker_of(1)});
  const auto lines = bench.turn_audited({bench.done(1)});
  EXPECT_THAT(lines, Contains("load 2"));
  EXPECT_THAT(lines, Not(Contains(HasSubstr("offer 2"))));
  EXPECT_EQ(bench.state(2), JobState::kBlocked);
  std::string payload;
  append_part(payload, {.bytes = "forty-two"});
  EXPECT_THAT(bench.turn_audited({bench.loaded(2, payload)}), Contains(HasSubstr("offer 2.1")));
  EXPECT_EQ(bench.history.back().offers.front().payload.view(), payload);
  bench.turn_audited({bench.done(2)});
  EXPECT_EQ(bench.history.back().rows.queue_bytes.back().bytes, 0u);
}

TEST(TakenResult, OfAJobThatFailsEndsTheTaker) {
  Bench bench;
  bench.turn({bench.submit()});
  bench.turn({bench.taker_of(1)});
  bench.turn_audited({bench.failed(1)});
  EXPECT_EQ(bench.ending(2)->cause->kind, CauseKind::kDependency);
}

TEST(TakenResult, ThatIsNoPayloadEndsTheTaker) {
  Bench bench;
  bench.turn({bench.submit()});
  bench.turn({bench.taker_of(1)});
  bench.turn({bench.done(1)});
  bench.turn_audited({bench.loaded(2, {}, "too large")});
  EXPECT_EQ(bench.ending(2)->cause->kind, CauseKind::kDependency);
  EXPECT_EQ(bench.cause(2), "too large");
}

TEST(TakenResult, ATakerIsCancelledWhileItIsRead) {
  Bench bench;
  bench.turn({bench.submit()});
  bench.turn({bench.taker_of(1)});
  bench.turn({bench.done(1)});
  bench.turn_audited({bench.cancel(2)});
  EXPECT_EQ(bench.state(2), JobState::kCancelled);
  bench.turn_audited({bench.loaded(2, "")});
  EXPECT_EQ(bench.state(2), JobState::kCancelled);
}

TEST(TakenResult, WhatWasReadForATakerThatHasEndedAnswersNobodyElse) {
  Bench bench;
  bench.turn({bench.submit()});
  bench.turn({bench.taker_of(1)});
  bench.turn({bench.done(1)});
  bench.turn({bench.cancel(2)});
  bench.turn({bench.cancel(2)});  // it is asked about anew
  bench.turn_audited({bench.loaded(2, "")});
  EXPECT_EQ(bench.state(2), JobState::kCancelled);
}

TEST(TakenResult, FewAreReadAtOnce) {
  Bench bench;
  bench.turn({bench.submit()});
  std::vector<Event> takers;
  for (std::size_t i = 0; i < limits::kResultsReadAtOnce + 3; ++i) takers.push_back(bench.taker_of(1));
  bench.turn(std::move(takers));
  bench.turn_audited({bench.done(1)});
  EXPECT_EQ(bench.history.back().loads.size(), limits::kResultsReadAtOnce);
  bench.turn_audited({bench.loaded(2, "")});
  EXPECT_EQ(bench.history.back().loads.size(), 1u);
}

JobSpec bounded(std::uint32_t max_failures) {
  JobSpec spec = Bench::work();
  spec.max_failures = max_failures;
  return spec;
}

TEST(MaxFailures, WhatHasNotBegunIsCancelledAndWhatRunsGoesOn) {
  Bench bench({.pools = {{"default", false, 2}}});
  bench.turn({bench.submit(bounded(1), 40)});
  bench.turn({bench.head(1, 1), bench.head(2, 2)});
  bench.turn_audited({bench.failed(1)});
  EXPECT_FALSE(bench.ending(40));
  bench.turn_audited({bench.failed(2)});
  if (!bench.ending(40)) bench.turn_audited({bench.revoked(40, true)});  // it was offered: it is asked back
  ASSERT_TRUE(bench.ending(40));
  EXPECT_EQ(bench.state(40), JobState::kCancelled);
  EXPECT_THAT(bench.cause(40), HasSubstr("more than 1 of the 40 jobs of batch 1 have failed (max_failures)"));
}

TEST(MaxFailures, OtherBatchesAreNotTouched) {
  Bench bench({.pools = {{"default", false, 1}}});
  bench.turn({bench.submit(bounded(0), 3), bench.submit(Bench::work(), 2)});
  bench.turn_audited({bench.failed(1)});
  for (std::uint64_t job = 2; job <= 3; ++job) {
    if (!bench.ending(job)) bench.turn_audited({bench.revoked(job, true)});
    EXPECT_EQ(bench.state(job), JobState::kCancelled) << job;
  }
  for (const std::uint64_t other : {4, 5}) EXPECT_FALSE(bench.ending(other)) << other;
}

TEST(MaxFailures, BlockedOnesAreCancelledToo) {
  Bench bench({.pools = {{"default", false, 2}}});
  Event event = bench.dag(3, {{2U, Bench::on_item(1)}});
  std::get<event::Submit>(event).spec = bounded(0);
  bench.turn({std::move(event)});
  bench.turn({bench.head(1, 1), bench.head(2, 2)});
  bench.turn_audited({bench.failed(1)});
  EXPECT_EQ(bench.state(3), JobState::kCancelled);
  EXPECT_FALSE(bench.ending(2));
}

}  // namespace
}  // namespace futured
