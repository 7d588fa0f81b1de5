// Jobs that a running job submits: whose they are, and how deep they may stand.
#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using testing::HasSubstr;

constexpr Epoch kEpoch{1};

Fence fence(std::uint64_t job, std::uint32_t attempt = 1) { return {JobId{job}, kEpoch, attempt}; }

event::Submit child(Stage& stage, const ChildTerms& terms) {
  auto submit = std::get<event::Submit>(stage.submit());
  submit.who = terms.who;
  submit.lineage = terms.lineage;
  return submit;
}

Lineage stored_lineage(const Stage& stage, std::uint64_t job) {
  for (const Effects& effects : stage.history) {
    for (const JobRow& row : effects.rows.jobs) {
      if (row.id == JobId{job}) return row.lineage;
    }
  }
  return {};
}

TEST(Children, AreOfTheirParentsOwnerAndNameIt) {
  Stage stage;
  stage.turn({stage.submit()});
  const auto terms = stage.scheduler->child_terms(fence(1));
  ASSERT_TRUE(terms.ok()) << terms.error().message;
  EXPECT_EQ(terms->who.uid, 1000u);
  stage.turn({child(stage, *terms)});
  EXPECT_EQ(stored_lineage(stage, 1), Lineage{});
  EXPECT_EQ(stored_lineage(stage, 2), (Lineage{JobId{1}, 1}));
}

TEST(Children, OfAnAttemptThatIsOverAreRefused) {
  Stage stage;
  EXPECT_FALSE(stage.scheduler->child_terms(fence(1)).ok()) << "no such job";
  auto spec = Stage::work();
  spec.max_attempts = 2;
  stage.turn({stage.submit(spec), stage.submit()});
  EXPECT_TRUE(stage.scheduler->child_terms(fence(1)).ok());
  EXPECT_FALSE(stage.scheduler->child_terms({JobId{1}, Epoch{kEpoch.value + 1}, 1}).ok()) << "another daemon's";
  stage.turn({stage.failed(1)});
  EXPECT_THAT(stage.scheduler->child_terms(fence(1)).error().message, HasSubstr("job 1: attempt 1 is over"));
  stage.turn({stage.done(2)});
  EXPECT_TRUE(stage.scheduler->child_terms(fence(1, 2)).ok()) << "its second attempt runs";
  stage.turn({stage.done(1)});
  EXPECT_FALSE(stage.scheduler->child_terms(fence(1, 2)).ok());
}

TEST(Children, AreBoundedInDepth) {
  Stage stage;
  stage.turn({stage.submit()});
  std::uint64_t job = 1;
  for (; job <= limits::kChildDepthMax; ++job) {
    const auto terms = stage.scheduler->child_terms(fence(job));
    ASSERT_TRUE(terms.ok()) << terms.error().message;
    EXPECT_EQ(terms->lineage.depth, job);
    stage.turn({child(stage, *terms)});
    stage.turn({stage.done(job)});
  }
  const auto refused = stage.scheduler->child_terms(fence(job));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kResourceExhausted);
  EXPECT_THAT(refused.error().message, HasSubstr("16 jobs above it"));
}

TEST(Children, KeepTheirDepthThroughARestart) {
  StageSetup setup;
  StoredJob stored;
  stored.id = JobId{1};
  stored.spec = SpecId{1};
  stored.owner = 7;
  stored.lineage = {JobId{9}, 5};
  setup.snapshot.ids_reserved_until = 10;
  setup.snapshot.specs_until = 2;
  setup.snapshot.specs = {{SpecId{1}, Stage::work()}};
  setup.snapshot.specs[0].spec.pool = "default";
  setup.snapshot.queues = {{QueueId{1}, "default", Discipline::kFifo, false}};
  setup.snapshot.resident = {stored};
  Stage stage(std::move(setup));
  stage.turn();
  const auto live = stage.scheduler->live(JobId{1});
  ASSERT_TRUE(live && live->attempt == 1);
  const auto terms = stage.scheduler->child_terms({JobId{1}, live->epoch, 1});
  ASSERT_TRUE(terms.ok()) << terms.error().message;
  EXPECT_EQ(terms->who.uid, 7u);
  EXPECT_EQ(terms->lineage, (Lineage{JobId{1}, 6}));
}

TEST(Ids, GivenBackForAStopAreReservedAnewByWhatStillComesIn) {
  Stage stage;
  stage.turn({stage.submit()});
  stage.scheduler->return_ids(stage.effects);
  stage.turn();
  EXPECT_EQ(stage.history.back().rows.ids_reserved_until, 2u);
  stage.turn({stage.submit()});
  EXPECT_GT(stage.history.back().rows.ids_reserved_until, 2u);
}

}  // namespace
}  // namespace futured
