#include "base/payload.h"

#include <gtest/gtest.h>

#include <random>

#include "base/limits.h"
#include "base/wire.h"

namespace futured {
namespace {

std::string sample() {
  std::string encoded;
  append_part(encoded, {.content_type = "text/plain", .bytes = "hello"});
  append_part(encoded, {.kind = PartKind::kSegment,
                        .content_type = "x",
                        .segment = SegmentId{1ULL << 40},
                        .begin = 8,
                        .end = 1ULL << 36});
  append_part(encoded, {});
  return encoded;
}

TEST(Payload, PartsComeBackAsViews) {
  const std::string encoded = sample();
  const auto parts = decode_parts(encoded);
  ASSERT_TRUE(parts.ok()) << parts.error().message;
  ASSERT_EQ(parts->size(), 3u);
  EXPECT_EQ((*parts)[0].bytes, "hello");
  EXPECT_EQ((*parts)[0].content_type, "text/plain");
  EXPECT_GE((*parts)[0].bytes.data(), encoded.data());
  EXPECT_LT((*parts)[0].bytes.data(), encoded.data() + encoded.size());
  EXPECT_EQ((*parts)[1].kind, PartKind::kSegment);
  EXPECT_EQ((*parts)[1].segment.value, 1ULL << 40);
  EXPECT_EQ((*parts)[1].begin, 8u);
  EXPECT_EQ((*parts)[1].end, 1ULL << 36);
  EXPECT_TRUE((*parts)[2].bytes.empty());
}

TEST(Payload, NothingIsThePayloadOfNoParts) {
  const auto parts = decode_parts("");
  ASSERT_TRUE(parts.ok());
  EXPECT_TRUE(parts->empty());
}

TEST(Payload, TooManyPartsAreRefused) {
  std::string encoded;
  for (std::size_t i = 0; i < limits::kStoredPartsMax; ++i) append_part(encoded, {});
  EXPECT_TRUE(decode_parts(encoded).ok());
  append_part(encoded, {});
  EXPECT_FALSE(decode_parts(encoded).ok());
}

TEST(Payload, UnknownKindAndBackwardSliceAreRefused) {
  EXPECT_FALSE(decode_parts(std::string("\x07\x00\x00", 3)).ok());
  std::string encoded;
  append_part(encoded, {.kind = PartKind::kSegment, .begin = 2, .end = 1});
  EXPECT_FALSE(decode_parts(encoded).ok());
}

TEST(Payload, ALostPartSaysWhyAndIsNotInline) {
  std::string encoded;
  append_part(encoded, {.content_type = "a/b", .bytes = "here"});
  EXPECT_FALSE(names_segment(encoded));
  append_part(encoded, {.kind = PartKind::kLost, .content_type = "c/d", .bytes = "its file is gone"});
  EXPECT_TRUE(names_segment(encoded));
  const auto parts = decode_parts(encoded);
  ASSERT_TRUE(parts.ok());
  EXPECT_EQ((*parts)[1].kind, PartKind::kLost);
  EXPECT_EQ((*parts)[1].content_type, "c/d");
  EXPECT_EQ((*parts)[1].bytes, "its file is gone");
}

TEST(Payload, GarbageIsReadWithoutHarm) {
  std::mt19937 random(11);
  const std::string encoded = sample();
  for (int round = 0; round < 20'000; ++round) {
    std::string garbage = encoded;
    garbage[random() % garbage.size()] = static_cast<char>(random());
    garbage.resize(random() % (garbage.size() + 8), static_cast<char>(random()));
    const auto parts = decode_parts(garbage);
    if (!parts.ok()) continue;
    for (const Part& part : *parts) EXPECT_LE(part.bytes.size(), garbage.size());
  }
}

TEST(Varint, EveryWidthSurvives) {
  for (int bit = 0; bit < 64; ++bit) {
    for (const std::uint64_t value :
         {std::uint64_t{1} << bit, (std::uint64_t{1} << bit) - 1, ~std::uint64_t{0} >> bit}) {
      std::string bytes;
      append_varint(bytes, value);
      WireReader reader(bytes);
      EXPECT_EQ(reader.varint(), value);
      EXPECT_TRUE(reader.at_end());
      EXPECT_FALSE(reader.failed());
    }
  }
}

TEST(Varint, MoreThanSixtyFourBitsAreRefused) {
  WireReader overlong(std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10));
  overlong.varint();
  EXPECT_TRUE(overlong.failed());
}

}  // namespace
}  // namespace futured
