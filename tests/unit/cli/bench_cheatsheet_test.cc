// The table of fut bench cheatsheet: what its rows say, and what is no measurement.
#include "client/cli/bench_cheatsheet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/cli/bench_cheatsheet_work.h"

namespace futured::cli::cheatsheet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

client::PoolInfo pool(const char* name, const char* mode) {
  client::PoolInfo made;
  made.name = name;
  made.mode = mode;
  return made;
}

TEST(CheatsheetPools, TheDefaultOneOfAModeIsTakenElseTheFirst) {
  const std::vector<client::PoolInfo> pools = {pool("a", "PROCESS"), pool("default", "PROCESS"), pool("b", "THREAD"),
                                               pool("c", "THREAD")};
  EXPECT_EQ(pool_of_mode(pools, "PROCESS")->name, "default");
  EXPECT_EQ(pool_of_mode(pools, "THREAD")->name, "b");
  EXPECT_EQ(pool_of_mode(pools, "ASYNC"), nullptr);
}

TEST(CheatsheetPools, OneThatIsMissingIsToldWithItsSettings) {
  EXPECT_THAT(no_pool_text("ASYNC"), HasSubstr("[pools.async] with mode = \"async\""));
}

TEST(CheatsheetSizes, QuickOnesAreSmallerThroughout) {
  const Sizes quick = sizes_of(true);
  const Sizes full = sizes_of(false);
  EXPECT_LT(quick.sleeps * quick.sleep_ms, full.sleeps * full.sleep_ms);
  EXPECT_LT(quick.cpu_jobs * quick.cpu_rounds, full.cpu_jobs * full.cpu_rounds);
  EXPECT_LT(quick.map_calls * quick.map_rounds, full.map_calls * full.map_rounds);
  EXPECT_LT(quick.payload_bytes.back(), full.payload_bytes.back());
  EXPECT_EQ(full.payload_bytes.front(), 64u * 1024);
  EXPECT_EQ(full.payload_bytes.back(), 64u * 1024 * 1024);
}

TEST(CheatsheetRatios, SayHowManyTimesAsFast) {
  Row row{.name = "fast", .title = "Fast", .amount = "1 thing", .seconds = 0.5};
  compare(row, {.name = "slow", .seconds = 2});
  EXPECT_DOUBLE_EQ(row.ratio, 4);
  EXPECT_THAT(cells_of(row), ElementsAre("Fast", "1 thing", "500.0 ms", "4.00 x slow"));
}

TEST(CheatsheetRatios, OfWhatWasNotMeasuredAreNone) {
  Row row{.name = "fast", .seconds = 0.5};
  compare(row, {.name = "slow", .standing = Standing::kNoWay, .seconds = 2});
  EXPECT_EQ(row.ratio, 0);
  compare(row, {.name = "no time"});
  EXPECT_EQ(row.ratio, 0);
}

TEST(CheatsheetRatios, OfThreeStandBesideEachOther) {
  const Row serial{.seconds = 3};
  const Row thread{.seconds = 2};
  const Row process{.seconds = 1.5};
  const Row* const rows[] = {&serial, &thread, &process};
  EXPECT_EQ(speeds_text(rows), "1 : 1.50 : 2.00");
  const Row missing{.standing = Standing::kNotBuilt};
  const Row* const fewer[] = {&serial, &missing};
  EXPECT_EQ(speeds_text(fewer), "");
}

TEST(CheatsheetRows, WhatTheDaemonDoesNotHaveIsNoFailure) {
  Row row{.name = "cache", .title = "Cache"};
  not_measured(row, client::Error(client::ErrorKind::kUnimplemented, "spec.cache: not yet"));
  EXPECT_THAT(cells_of(row), ElementsAre("Cache", "", "-", "not measured: the daemon does not have it"));
  EXPECT_EQ(to_json(row)["measured"], false);
  EXPECT_EQ(to_json(row)["standing"], "not_built");
  EXPECT_EQ(to_json(row)["refusal"], "spec.cache: not yet") << "who asked is told which field it was";
  EXPECT_FALSE(some_failed(std::vector{row}));
}

TEST(CheatsheetRows, WhatWasRefusedOtherwiseIsAFailure) {
  Row row{.name = "payload"};
  not_measured(row, client::Error(client::ErrorKind::kResourceExhausted, "no room"));
  EXPECT_EQ(to_json(row)["why"], "no room");
  EXPECT_FALSE(to_json(row).contains("seconds"));
  EXPECT_TRUE(some_failed(std::vector{Row{}, row}));
}

TEST(CheatsheetRows, AreJsonWithTheirFigures) {
  Row row{.name = "io_thread", .title = "t", .amount = "a", .seconds = 0.25, .ratio = 4, .ratio_to = "io_serial"};
  row.more["pool"] = "threads";
  const Json json = to_json(row);
  EXPECT_EQ(json["row"], "io_thread");
  EXPECT_EQ(json["measured"], true);
  EXPECT_EQ(json["seconds"], 0.25);
  EXPECT_EQ(json["ratio_to"], "io_serial");
  EXPECT_EQ(json["pool"], "threads");
}

TEST(CheatsheetTimes, HaveTheUnitThatFits) {
  EXPECT_EQ(seconds_text(12.5e-6), "12.5 us");
  EXPECT_EQ(seconds_text(0.0123), "12.3 ms");
  EXPECT_EQ(seconds_text(3.456), "3.46 s");
}

TEST(CheatsheetTimes, TheMedianIsTheMiddleOne) {
  EXPECT_EQ(median({}), 0);
  EXPECT_EQ(median({5, 1, 3}), 3);
}

TEST(CheatsheetWork, IsTheSameAsTheTasks) { EXPECT_EQ(sum_squares(4), 0u + 1 + 4 + 9); }

TEST(CheatsheetWork, AWrongResultIsNoMeasurement) {
  EXPECT_NO_THROW(check_sum("14", 14));
  EXPECT_THROW(check_sum("15", 14), WrongResult);
  EXPECT_THROW(check_sum("", 14), WrongResult);
}

TEST(CheatsheetWork, PayloadsDiffer) {
  const Numbers one = make_numbers(800, 1);
  EXPECT_EQ(one.values.size(), 100u);
  EXPECT_GT(one.sum, 100);
  EXPECT_NE(one.values, make_numbers(800, 2).values) << "equal ones would be stored once";
}

TEST(CheatsheetWork, LargePayloadsThroughGrpcAreSeveralJobs) {
  EXPECT_EQ(jobs_through_grpc(1), 1u);
  EXPECT_EQ(jobs_through_grpc(4u << 20), 1u);
  EXPECT_EQ(jobs_through_grpc((4u << 20) + 1), 2u);
}

TEST(CheatsheetRates, GoFromTheFirstStartToTheLast) {
  EXPECT_DOUBLE_EQ(starts_per_second(std::vector<std::int64_t>{3'000'000, 1'000'000, 2'000'000}), 1);
  EXPECT_EQ(rate_text(99.84, 100), "99.8/s of 100.0/s");
}

TEST(CheatsheetRates, AreNoneWithoutTimes) {
  EXPECT_THROW(static_cast<void>(starts_per_second(std::vector<std::int64_t>{})), WrongResult);
  EXPECT_THROW(static_cast<void>(starts_per_second(std::vector<std::int64_t>{5, 5})), WrongResult);
  EXPECT_THROW(static_cast<void>(starts_per_second(std::vector<std::int64_t>{0, 5})), WrongResult)
      << "0 means not told";
}

}  // namespace
}  // namespace futured::cli::cheatsheet
