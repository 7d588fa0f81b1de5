#include "client/cli/queue_flags.h"

#include <gmock/gmock.h>

namespace futured::cli {
namespace {

using client::Milliseconds;
using testing::ElementsAre;

TEST(QueueFlags, RatesAreReadAndWritten) {
  const client::RateLimit by_second = parse_rate("10/s", "--rate");
  EXPECT_EQ(by_second.starts, 10);
  EXPECT_EQ(by_second.per, Milliseconds(1000));
  EXPECT_EQ(rate_text(by_second), "10/s");
  EXPECT_EQ(parse_rate("2.5", "--rate").per, Milliseconds(1000));
  EXPECT_EQ(parse_rate("5/10s", "--rate").per, Milliseconds(10'000));
  EXPECT_EQ(parse_rate("100/m", "--rate").per, Milliseconds(60'000));
  EXPECT_EQ(parse_rate("none", "--rate").starts, 0);
  EXPECT_EQ(rate_text({}), "");
  for (const char* word : {"", "/s", "x/s", "10/", "-1/s", "inf/s", "nan", "10/x", "10/0s", "10//s"}) {
    EXPECT_THROW(static_cast<void>(parse_rate(word, "--rate")), UsageError) << word;
  }
}

TEST(QueueFlags, OnlyWhatWasNamedIsSaid) {
  client::QueueOptions options;
  options.queued_jobs_max = 7;
  options.weight = 1;
  options.retries.max_attempts = 3;
  const client::QueueOptions chosen = only(options, {"queued_jobs_max"});
  EXPECT_EQ(chosen.queued_jobs_max, 7u);
  EXPECT_EQ(chosen.weight, 0u);
  EXPECT_EQ(chosen.retries.max_attempts, 0u);
}

TEST(QueueFlags, WhatIsGivenComesOnTopOfWhatThereIs) {
  QueueFlags flags;
  CLI::App app;
  flags.add_to(app);
  app.parse("--rate 5/s --max-bytes 1KiB --run-timeout 30s --retries 4 --pool a --pool b");
  client::QueueOptions options;
  options.rate.burst = 9;
  options.retries.jitter = 0.5;
  options.queued_jobs_max = 3;
  flags.apply(options);
  EXPECT_EQ(options.rate.starts, 5);
  EXPECT_EQ(options.rate.burst, 9u) << "it was not spoken of";
  EXPECT_EQ(options.queued_bytes_max, 1024u);
  EXPECT_EQ(options.timeouts.run, Milliseconds(30'000));
  EXPECT_EQ(options.retries.max_attempts, 4u);
  EXPECT_EQ(options.retries.jitter, 0.5);
  EXPECT_EQ(options.queued_jobs_max, 3u);
  EXPECT_THAT(options.pools, ElementsAre("a", "b"));
  EXPECT_THAT(flags.fields(), ElementsAre("rate", "queued_bytes_max", "pools", "default_retries", "default_timeouts"));
}

TEST(QueueFlags, ABurstWithoutARateIsRefused) {
  QueueFlags flags;
  CLI::App app;
  flags.add_to(app);
  app.parse("--burst 5");
  client::QueueOptions options;
  EXPECT_THROW(flags.apply(options), UsageError);
}

}  // namespace
}  // namespace futured::cli
