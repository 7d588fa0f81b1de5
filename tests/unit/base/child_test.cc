#include "base/child.h"

#include <gtest/gtest.h>

#include <random>

#include "base/limits.h"
#include "base/payload.h"

namespace futured {
namespace {

std::string payload_of(std::string_view bytes) {
  std::string payload;
  append_part(payload, {.content_type = "text/plain", .bytes = bytes});
  return payload;
}

ChildRequest sample(std::string_view payload) {
  return {.task = "resize",
          .queue = "images",
          .pool = "default",
          .name = "näme",
          .key = "k",
          .priority = -3,
          .max_attempts = 4,
          .queue_timeout_ms = 5,
          .run_timeout_ms = 6,
          .total_timeout_ms = 7,
          .at_most_once = true,
          .payload = payload};
}

TEST(Child, SurvivesItsEncoding) {
  const std::string payload = payload_of("a.png");
  const std::string encoded = encode_child(sample(payload));
  const auto decoded = decode_child(encoded);
  ASSERT_TRUE(decoded.ok()) << decoded.error().message;
  EXPECT_EQ(*decoded, sample(payload));
  const std::string least = encode_child({.task = "t"});
  EXPECT_EQ(*decode_child(least), ChildRequest{.task = "t"});
}

TEST(Child, TheLargestThatIsTakenFitsItsBound) {
  const std::string word(limits::kNameBytesMax, 'w');
  constexpr std::size_t kHead = 14;  // of a part of plain text
  std::string payload = payload_of(std::string(limits::kChildPayloadBytesMax - kHead, 'x'));
  ASSERT_EQ(payload.size(), limits::kChildPayloadBytesMax);
  ChildRequest largest{word,       word,      word,      word,      word, INT32_MIN,
                       UINT32_MAX, INT64_MAX, INT64_MAX, INT64_MAX, true, payload};
  ASSERT_TRUE(check_child(largest).ok());
  const std::string encoded = encode_child(largest);
  EXPECT_LE(encoded.size(), limits::kChildBytesMax);
  EXPECT_EQ(*decode_child(encoded), largest);
  payload.push_back('\0');
  largest.payload = payload;
  EXPECT_NE(check_child(largest).error().message.find(std::to_string(limits::kChildPayloadBytesMax)),
            std::string::npos);
}

TEST(Child, EveryTruncationIsRefused) {
  const std::string payload = payload_of("a.png");
  const std::string encoded = encode_child(sample(payload));
  for (std::size_t size = 0; size < encoded.size(); ++size) {
    EXPECT_FALSE(decode_child(std::string_view(encoded).substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(decode_child(encoded + "x").ok());
}

TEST(Child, GarbageIsReadWithoutHarm) {
  std::mt19937 random(7);
  const std::string payload = payload_of("a.png");
  const std::string bytes = encode_child(sample(payload));
  for (int round = 0; round < 20'000; ++round) {
    std::string garbage = bytes;
    garbage[random() % garbage.size()] = static_cast<char>(random());
    garbage.resize(random() % (garbage.size() + 8), static_cast<char>(random()));
    (void)decode_child(garbage);
  }
}

TEST(Child, CheckNamesWhatIsWrong) {
  const std::string payload = payload_of("");
  const std::string long_word(limits::kNameBytesMax + 1, 'w');
  std::string segment;
  append_part(segment, {.kind = PartKind::kSegment, .segment = SegmentId{3}, .begin = 0, .end = 1});
  std::string many;
  for (std::size_t i = 0; i <= limits::kPayloadPartsMax; ++i) append_part(many, {.bytes = "x"});
  const auto refusal = [&](auto change) {
    ChildRequest request = sample(payload);
    change(request);
    const Status sound = check_child(request);
    EXPECT_FALSE(decode_child(encode_child(request)).ok());
    return sound.ok() ? "taken" : sound.error().message.substr(0, sound.error().message.find(':'));
  };
  EXPECT_TRUE(check_child(sample(payload)).ok());
  EXPECT_EQ(refusal([](ChildRequest& request) { request.task = {}; }), "task");
  EXPECT_EQ(refusal([&](ChildRequest& request) { request.queue = long_word; }), "queue");
  EXPECT_EQ(refusal([&](ChildRequest& request) { request.key = long_word; }), "key");
  EXPECT_EQ(refusal([](ChildRequest& request) { request.run_timeout_ms = -1; }), "timeout");
  EXPECT_EQ(refusal([&](ChildRequest& request) { request.payload = segment; }), "arguments");
  EXPECT_EQ(refusal([&](ChildRequest& request) { request.payload = many; }), "arguments");
  EXPECT_EQ(refusal([](ChildRequest& request) { request.payload = "\x07"; }), "payload part of unknown kind 7");
}

}  // namespace
}  // namespace futured
