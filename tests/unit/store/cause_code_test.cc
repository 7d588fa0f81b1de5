#include "daemon/store/cause_code.h"

#include <gtest/gtest.h>

#include <random>

namespace futured {
namespace {

Cause sample() {
  return {.kind = CauseKind::kSignal,
          .exit_code = INT32_MIN,
          .signal = -9,
          .peak_memory_bytes = UINT64_MAX,
          .cpu_us = INT64_MIN,
          .error_class = "E",
          .message = std::string("a\0b", 3),
          .stdout_tail = std::string(200, 'o'),
          .stderr_tail = std::string(300, 't'),
          .retry_refused = true,
          .stacks = std::string(5000, 's')};
}

TEST(CauseCode, EveryFieldSurvives) {
  EXPECT_EQ(decode_cause(encode_cause(sample())), sample());
  EXPECT_EQ(decode_cause(encode_cause({})), Cause{});
  EXPECT_LE(encode_cause({.kind = CauseKind::kCancelled}).size(), 8u);
}

TEST(CauseCode, EveryTruncationIsRefused) {
  const std::string encoded = encode_cause(sample());
  Cause earlier = sample();  // as versions before wrote it, which is whole
  earlier.stdout_tail.clear();
  earlier.retry_refused = false;
  earlier.stacks.clear();
  const std::size_t whole = encode_cause(earlier).size();
  EXPECT_EQ(decode_cause(encoded.substr(0, whole)), earlier);
  for (std::size_t size = 0; size < encoded.size(); ++size) {
    if (size == whole) continue;
    EXPECT_FALSE(decode_cause(std::string_view(encoded).substr(0, size)).has_value()) << size;
  }
}

TEST(CauseCode, FieldsOfALaterVersionArePassedOver) {
  Cause cause = sample();
  cause.cached_from = JobId{7};
  cause.cache_note = "hit: job 7";
  EXPECT_EQ(decode_cause(encode_cause(cause)), cause);
  EXPECT_EQ(decode_cause(encode_cause(cause) + "later"), cause);
}

TEST(CauseCode, GarbageIsReadWithoutHarm) {
  std::mt19937 random(3);
  const std::string encoded = encode_cause(sample());
  for (int round = 0; round < 20'000; ++round) {
    std::string garbage = encoded;
    garbage[random() % garbage.size()] = static_cast<char>(random());
    garbage.resize(random() % (garbage.size() + 8), static_cast<char>(random()));
    (void)decode_cause(garbage);
  }
}

}  // namespace
}  // namespace futured
