// The words that fut reads and writes.
#include "client/cli/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "client/cli/cli.h"

namespace futured::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Durations, HaveUnits) {
  EXPECT_EQ(parse_duration("500ms", "--t").count(), 500);
  EXPECT_EQ(parse_duration("5", "--t").count(), 5'000);
  EXPECT_EQ(parse_duration("1.5h", "--t").count(), 5'400'000);
  EXPECT_EQ(parse_duration("2min", "--t").count(), 120'000);
  EXPECT_EQ(parse_duration("366d", "--t").count(), 366LL * 86'400'000);
}

TEST(Durations, ThatAreNoneAreRefusedByName) {
  for (const char* word : {"", "soon", "-5s", "5 s", "5x", "1e400", "367d", "nan", "inf", "ms"}) {
    try {
      static_cast<void>(parse_duration(word, "--timeout"));
      FAIL() << word;
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr("--timeout"));
      EXPECT_THAT(error.what(), HasSubstr(word));
    }
  }
}

TEST(Ids, MayBeRanges) { EXPECT_THAT(parse_ids({"7", "3-5"}), ElementsAre(7u, 3u, 4u, 5u)); }

TEST(Ids, ThatAreNoneAreRefused) {
  for (const char* word : {"", "x", "0", "-1", "5-3", "1-", "1-99999999999", "18446744073709551616", "1.5"}) {
    EXPECT_THROW(static_cast<void>(parse_ids({word})), UsageError) << word;
  }
}

TEST(Ids, AtTheTopOfTheNumbersEnd) {
  EXPECT_THAT(parse_ids({"18446744073709551614-18446744073709551615"}), ElementsAre(UINT64_MAX - 1, UINT64_MAX));
}

TEST(Arguments, FillEveryPlaceOrComeLast) {
  EXPECT_THAT(fill_in({"cp", "{}", "{}.bak"}, "a b"), ElementsAre("cp", "a b", "a b.bak"));
  EXPECT_THAT(fill_in({"echo"}, "x"), ElementsAre("echo", "x"));
  EXPECT_THAT(fill_in({"{}{}"}, "{}"), ElementsAre("{}{}")) << "an argument is not filled in again";
}

TEST(Arguments, OfACallCarryTheirType) {
  EXPECT_EQ(parse_argument("[1, 2]").content_type, client::kJsonType);
  EXPECT_EQ(parse_argument("plain words").content_type, client::kTextType);
  const std::string path = testing::TempDir() + "argument";
  std::ofstream(path) << "bytes";
  EXPECT_EQ(parse_argument("@" + path).bytes, "bytes");
  EXPECT_EQ(parse_argument("@" + path).content_type, "");
  EXPECT_THROW(static_cast<void>(parse_argument("@/no/such/file")), UsageError);
}

TEST(Quoting, IsThatOfAShell) {
  EXPECT_EQ(quoted({"echo", "a b", "it's", "", "x=1"}), "echo 'a b' 'it'\\''s' '' x=1");
  EXPECT_EQ(quoted({"bell\a"}), "'bell?'") << "no control characters reach the terminal";
}

TEST(Json, BytesThatAreNotUtf8AreBase64) {
  Json json;
  put_bytes(json, "data", "caf\xc3\xa9");
  put_bytes(json, "raw", std::string_view("\xff\x00\x01", 3));
  EXPECT_EQ(json["data"], "caf\xc3\xa9");
  EXPECT_EQ(json["raw_base64"], "/wAB");
  EXPECT_FALSE(json.contains("raw"));
}

TEST(Sizes, AreReadable) {
  EXPECT_EQ(bytes_text(100), "100 B");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(duration_text(1'500), "1 ms");
  EXPECT_EQ(duration_text(125'000'000), "2 min 5 s");
}

}  // namespace
}  // namespace futured::cli
