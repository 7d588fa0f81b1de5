#include "base/chunk.h"

#include <gtest/gtest.h>

#include <random>

#include "base/payload.h"

namespace futured {
namespace {

std::string sample() {
  std::string result;
  append_part(result, {.content_type = "text/plain", .bytes = "seven"});
  std::string ends;
  append_end(ends, {.result = result});
  append_end(ends, {.status = CallStatus::kTaskError, .error_class = "Busy", .message = "later"});
  append_end(ends, {});
  append_end(ends, {.status = CallStatus::kBadPayload, .error_class = "BadArgument", .message = "argument 1"});
  return ends;
}

TEST(Chunk, EveryEndComesBackInOrder) {
  const std::string encoded = sample();
  ChunkEnds ends(encoded);
  const auto first = ends.next();
  ASSERT_TRUE(first && first->status == CallStatus::kSucceeded);
  EXPECT_EQ(decode_parts(first->result)->front().bytes, "seven");
  const auto second = ends.next();
  ASSERT_TRUE(second && second->status == CallStatus::kTaskError);
  EXPECT_EQ(second->error_class, "Busy");
  EXPECT_EQ(second->message, "later");
  EXPECT_TRUE(ends.next()->result.empty());
  EXPECT_EQ(ends.next()->status, CallStatus::kBadPayload);
  EXPECT_FALSE(ends.next());
}

TEST(Chunk, ACallIsAPayload) {
  std::string chunk;
  append_call(chunk, "text/plain", "one");
  append_call(chunk, "", "");
  WireReader calls(chunk);
  const std::string_view first = calls.bytes();
  EXPECT_EQ(decode_parts(first)->front().bytes, "one");
  EXPECT_EQ(decode_parts(calls.bytes())->size(), 1u);
  EXPECT_TRUE(calls.at_end());
}

TEST(Chunk, TheTypeOfAResultTellsItsTime) {
  EXPECT_EQ(took_ns_of(chunk_result_type(12'345)), 12'345);
  EXPECT_FALSE(took_ns_of(kChunkType));
  EXPECT_FALSE(took_ns_of("text/plain"));
  EXPECT_FALSE(took_ns_of(chunk_result_type(12) + "x"));
  EXPECT_FALSE(took_ns_of(chunk_result_type(-1)));
}

TEST(Chunk, GarbageIsReadWithoutHarm) {
  std::mt19937 random(11);
  const std::string encoded = sample();
  for (int round = 0; round < 20'000; ++round) {
    std::string garbage = encoded;
    garbage[random() % garbage.size()] = static_cast<char>(random());
    garbage.resize(random() % (garbage.size() + 8), static_cast<char>(random()));
    ChunkEnds ends(garbage);
    std::size_t count = 0;
    while (const auto end = ends.next()) {
      EXPECT_LE(end->result.size() + end->message.size(), garbage.size());
      ASSERT_LE(++count, garbage.size());
    }
  }
}

}  // namespace
}  // namespace futured
