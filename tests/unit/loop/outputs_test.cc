#include "daemon/loop/outputs.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace futured {
namespace {

struct Follower : OutputSink {
  void chunk(const OutputChunk& chunk) override {
    if (chunk.offset != next) ++gaps;
    text += chunk.data;
    next = chunk.offset + chunk.data.size();
  }
  void ended(JobId) override { has_ended = true; }
  std::string text;
  std::uint64_t next = 0;
  int gaps = 0;
  bool has_ended = false;
};

const Fence kFirst{JobId{1}, Epoch{1}, 1};

TEST(Outputs, LateFollowerGetsWhatCameBefore) {
  Outputs outputs;
  outputs.add({kFirst, 1, 0, "hel"});
  const auto follower = std::make_shared<Follower>();
  outputs.follow(JobId{1}, follower);
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

}  // namespace
}  // namespace futured
