#include "daemon/store/backlog_runs.h"

#include <gtest/gtest.h>

namespace futured {
namespace {

BacklogKey key(std::int64_t order, std::int64_t rank = 0, std::uint32_t queue = 1) {
  return {QueueId{queue}, PoolId{1}, {rank, order}};
}

TEST(BacklogRuns, NeighboursOfOneLaneMakeOneRun) {
  EXPECT_TRUE(runs_of({}).empty());
  EXPECT_EQ(runs_of({key(5), key(6), key(7)}), (std::vector<BacklogRun>{{key(5), 3}}));
  EXPECT_EQ(runs_of({key(5), key(7)}), (std::vector<BacklogRun>{{key(5), 1}, {key(7), 1}}));
  EXPECT_EQ(runs_of({key(5), key(6, 1), key(7, 0, 2)}),
            (std::vector<BacklogRun>{{key(5), 1}, {key(6, 1), 1}, {key(7, 0, 2), 1}}));
}

TEST(BacklogRuns, OrderOfTheKeysDoesNotMatter) {
  EXPECT_EQ(runs_of({key(9), key(2), key(8), key(1), key(3)}), (std::vector<BacklogRun>{{key(1), 3}, {key(8), 2}}));
  EXPECT_EQ(runs_of({key(-4), key(-5), key(-6)}), (std::vector<BacklogRun>{{key(-6), 3}})) << "lifo";
}

TEST(BacklogRuns, AKeyThatIsThereTwiceIsNotHidden) {
  EXPECT_EQ(runs_of({key(1), key(2), key(2), key(3)}), (std::vector<BacklogRun>{{key(1), 2}, {key(2), 2}}));
}

TEST(BacklogRuns, KnowTheIdsOfTheirJobs) {
  const BacklogRun up{key(5), 3};
  EXPECT_EQ(up.smallest_id(), 5u);
  EXPECT_EQ(up.largest_id(), 7u);
  const BacklogRun down{key(-9), 3};
  EXPECT_EQ(down.smallest_id(), 7u);
  EXPECT_EQ(down.largest_id(), 9u);
  EXPECT_EQ(down.last(), -7);
}

}  // namespace
}  // namespace futured
