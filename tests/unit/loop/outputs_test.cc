#include "daemon/loop/outputs.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "base/payload.h"

namespace futured {
namespace {

struct Follower : OutputSink {
  void chunk(const OutputChunk& chunk) override {
    if (chunk.offset != next) ++gaps;
    text += chunk.data;
    next = chunk.offset + chunk.data.size();
    spool_user = chunk.spool_user;
  }
  void progress(const JobProgress& progress) override { said = progress.fraction(); }
  void ended(JobId) override { has_ended = true; }
  std::string text;
  std::uint64_t next = 0;
  int gaps = 0;
  bool has_ended = false;
  double said = 0;
  SpoolUser spool_user;
};

const Fence kFirst{JobId{1}, Epoch{1}, 1};

TEST(Outputs, LateFollowerGetsWhatCameBefore) {
  Outputs outputs;
  outputs.add({kFirst, 1, 0, "hel", 1001});
  const auto follower = std::make_shared<Follower>();
  outputs.follow(JobId{1}, follower);
  EXPECT_EQ(follower->spool_user, 1001u);
  outputs.add({kFirst, 1, 3, "lo"});
  EXPECT_EQ(follower->text, "hello");
  EXPECT_EQ(follower->gaps, 0);
}

TEST(Outputs, EndIsToldAfterItsCommitAndEndsTheFollowing) {
  Outputs outputs;
  const auto follower = std::make_shared<Follower>();
  outputs.follow(JobId{1}, follower);
  Batch batch;
  batch.outcomes.emplace_back().id = JobId{1};
  batch.outcomes.back().ending.state = JobState::kSucceeded;
  outputs.publish(batch);
  EXPECT_TRUE(follower->has_ended);
  outputs.add({kFirst, 1, 0, "late"});
  EXPECT_EQ(follower->text, "");
}

TEST(Outputs, WhatIsKeptIsBoundedAndTheGapIsSeen) {
  Outputs outputs;
  const std::string block(64 * 1024, 'x');
  std::uint64_t offset = 0;
  for (int i = 0; i < 64; ++i, offset += block.size()) outputs.add({kFirst, 1, offset, block});
  const auto follower = std::make_shared<Follower>();
  outputs.follow(JobId{1}, follower);
  EXPECT_LE(follower->text.size(), limits::kLiveOutputBytesMax);
  EXPECT_EQ(follower->gaps, 1);
  EXPECT_EQ(follower->next, offset);
}

TEST(Outputs, NewAttemptBeginsAnew) {
  Outputs outputs;
  outputs.add({kFirst, 1, 0, "first attempt"});
  outputs.add({{JobId{1}, Epoch{1}, 2}, 1, 0, "second"});
  const auto follower = std::make_shared<Follower>();
  outputs.follow(JobId{1}, follower);
  EXPECT_EQ(follower->text, "second");
}

TEST(Outputs, ProgressIsToldToFollowersAndToLateOnesAndEndsWithTheAttempt) {
  Outputs outputs;
  const auto early = std::make_shared<Follower>();
  outputs.follow(JobId{1}, early);
  outputs.progress({kFirst, 1, 4, "a quarter"});
  EXPECT_EQ(early->said, 0.25);
  const auto late = std::make_shared<Follower>();
  outputs.follow(JobId{1}, late);
  EXPECT_EQ(late->said, 0.25);
  EXPECT_EQ(outputs.progress_of(JobId{1}).message, "a quarter");
  outputs.add({{JobId{1}, Epoch{1}, 2}, 3, 0, "again"});
  EXPECT_EQ(outputs.progress_of(JobId{1}).total, 0u);
  EXPECT_EQ(outputs.progress_of(JobId{2}).total, 0u);
}

TEST(Outputs, ProgressBeyondItsWholeIsTheWhole) {
  EXPECT_EQ((JobProgress{kFirst, 7, 4, ""}.fraction()), 1.0);
  EXPECT_EQ((JobProgress{kFirst, 7, 0, ""}.fraction()), 0.0);
}

TEST(Outputs, WhatWasKeptOfAnAttemptIsTheOutputOfOneThatCannotReport) {
  Outputs outputs;
  outputs.add({kFirst, 1, 0, "out"});
  outputs.add({kFirst, 3, 10, "chunk"});  // what came before was missed
  EXPECT_EQ(outputs.salvaged({JobId{1}, Epoch{1}, 2}), "");
  const std::string encoded = outputs.salvaged(kFirst);
  const auto parts = decode_parts(encoded);
  ASSERT_TRUE(parts.ok());
  ASSERT_EQ(parts->size(), 2u);
  EXPECT_EQ((*parts)[0].content_type, "application/x-futured-stdout");
  EXPECT_EQ((*parts)[0].bytes, "out");
  EXPECT_EQ((*parts)[1].content_type, "application/x-futured-emitted; total=15; dropped=10; at=0");
  EXPECT_EQ((*parts)[1].bytes, "chunk");
}

}  // namespace
}  // namespace futured
