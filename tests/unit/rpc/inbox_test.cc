#include "daemon/rpc/inbox.h"

#include <gtest/gtest.h>

namespace futured::rpc {
namespace {

std::shared_ptr<Batch> batch_of(std::uint64_t first, std::size_t count, std::size_t result_bytes = 0) {
  auto batch = std::make_shared<Batch>();
  for (std::size_t i = 0; i < count; ++i) {
    OutcomeRow& row = batch->outcomes.emplace_back();
    row.id = JobId{first + i};
    row.ending.state = JobState::kSucceeded;
    if (result_bytes > 0) append_part(row.ending.result, {.bytes = std::string(result_bytes, 'x')});
  }
  return batch;
}

std::vector<EndedJob> ended(const Batch& batch) {
  std::vector<EndedJob> jobs;
  for (const OutcomeRow& row : batch.outcomes) jobs.push_back({row.id, &row.ending});
  return jobs;
}

struct Message {
  OutcomePacker::Outcomes outcomes;
  OutcomePacker::Packed packed;
};

TEST(Inbox, CountsWhatWaitsUntilItIsSent) {
  std::atomic<std::size_t> total{0};
  {
    Inbox inbox(total);
    const auto batch = batch_of(1, 10, 100);
    EXPECT_TRUE(inbox.add(batch, ended(*batch)));
    EXPECT_GT(total, 1000u);
    auto taken = inbox.take();
    EXPECT_TRUE(inbox.empty());
    EXPECT_GT(total, 1000u);
    inbox.sent(taken.front());
    EXPECT_EQ(total, 0u);
    EXPECT_TRUE(inbox.add(batch, ended(*batch)));
  }
  EXPECT_EQ(total, 0u) << "an inbox that goes takes its count along";
}

TEST(Inbox, AClientThatReadsTooSlowlyIsToldApart) {
  std::atomic<std::size_t> total{0};
  Inbox slow(total);
  Inbox quick(total);
  const auto batch = batch_of(1, 4, 1024 * 1024);
  int added = 0;
  while (slow.add(batch, ended(*batch))) ++added;
  EXPECT_GE(added, 15);
  EXPECT_LE(added, 16);
  const auto small = batch_of(1, 1);
  EXPECT_TRUE(quick.add(small, ended(*small)));
}

TEST(Inbox, WhenAllTogetherWaitForTooMuchTheSmallAreSpared) {
  std::atomic<std::size_t> total{limits::kInboxBytesTotalMax};
  Inbox inbox(total);
  const auto small = batch_of(1, 1);
  EXPECT_TRUE(inbox.add(small, ended(*small)));
  const auto large = batch_of(1, 2, 1024 * 1024);
  EXPECT_FALSE(inbox.add(large, ended(*large)));
}

TEST(Tell, AMessageIsBoundedAndNothingIsLost) {
  std::atomic<std::size_t> total{0};
  Inbox inbox(total);
  const auto batch = batch_of(1, 20'000, 1000);
  ASSERT_TRUE(inbox.add(batch, ended(*batch)));
  auto waiting = inbox.take();
  std::vector<Delivery> done;
  std::uint64_t told = 0;
  int messages = 0;
  while (!waiting.empty()) {
    Message message;
    const std::size_t bytes = tell(waiting, done, ResultWanted::kInline, message.outcomes, message.packed);
    EXPECT_LT(bytes, limits::kAnswerBytesMax + 2000);
    std::size_t size = 0;
    for (const auto& packed : message.packed) {
      told += packed.count();
      size += packed.ByteSizeLong();
    }
    EXPECT_LT(size, limits::kAnswerBytesMax + 2000);
    ++messages;
  }
  EXPECT_EQ(told, 20'000u);
  EXPECT_EQ(messages, 10);
  ASSERT_EQ(done.size(), 1u);
  for (const Delivery& delivery : done) inbox.sent(delivery);
  EXPECT_EQ(total, 0u);
}

}  // namespace
}  // namespace futured::rpc
