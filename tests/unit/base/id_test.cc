#include "base/id.h"

#include <gtest/gtest.h>

#include <type_traits>
#include <unordered_set>

namespace futured {
namespace {

static_assert(!std::is_convertible_v<JobId, SegmentId>);
static_assert(!std::is_convertible_v<std::uint64_t, JobId>);
static_assert(!std::is_convertible_v<JobId, std::uint64_t>);

TEST(Id, ZeroIsNone) {
  EXPECT_FALSE(JobId{}.is_set());
  EXPECT_TRUE(JobId{1}.is_set());
}

TEST(Id, CanBeAKey) {
  std::unordered_set<JobId> ids{JobId{1}, JobId{2}, JobId{1}};
  EXPECT_EQ(ids.size(), 2u);
}

TEST(Fence, DiffersInEachOfItsThreeFields) {
  const Fence fence{JobId{1}, Epoch{1}, 1};
  EXPECT_EQ(fence, (Fence{JobId{1}, Epoch{1}, 1}));
  EXPECT_NE(fence, (Fence{JobId{2}, Epoch{1}, 1}));
  EXPECT_NE(fence, (Fence{JobId{1}, Epoch{2}, 1}));
  EXPECT_NE(fence, (Fence{JobId{1}, Epoch{1}, 2}));
}

}  // namespace
}  // namespace futured
