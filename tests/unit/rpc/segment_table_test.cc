#include "daemon/pool/segment_table.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstring>
#include <map>

#include "base/limits.h"
#include "base/stored_segment.h"

namespace futured {
namespace {

Segment segment_of(std::string_view text) {
  auto made = make_segment("test", std::as_bytes(std::span(text)));
  EXPECT_TRUE(made.ok());
  return std::move(*made);
}

SegmentQuotas small() { return {1000, 600, 100, 10, 5}; }

std::string naming(SegmentId id, std::uint64_t begin, std::uint64_t end, std::string_view type = "t") {
  std::string encoded;
  append_part(encoded, {.kind = PartKind::kSegment, .content_type = type, .segment = id, .begin = begin, .end = end});
  return encoded;
}

TEST(SegmentTable, ASegmentLivesAsLongAsAnybodyHasAShare) {
  SegmentTable table(small());
  SegmentHold connection;
  SegmentHold job;
  const SegmentId id = *table.put(1000, segment_of("hello"), "text/plain", connection);
  ASSERT_TRUE(table.take_share(id, 1000, job).ok());
  connection.give_up();
  EXPECT_TRUE(table.open(id, 1000).ok());
  EXPECT_EQ(table.usage().bytes, 5u);
  job.give_up();
  EXPECT_EQ(table.open(id, 1000).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(table.usage().bytes, 0u);
  EXPECT_EQ(table.usage().segments, 0u);
}

TEST(SegmentTable, AStoredSegmentIsItsMemoryAsLongAsThatIsHeld) {
  SegmentTable table(small());
  const SegmentId stored{kStoredSegmentsFrom | 7};
  SegmentHold job;
  const SegmentId id = *table.put(1000, segment_of("hello"), "", job);
  EXPECT_EQ(table.descriptors_for(naming(stored, 0, 5)).error().code, ErrorCode::kUnavailable);
  table.store_as(stored, id);
  const auto descriptors = table.descriptors_for(naming(stored, 0, 5));
  ASSERT_TRUE(descriptors.ok());
  EXPECT_EQ(descriptors->size(), 1u);
  EXPECT_EQ(table.descriptors_for(naming(stored, 0, 6)).error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(table.open_stored(stored).ok());
  EXPECT_EQ(table.usage().bytes, 5u);
  EXPECT_EQ(table.usage().stored_bytes, 0u) << "it is counted once";
  EXPECT_EQ(table.take_share(stored, 1000, job).error().code, ErrorCode::kNotFound) << "nobody names it so";
  job.give_up();
  EXPECT_EQ(table.open_stored(stored).error().code, ErrorCode::kUnavailable);
}

TEST(SegmentTable, WhatLiesInFilesMakesRoomTheLongestUnusedFirst) {
  SegmentTable table(small());
  const SegmentId a{kStoredSegmentsFrom | 1};
  const SegmentId b{kStoredSegmentsFrom | 2};
  const SegmentId c{kStoredSegmentsFrom | 3};
  table.keep_stored(a, segment_of(std::string(400, 'a')));
  table.keep_stored(b, segment_of(std::string(400, 'b')));
  table.keep_stored(b, segment_of(std::string(400, 'b')));
  EXPECT_EQ(table.usage().stored_bytes, 800u);
  EXPECT_TRUE(table.open_stored(a).ok());
  table.keep_stored(c, segment_of(std::string(400, 'c')));
  EXPECT_FALSE(table.open_stored(b).ok());
  EXPECT_TRUE(table.open_stored(a).ok());
  SegmentHold client;
  ASSERT_TRUE(table.put(1000, segment_of(std::string(500, 'x')), "", client).ok()) << "no client is refused for it";
  EXPECT_FALSE(table.open_stored(c).ok());
  EXPECT_EQ(table.usage().stored_bytes, 400u);
}

TEST(SegmentTable, RoomIsTakenUpFrontAndGivenBackUnlessItIsFilled) {
  SegmentTable table(small());
  {
    auto room = table.reserve(1000, 500);
    ASSERT_TRUE(room.ok());
    EXPECT_EQ(table.usage().bytes, 500u);
    EXPECT_EQ(table.reserve(1000, 101).error().code, ErrorCode::kResourceExhausted);
    SegmentRoom moved = std::move(*room);
    EXPECT_EQ(table.usage().segments, 1u);
  }
  EXPECT_EQ(table.usage().bytes, 0u);
  EXPECT_EQ(table.usage().segments, 0u);
  SegmentHold hold;
  const SegmentId id = table.fill(std::move(*table.reserve(1000, 5)), segment_of("hello"), "", hold);
  EXPECT_EQ(table.usage().bytes, 5u);
  EXPECT_EQ(table.usage().segments, 1u);
  EXPECT_TRUE(hold.drop(id));
  EXPECT_EQ(table.usage().bytes, 0u);
}

TEST(SegmentTable, SharesMoveWithTheirHold) {
  SegmentTable table(small());
  SegmentHold kept;
  SegmentId id;
  {
    SegmentHold first;
    id = *table.put(1, segment_of("x"), "", first);
    kept = std::move(first);
    EXPECT_FALSE(first.has(id));
  }
  EXPECT_TRUE(table.open(id, 1).ok());
  EXPECT_TRUE(kept.drop(id));
  EXPECT_FALSE(kept.drop(id));
  EXPECT_FALSE(table.open(id, 1).ok());
}

TEST(SegmentTable, WhatAnotherUserPutIsNotForYou) {
  SegmentTable table(small());
  SegmentHold hold;
  SegmentHold other;
  const SegmentId id = *table.put(1000, segment_of("hello"), "", hold);
  EXPECT_EQ(table.open(id, 1001).error().code, ErrorCode::kPermissionDenied);
  EXPECT_EQ(table.take_share(id, 1001, other).error().code, ErrorCode::kPermissionDenied);
  EXPECT_TRUE(table.open(id, 0).ok());
  EXPECT_TRUE(other.empty());
}

TEST(SegmentTable, QuotasRefuseAndKeepNothing) {
  SegmentTable table(small());
  SegmentHold hold;
  EXPECT_TRUE(table.put(1, segment_of(std::string(500, 'x')), "", hold).ok());
  const auto over_user = table.put(1, segment_of(std::string(101, 'x')), "", hold);
  ASSERT_FALSE(over_user.ok());
  EXPECT_EQ(over_user.error().code, ErrorCode::kResourceExhausted);
  EXPECT_NE(over_user.error().message.find("user 1"), std::string::npos);
  EXPECT_TRUE(table.put(2, segment_of(std::string(450, 'x')), "", hold).ok());
  EXPECT_FALSE(table.put(3, segment_of(std::string(51, 'x')), "", hold).ok());
  EXPECT_EQ(table.usage().bytes, 950u);
  hold.give_up();
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(table.put(1, segment_of(""), "", hold).ok());
  EXPECT_EQ(table.put(1, segment_of(""), "", hold).error().code, ErrorCode::kResourceExhausted);
}

TEST(SegmentTable, IdsOfTwoDaemonsDoNotMeet) {
  SegmentTable one(small());
  SegmentTable two(small());
  SegmentHold hold;
  SegmentHold other;
  EXPECT_NE(*one.put(1, segment_of("a"), "", hold), *two.put(1, segment_of("b"), "", other));
}

TEST(SegmentTable, DescriptorsComeInTheOrderOfTheParts) {
  SegmentTable table(small());
  SegmentHold hold;
  const SegmentId a = *table.put(1, segment_of("a"), "", hold);
  const SegmentId b = *table.put(1, segment_of("bb"), "", hold);
  std::string payload = naming(b, 0, 2);
  append_part(payload, {.bytes = "inline"});
  payload += naming(a, 0, 1);
  const auto descriptors = table.descriptors_for(payload);
  ASSERT_TRUE(descriptors.ok());
  ASSERT_EQ(descriptors->size(), 2u);
  struct stat first {};
  ASSERT_EQ(fstat((*descriptors)[0], &first), 0);
  EXPECT_EQ(first.st_size, 2);
  EXPECT_EQ(table.descriptors_for(naming(SegmentId{1}, 0, 1)).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(table.descriptors_for(naming(a, 0, 2)).error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(table.descriptors_for("garbage").ok());
  append_part(payload, {.kind = PartKind::kLost, .bytes = "/state/f is gone"});
  EXPECT_EQ(table.descriptors_for(payload).error().code, ErrorCode::kDataLoss);
  EXPECT_EQ(table.descriptors_for(payload).error().message, "/state/f is gone");
}

TEST(SegmentTable, AResultIsKeptUnderNewIds) {
  SegmentTable table(small());
  Fd descriptors[] = {std::move(segment_of("0123456789").descriptor)};
  const auto kept = table.keep_result(JobId{7}, naming(SegmentId{}, 2, 8), descriptors);
  ASSERT_TRUE(kept.ok()) << kept.error().message;
  const auto parts = decode_parts(*kept);
  ASSERT_EQ(parts->size(), 1u);
  EXPECT_TRUE((*parts)[0].segment.is_set());
  EXPECT_EQ((*parts)[0].begin, 2u);
  const auto opened = table.open((*parts)[0].segment, 4711);
  ASSERT_TRUE(opened.ok()) << "results may be read by whoever may speak to the daemon";
  EXPECT_EQ(opened->facts.content_type, "t");
  EXPECT_EQ(table.usage().result_bytes, 10u);
  table.forget_result(JobId{7});
  EXPECT_FALSE(table.open((*parts)[0].segment, 0).ok());
  EXPECT_EQ(table.usage().result_bytes, 0u);
}

TEST(SegmentTable, WhatAWorkerCannotMeanIsRefused) {
  SegmentTable table(small());
  const std::string whole = naming(SegmentId{}, 0, 4);
  EXPECT_FALSE(table.keep_result(JobId{1}, whole, {}).ok());
  Fd two[] = {std::move(segment_of("1234").descriptor), std::move(segment_of("1234").descriptor)};
  EXPECT_FALSE(table.keep_result(JobId{1}, whole, two).ok());
  Fd endless_type[] = {std::move(segment_of("1234").descriptor)};
  const std::string type(limits::kContentTypeBytesMax + 1, 't');
  EXPECT_FALSE(table.keep_result(JobId{1}, naming(SegmentId{}, 0, 4, type), endless_type).ok());
  Fd small_one[] = {std::move(segment_of("123").descriptor)};
  EXPECT_FALSE(table.keep_result(JobId{1}, whole, small_one).ok());
  Fd unsealed[] = {Fd(memfd_create("unsealed", MFD_CLOEXEC))};
  ASSERT_EQ(ftruncate(unsealed[0].get(), 4), 0);
  EXPECT_FALSE(table.keep_result(JobId{1}, whole, unsealed).ok());
  Fd large[] = {std::move(segment_of(std::string(101, 'x')).descriptor)};
  EXPECT_EQ(table.keep_result(JobId{1}, naming(SegmentId{}, 0, 101), large).error().code,
            ErrorCode::kResourceExhausted);
  EXPECT_EQ(table.usage().segments, 0u);
}

TEST(SegmentTable, TheOldestResultsMakeRoom) {
  SegmentTable table(small());
  std::vector<SegmentId> ids;
  for (std::uint64_t job = 1; job <= 3; ++job) {
    Fd descriptors[] = {std::move(segment_of(std::string(50, 'x')).descriptor)};
    const auto kept = table.keep_result(JobId{job}, naming(SegmentId{}, 0, 50), descriptors);
    ASSERT_TRUE(kept.ok());
    ids.push_back((*decode_parts(*kept))[0].segment);
  }
  EXPECT_FALSE(table.open(ids[0], 0).ok());
  EXPECT_TRUE(table.open(ids[1], 0).ok());
  EXPECT_TRUE(table.open(ids[2], 0).ok());
}

TEST(SegmentTable, ResultsThatJobsHoldCountUntilTheyHaveEnded) {
  SegmentTable table(small());
  SegmentHold job;
  const auto keep = [&](std::uint64_t of) {
    Fd descriptors[] = {std::move(segment_of(std::string(60, 'x')).descriptor)};
    return table.keep_result(JobId{of}, naming(SegmentId{}, 0, 60), descriptors);
  };
  const auto held = keep(1);
  ASSERT_TRUE(held.ok());
  ASSERT_TRUE(table.take_share((*decode_parts(*held))[0].segment, 1000, job).ok());
  EXPECT_EQ(keep(2).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(table.usage().result_bytes, 60u);
  job.give_up();
  EXPECT_TRUE(keep(2).ok());
}

TEST(SegmentTable, AResultThatIsKeptAnewIsTheYoungest) {
  SegmentTable table(small());
  std::map<std::uint64_t, SegmentId> ids;
  for (const std::uint64_t job : {1, 2, 1, 3}) {
    Fd descriptors[] = {std::move(segment_of(std::string(50, 'x')).descriptor)};
    const auto kept = table.keep_result(JobId{job}, naming(SegmentId{}, 0, 50), descriptors);
    ASSERT_TRUE(kept.ok());
    ids[job] = (*decode_parts(*kept))[0].segment;
  }
  EXPECT_TRUE(table.open(ids[1], 0).ok());
  EXPECT_FALSE(table.open(ids[2], 0).ok());
  EXPECT_TRUE(table.open(ids[3], 0).ok());
}

}  // namespace
}  // namespace futured
