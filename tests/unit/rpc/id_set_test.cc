#include "daemon/rpc/id_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace futured::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Ranges = google::protobuf::RepeatedPtrField<api::IdRange>;

Ranges ranges_of(const std::vector<std::pair<std::uint64_t, std::uint64_t>>& pairs) {
  Ranges ranges;
  for (const auto& [first, last] : pairs) {
    api::IdRange& range = *ranges.Add();
    range.set_first(first);
    range.set_last(last);
  }
  return ranges;
}

TEST(IdRanges, AreSortedAndJoined) {
  const auto ranges = to_ranges(ranges_of({{20, 30}, {1, 0}, {2, 5}, {25, 40}, {41, 41}, {3, 3}}), 100);
  ASSERT_TRUE(ranges.ok()) << ranges.error().message;
  ASSERT_EQ(ranges->size(), 2u);
  EXPECT_EQ((*ranges)[0].first, 1u);
  EXPECT_EQ((*ranges)[0].end, 6u);
  EXPECT_EQ((*ranges)[1].first, 20u);
  EXPECT_EQ((*ranges)[1].end, 42u);
}

TEST(IdRanges, WhatCannotBeIsRefusedByName) {
  EXPECT_EQ(field_of(to_ranges(ranges_of({{1, 2}, {0, 3}}), 100).error()), "ids[1].first");
  EXPECT_EQ(field_of(to_ranges(ranges_of({{5, 2}}), 100).error()), "ids[0].last");
  EXPECT_EQ(field_of(to_ranges(ranges_of({{1, 101}}), 100).error()), "ids[0]");
  EXPECT_EQ(field_of(to_ranges(ranges_of({{1, 60}, {100, 150}}), 100).error()), "ids");
  EXPECT_EQ(to_ranges(ranges_of({{1, UINT64_MAX}}), 100).error().code, ErrorCode::kResourceExhausted);
  EXPECT_FALSE(to_ranges(ranges_of({{UINT64_MAX, UINT64_MAX}}), 100).ok());
  EXPECT_TRUE(to_ranges(ranges_of({{1, 60}, {50, 100}}), 100).ok());
}

TEST(IdSet, EachIdIsTakenOnce) {
  IdSet set({{1, 4}, {10, 12}});
  EXPECT_EQ(set.size(), 5u);
  EXPECT_TRUE(set.take(JobId{10}));
  EXPECT_FALSE(set.take(JobId{10}));
  for (const std::uint64_t none : {0, 4, 5, 9, 12, 100}) EXPECT_FALSE(set.take(JobId{none})) << none;
  EXPECT_TRUE(set.has(JobId{11}));
  EXPECT_EQ(set.size(), 4u);
}

TEST(IdSet, IsSweptInStepsPastWhatWasTaken) {
  IdSet set({{1, 4}, {10, 13}});
  EXPECT_TRUE(set.take(JobId{3}));
  EXPECT_THAT(set.next(2), ElementsAre(JobId{1}, JobId{2}));
  EXPECT_TRUE(set.take(JobId{11}));
  EXPECT_THAT(set.next(2), ElementsAre(JobId{10}, JobId{12}));
  EXPECT_THAT(set.next(2), IsEmpty());
  EXPECT_TRUE(set.at_end());
  EXPECT_THAT(IdSet({}).next(5), IsEmpty());
}

TEST(Ranges, JoinIdsThatAreNeighboursInWhateverOrderTheyCome) {
  const std::vector<JobRange> ranges =
      rpc::ranges_of(std::vector<JobId>{JobId{7}, JobId{3}, JobId{4}, JobId{9}, JobId{8}});
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[0].first, 3u);
  EXPECT_EQ(ranges[0].end, 5u);
  EXPECT_EQ(ranges[1].first, 7u);
  EXPECT_EQ(ranges[1].end, 10u);
  EXPECT_TRUE(rpc::ranges_of(std::vector<JobId>{}).empty());
}

}  // namespace
}  // namespace futured::rpc
