#include "daemon/loop/outputs.h"

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/limits.h"
#include "base/payload.h"

namespace futured {
namespace {

struct Follower : OutputSink {
  void chunk(const OutputChunk& chunk) override {
    if (chunk.offset != next) ++gaps;
    text += chunk.data;
    next = chunk.offset + chunk.data.size();
  }
  void progress(const JobProgress& progress) override { said = progress.fraction(); }
  void ended(JobId) override { has_ended = true; }
  std::string text;
  std::uint64_t next = 0;
  int gaps = 0;
  bool has_ended = false;
  double said = 0;
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

// ---- What lies in a worker's file

class SpooledOutput : public testing::Test {
 protected:
  SpooledOutput() {
    char name[] = "/tmp/futured-test-XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  ~SpooledOutput() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string path() const { return folder_ + "/1.1.1.emitted"; }
  [[nodiscard]] std::string read(std::uint64_t from, std::size_t bytes_max = 100) const {
    return spooled_output(folder_, kFirst, 3, from, bytes_max);
  }

  std::string folder_;
};

TEST_F(SpooledOutput, IsReadFromAnyPlaceOnAndWithinABound) {
  std::ofstream(path()) << "0123456789";
  EXPECT_EQ(read(0), "0123456789");
  EXPECT_EQ(read(4, 3), "456");
  EXPECT_EQ(read(10), "");
  EXPECT_EQ(spooled_output(folder_, kFirst, 1, 0, 100), "") << "another stream";
  EXPECT_EQ(spooled_output(folder_, {JobId{1}, Epoch{1}, 2}, 3, 0, 100), "") << "another attempt";
  EXPECT_EQ(spooled_output(folder_, kFirst, 5, 0, 100), "") << "no stream at all";
}

TEST_F(SpooledOutput, OfAFullFileOnlyTheHalfThatIsNeverWrittenOverIsRead) {
  constexpr std::uint64_t kHalf = limits::kOutputBytesMax / 2;
  std::ofstream(path()) << "begin";
  std::filesystem::resize_file(path(), limits::kOutputBytesMax - 1);
  EXPECT_EQ(read(kHalf).size(), 100u) << "it is not full yet";
  std::filesystem::resize_file(path(), limits::kOutputBytesMax);
  EXPECT_EQ(read(0, 5), "begin");
  EXPECT_EQ(read(kHalf - 10).size(), 10u);
  EXPECT_EQ(read(kHalf), "");
}

TEST_F(SpooledOutput, WhatAWorkerPutsInItsPlaceIsNotOpened) {
  const std::string secret = folder_ + "/secret";
  std::ofstream(secret) << "of the daemon";
  std::filesystem::create_symlink(secret, path());
  EXPECT_EQ(read(0), "");
  std::filesystem::remove(path());
  ASSERT_EQ(::mkfifo(path().c_str(), 0600), 0);
  EXPECT_EQ(read(0), "") << "and it does not wait for a writer";
}

}  // namespace
}  // namespace futured
