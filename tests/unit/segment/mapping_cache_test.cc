#include "segment/mapping_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/limits.h"

namespace futured {
namespace {

Segment make(char fill, std::size_t size = 64) {
  const std::vector<std::byte> content(size, std::byte(fill));
  auto segment = make_segment("test", content);
  FUTURED_CHECK(segment.ok(), "test segment");
  return std::move(*segment);
}

Fd copy_of(const Segment& segment) { return Fd(fcntl(segment.descriptor.get(), F_DUPFD_CLOEXEC, 0)); }

TEST(MappingCache, TheSameSegmentIsMappedOnce) {
  MappingCache cache;
  const Segment segment = make('a');
  const auto first = cache.get(SegmentId{1}, copy_of(segment), Instant{1});
  const auto second = cache.get(SegmentId{1}, copy_of(segment), Instant{2});
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->get(), second->get());
  EXPECT_EQ(cache.size(), 1u);
}

TEST(MappingCache, AnotherMemoryUnderTheSameIdIsNotMistakenForIt) {
  MappingCache cache;
  const auto first = cache.get(SegmentId{1}, copy_of(make('a')), Instant{1});
  const auto second = cache.get(SegmentId{1}, copy_of(make('b')), Instant{2});
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ((*first)->bytes()[0], std::byte{'a'});
  EXPECT_EQ((*second)->bytes()[0], std::byte{'b'});
}

TEST(MappingCache, KeepsABoundedNumberAndDropsWhatIsIdle) {
  MappingCache cache;
  for (std::uint64_t i = 1; i <= limits::kMappingsPerWorkerMax + 10; ++i) {
    ASSERT_TRUE(cache.get(SegmentId{i}, copy_of(make('a')), Instant{static_cast<std::int64_t>(i)}).ok());
  }
  EXPECT_EQ(cache.size(), limits::kMappingsPerWorkerMax);
  cache.drop_idle(Instant{static_cast<std::int64_t>(limits::kMappingsPerWorkerMax) + 9});
  EXPECT_EQ(cache.size(), 2u);
}

TEST(MappingCache, AMappingInUseOutlivesTheCache) {
  std::shared_ptr<const Mapping> kept;
  {
    MappingCache cache;
    kept = *cache.get(SegmentId{1}, copy_of(make('k')), Instant{1});
  }
  EXPECT_EQ(kept->bytes()[63], std::byte{'k'});
}

TEST(MappingCache, WhatIsNoSegmentIsRefused) {
  MappingCache cache;
  EXPECT_FALSE(cache.get(SegmentId{1}, Fd(open("/dev/null", O_RDONLY | O_CLOEXEC)), Instant{1}).ok());
  EXPECT_EQ(cache.size(), 0u);
}

}  // namespace
}  // namespace futured
