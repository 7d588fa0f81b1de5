#include "daemon/core/queue_options.h"

#include <gtest/gtest.h>

namespace futured {
namespace {

using std::chrono::milliseconds;

QueueOptions everything() {
  return {.concurrency_max = 4,
          .concurrency_per_key_max = 2,
          .rate = {0.5, milliseconds(250), 7},
          .rate_per_key = {3, milliseconds(1000), 1},
          .queued_jobs_max = std::uint64_t{1} << 40,
          .queued_bytes_max = std::uint64_t{1} << 41,
          .pools = {"gpu", "", "default"},
          .weight = 5,
          .fair = true,
          .ageing = milliseconds(9000),
          .defaults = {.max_attempts = 3,
                       .backoff = milliseconds(10),
                       .backoff_factor = 1.5,
                       .backoff_max = milliseconds(100),
                       .jitter = 0.25,
                       .queue_timeout = milliseconds(1),
                       .soft_timeout = milliseconds(2),
                       .run_timeout = milliseconds(3),
                       .heartbeat_timeout = milliseconds(4),
                       .total_timeout = milliseconds(5),
                       .grace = milliseconds(6),
                       .retention = milliseconds(7),
                       .retry_only = {"Flaky", "exit:75"},
                       .retry_except = {"TIMEOUT"},
                       .retry_memory_factor = 1.5,
                       .retry_memory_bytes_max = std::uint64_t{1} << 33}};
}

TEST(QueueOptions, AreReadAsTheyWereWritten) {
  const auto read = decode_queue_options(encode_queue_options(everything()));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(*read, everything());
}

TEST(QueueOptions, NothingButDefaultsIsNoBytes) {
  EXPECT_EQ(encode_queue_options({}), "");
  const auto read = decode_queue_options("");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(*read, QueueOptions{});
}

TEST(QueueOptions, EveryCutAndWhatFollowsIsDamage) {
  const std::string whole = encode_queue_options(everything());
  for (std::size_t size = 1; size < whole.size(); ++size) {
    EXPECT_FALSE(decode_queue_options(whole.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(decode_queue_options(whole + "x").ok());
  std::string newer = whole;
  newer[0] = 99;
  EXPECT_FALSE(decode_queue_options(newer).ok());
}

TEST(QueueOptions, AChangeTakesTheNamedFieldsAndNoOther) {
  QueueOptions options;
  change(options, everything(), {QueueField::kRate, QueueField::kDefaultRetries, QueueField::kPools});
  EXPECT_EQ(options.rate, everything().rate);
  EXPECT_EQ(options.pools, everything().pools);
  EXPECT_EQ(options.defaults.max_attempts, 3u);
  EXPECT_EQ(options.defaults.backoff, milliseconds(10));
  EXPECT_EQ(options.defaults.run_timeout, Duration(0));
  EXPECT_EQ(options.concurrency_max, 0u);
  EXPECT_EQ(options.weight, 1u);
}

TEST(QueueOptions, OnesOfTheVersionBeforeAreRead) {
  QueueOptions options;
  options.weight = 3;
  options.defaults.max_attempts = 4;
  std::string encoded = encode_queue_options(options);
  encoded[0] = 1;                      // the version; it ended with the retention
  encoded.resize(encoded.size() - 4);  // two empty lists, no factor, no limit
  const auto read = decode_queue_options(encoded);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(*read, options);
}

TEST(QueueOptions, EveryFieldCanBeChanged) {
  QueueOptions options;
  std::vector<QueueField> fields;
  for (int i = 0; i <= static_cast<int>(QueueField::kDefaultRetention); ++i) fields.push_back(QueueField(i));
  change(options, everything(), fields);
  EXPECT_EQ(options, everything());
}

}  // namespace
}  // namespace futured
