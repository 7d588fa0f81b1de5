#include "base/command.h"

#include <gtest/gtest.h>

#include <random>

#include "base/limits.h"

namespace futured {
namespace {

Command sample() { return {{"printf", "%s\n", "two words", ""}, {"A=1", "B="}, "/tmp", 027}; }

TEST(Command, SurvivesItsEncoding) {
  const auto decoded = decode_command(encode_command(sample()));
  ASSERT_TRUE(decoded.ok()) << decoded.error().message;
  EXPECT_EQ(*decoded, sample());
  Command plain = sample();
  plain.umask.reset();
  EXPECT_EQ(*decode_command(encode_command(plain)), plain);
}

TEST(Command, EveryTruncationIsRefused) {
  const std::string encoded = encode_command(sample());
  for (std::size_t size = 0; size < encoded.size(); ++size) {
    EXPECT_FALSE(decode_command(std::string_view(encoded).substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(decode_command(encoded + "x").ok());
}

TEST(Command, GarbageIsReadWithoutHarm) {
  std::mt19937 random(7);
  std::string bytes = encode_command(sample());
  for (int round = 0; round < 20'000; ++round) {
    std::string garbage = bytes;
    garbage[random() % garbage.size()] = static_cast<char>(random());
    garbage.resize(random() % (garbage.size() + 8), static_cast<char>(random()));
    (void)decode_command(garbage);
  }
}

TEST(Command, CountBeyondTheBoundIsRefusedBeforeItIsReserved) {
  EXPECT_FALSE(decode_command(std::string("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11)).ok());
}

TEST(Command, CheckNamesWhatIsWrong) {
  EXPECT_TRUE(check_command(sample()).ok());
  EXPECT_FALSE(check_command({}).ok());
  EXPECT_FALSE(check_command({{""}, {}, ""}).ok());
  EXPECT_FALSE(check_command({{"a", std::string("b\0c", 3)}, {}, ""}).ok());
  EXPECT_FALSE(check_command({{"a"}, {"NOEQUALS"}, ""}).ok());
  EXPECT_FALSE(check_command({{"a"}, {"=value"}, ""}).ok());
  EXPECT_FALSE(check_command({{"a"}, {""}, ""}).ok());
  EXPECT_FALSE(check_command({{"a"}, {}, "relative"}).ok());
  EXPECT_FALSE(check_command({{"a"}, {}, "", 01000}).ok());
  EXPECT_FALSE(check_command({{"a", std::string(limits::kArgvBytesMax, 'x')}, {}, ""}).ok());
  EXPECT_FALSE(check_command({std::vector<std::string>(limits::kArgvCountMax + 1, "x"), {}, ""}).ok());
}

}  // namespace
}  // namespace futured
