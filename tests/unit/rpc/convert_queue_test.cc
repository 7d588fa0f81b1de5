#include "daemon/rpc/convert_queue.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "base/limits.h"

namespace futured::rpc {
namespace {

constexpr auto kInvalid = ErrorCode::kInvalidArgument;
constexpr auto kTooMuch = ErrorCode::kResourceExhausted;
const double kNan = std::numeric_limits<double>::quiet_NaN();
const double kInfinite = std::numeric_limits<double>::infinity();

api::QueueOptions everything() {
  api::QueueOptions asked;
  asked.set_concurrency_max(4);
  asked.set_concurrency_per_key_max(2);
  asked.mutable_rate()->set_rate(0.5);
  asked.mutable_rate()->set_per_ms(60'000);
  asked.mutable_rate()->set_burst(3);
  asked.mutable_rate_per_key()->set_rate(10);
  asked.set_queued_jobs_max(1000);
  asked.set_queued_bytes_max(1 << 20);
  asked.add_pools("gpu");
  asked.add_pools("");
  asked.set_fair(true);
  asked.set_ageing_ms(10'000);
  api::Retries& retries = *asked.mutable_default_retries();
  retries.set_max_attempts(3);
  retries.set_backoff_ms(100);
  retries.set_factor(1.5);
  retries.set_backoff_ms_max(1000);
  retries.set_jitter(0.25);
  retries.add_only_classes("Flaky");
  retries.add_except_classes("exit:75");
  retries.set_memory_factor(2);
  retries.set_memory_bytes_max(1 << 30);
  api::Timeouts& timeouts = *asked.mutable_default_timeouts();
  timeouts.set_queue_ms(1);
  timeouts.set_soft_ms(2);
  timeouts.set_run_ms(3);
  timeouts.set_heartbeat_ms(4);
  timeouts.set_total_ms(5);
  timeouts.set_grace_ms(6);
  asked.set_default_retention_ms(7);
  return asked;
}

TEST(ConvertQueue, EveryOptionIsTakenAndToldAgain) {
  const auto options = to_queue_options(everything());
  ASSERT_TRUE(options.ok()) << options.error().message;
  EXPECT_EQ(options->rate.starts, 0.5);
  EXPECT_EQ(options->rate.per, std::chrono::minutes(1));
  EXPECT_EQ(options->rate.burst, 3u);
  EXPECT_EQ(options->rate_per_key.per, std::chrono::seconds(1));
  EXPECT_EQ(options->rate_per_key.burst, 1u);
  QueueRow row{QueueId{1}, "q", Discipline::kLifo, true, *options, true, WallTime{9}};
  api::Queue told;
  to_api(row, told);
  EXPECT_EQ(told.options().discipline(), api::QUEUE_DISCIPLINE_LIFO);
  EXPECT_TRUE(told.paused());
  EXPECT_TRUE(told.draining());
  EXPECT_EQ(told.created_us(), 9);
  const auto again = to_queue_options(told.options());
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(*again, *options);
}

TEST(ConvertQueue, NothingSaidIsNoLimit) {
  const auto options = to_queue_options({});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(*options, QueueOptions{});
}

TEST(ConvertQueue, WhatIsWrongIsRefusedByName) {
  struct Wrong {
    std::string field;
    ErrorCode code;
    std::function<void(api::QueueOptions&)> make;
  };
  const Wrong all[] = {
      {"options.concurrency_max", kTooMuch, [](auto& o) { o.set_concurrency_max(1'000'001); }},
      {"options.concurrency_per_key_max", kTooMuch, [](auto& o) { o.set_concurrency_per_key_max(UINT32_MAX); }},
      {"options.rate.rate", kInvalid, [](auto& o) { o.mutable_rate()->set_rate(-1); }},
      {"options.rate.rate", kInvalid, [](auto& o) { o.mutable_rate()->set_rate(kNan); }},
      {"options.rate.rate", kInvalid, [](auto& o) { o.mutable_rate()->set_rate(kInfinite); }},
      {"options.rate.rate", kTooMuch, [](auto& o) { o.mutable_rate()->set_rate(1e10); }},
      {"options.rate.rate", kInvalid, [](auto& o) { o.mutable_rate()->set_burst(2); }},
      {"options.rate.burst", kTooMuch, [](auto& o) { o.mutable_rate()->set_burst(UINT32_MAX); }},
      {"options.rate_per_key.per_ms", kInvalid,
       [](auto& o) {
         o.mutable_rate_per_key()->set_rate(1);
         o.mutable_rate_per_key()->set_per_ms(-1);
       }},
      {"options.queued_jobs_max", kTooMuch, [](auto& o) { o.set_queued_jobs_max(UINT64_MAX); }},
      {"options.queued_bytes_max", kTooMuch, [](auto& o) { o.set_queued_bytes_max(UINT64_MAX); }},
      {"options.when_full", kInvalid, [](auto& o) { o.set_when_full(static_cast<api::FullQueuePolicy>(7)); }},
      {"options.pools[0]", kInvalid, [](auto& o) { o.add_pools("\n"); }},
      {"options.pools[1]", kInvalid,
       [](auto& o) {
         o.add_pools("a");
         o.add_pools("a");
       }},
      {"options.weight", kTooMuch, [](auto& o) { o.set_weight(1001); }},
      {"options.ageing_ms", kInvalid, [](auto& o) { o.set_ageing_ms(-1); }},
      {"options.ageing_ms", kTooMuch, [](auto& o) { o.set_ageing_ms(INT64_MAX); }},
      {"options.default_retries.max_attempts", kTooMuch,
       [](auto& o) { o.mutable_default_retries()->set_max_attempts(1001); }},
      {"options.default_retries.factor", kInvalid, [](auto& o) { o.mutable_default_retries()->set_factor(0.5); }},
      {"options.default_retries.factor", kInvalid, [](auto& o) { o.mutable_default_retries()->set_factor(kNan); }},
      {"options.default_retries.jitter", kInvalid, [](auto& o) { o.mutable_default_retries()->set_jitter(kNan); }},
      {"options.default_retries.backoff_ms", kInvalid,
       [](auto& o) { o.mutable_default_retries()->set_backoff_ms(-1); }},
      {"options.default_retries.only_classes[0]", kInvalid,
       [](auto& o) { o.mutable_default_retries()->add_only_classes(""); }},
      {"options.default_retries.except_classes", kTooMuch,
       [](auto& o) {
         for (int i = 0; i < 33; ++i) o.mutable_default_retries()->add_except_classes("E");
       }},
      {"options.default_retries.memory_factor", kInvalid,
       [](auto& o) { o.mutable_default_retries()->set_memory_factor(2); }},
      {"options.default_retries.memory_bytes_max", kInvalid,
       [](auto& o) { o.mutable_default_retries()->set_memory_bytes_max(5); }},
      {"options.default_timeouts.run_ms", kInvalid, [](auto& o) { o.mutable_default_timeouts()->set_run_ms(-1); }},
      {"options.default_timeouts.soft_ms", kInvalid,
       [](auto& o) {
         o.mutable_default_timeouts()->set_run_ms(5);
         o.mutable_default_timeouts()->set_soft_ms(5);
       }},
      {"options.default_retention_ms", kInvalid, [](auto& o) { o.set_default_retention_ms(-1); }},
      {"options.default_retention_ms", kTooMuch, [](auto& o) { o.set_default_retention_ms(INT64_MAX); }},
  };
  for (const Wrong& wrong : all) {
    api::QueueOptions asked;
    wrong.make(asked);
    const auto options = to_queue_options(asked);
    ASSERT_FALSE(options.ok()) << wrong.field;
    EXPECT_EQ(field_of(options.error()), wrong.field) << options.error().message;
    EXPECT_EQ(options.error().code, wrong.code) << options.error().message;
  }
}

using Names = google::protobuf::RepeatedPtrField<std::string>;

Names names(std::initializer_list<const char*> words) {
  Names all;
  for (const char* word : words) *all.Add() = word;
  return all;
}

TEST(ConvertQueue, AChangeNamesWhatItSets) {
  api::QueueOptions asked;
  asked.set_queued_jobs_max(5);
  const auto fields = to_queue_fields(names({"queued_jobs_max", "rate"}), asked);
  ASSERT_TRUE(fields.ok()) << fields.error().message;
  EXPECT_EQ(*fields, (std::vector{QueueField::kQueuedJobsMax, QueueField::kRate}));

  EXPECT_EQ(field_of(to_queue_fields({}, asked).error()), "fields");
  EXPECT_EQ(field_of(to_queue_fields(names({"rate"}), asked).error()), "options.queued_jobs_max");
  EXPECT_EQ(field_of(to_queue_fields(names({"rate", "speed"}), {}).error()), "fields[1]");
  EXPECT_EQ(field_of(to_queue_fields(names({"discipline"}), {}).error()), "fields[0]");
  asked.set_discipline(api::QUEUE_DISCIPLINE_LIFO);
  EXPECT_EQ(field_of(to_queue_fields(names({"queued_jobs_max"}), asked).error()), "options.discipline");
}

}  // namespace
}  // namespace futured::rpc
