#include "daemon/rpc/captured_output.h"

#include <gtest/gtest.h>

#include "base/command.h"

namespace futured::rpc {
namespace {

Part output(std::string_view type, std::string_view bytes) { return {.content_type = type, .bytes = bytes}; }

TEST(CapturedOutput, WithoutParametersThePartIsAll) {
  const auto found = captured_output(output(kStderrType, "oh no"));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->stream, OutputStream::kStderr);
  EXPECT_EQ(found->total, 5u);
  const auto place = found->place_of(2);
  EXPECT_EQ(place.offset, 2u);
  EXPECT_EQ(place.at, 2u);
  EXPECT_EQ(place.bytes, 3u);
  EXPECT_EQ(found->place_of(99).bytes, 0u);
}

TEST(CapturedOutput, WhatATaskEmitsAndLogsIsNoPartOfItsResult) {
  EXPECT_EQ(captured_output(output(kEmittedType, "x"))->stream, OutputStream::kEmitted);
  EXPECT_EQ(captured_output(output(kLogType, "x"))->stream, OutputStream::kLog);
  EXPECT_TRUE(is_beside_result(output(kEmittedType, "x")));
  EXPECT_TRUE(is_beside_result(output("application/x-futured-log; total=9; dropped=8; at=0", "x")));
  EXPECT_FALSE(is_beside_result(output(kStdoutType, "x")));
  EXPECT_FALSE(is_beside_result(output("text/plain", "x")));
}

TEST(CapturedOutput, OfALostPartTheStreamIsStillKnown) {
  const std::string type = std::string(kLogType) + "; total=9";
  const Part lost{.kind = PartKind::kLost, .content_type = type, .bytes = "its file is gone"};
  EXPECT_EQ(stream_of(lost), OutputStream::kLog);
  EXPECT_TRUE(is_beside_result(lost));
  EXPECT_FALSE(captured_output(lost));
  EXPECT_FALSE(stream_of(Part{.kind = PartKind::kLost, .content_type = "text/plain"}));
}

TEST(CapturedOutput, AGapIsSkippedAndCounted) {
  // 100 written, 90 dropped after the first 4: kept are 0..4 and 94..100.
  const auto found = captured_output(output("application/x-futured-stdout; total=100; dropped=90; at=4", "0123456789"));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->kept(), 10u);
  const auto head = found->place_of(1);
  EXPECT_EQ(head.at, 1u);
  EXPECT_EQ(head.bytes, 3u);
  EXPECT_EQ(head.skipped, 0u);
  const auto tail = found->place_of(4);
  EXPECT_EQ(tail.offset, 94u);
  EXPECT_EQ(tail.skipped, 90u);
  EXPECT_EQ(tail.at, 4u);
  EXPECT_EQ(tail.bytes, 6u);
  const auto inside = found->place_of(50);
  EXPECT_EQ(inside.skipped, 44u);
  EXPECT_EQ(inside.at, 4u);
  const auto late = found->place_of(98);
  EXPECT_EQ(late.at, 8u);
  EXPECT_EQ(late.bytes, 2u);
}

TEST(CapturedOutput, AFileIsANameInTheSpoolDirectoryAndNothingElse) {
  EXPECT_EQ(captured_output(output("application/x-futured-stdout; file=\"7.1.out\"; total=9000", "x"))->file,
            "7.1.out");
  for (const char* file : {"../x", "/etc/passwd", "", ".hidden", "a/b", "a b"}) {
    const std::string type = std::string("application/x-futured-stdout; file=\"") + file + "\"; total=9000";
    EXPECT_FALSE(captured_output(output(type, "x"))) << file;
  }
}

TEST(CapturedOutput, WhoseFolderItsFileIsInTheDaemonSaysLast) {
  const std::string type = "application/x-futured-stdout; file=\"7.1.out\"; total=9000";
  EXPECT_EQ(captured_output(output(type, "x"))->spool_user, std::nullopt);
  EXPECT_EQ(captured_output(output(type + "; user=1002; user=1001", "x"))->spool_user, 1001u);
  EXPECT_FALSE(captured_output(output(type + "; user=4294967296", "x")));
  EXPECT_FALSE(captured_output(output(type + "; user=root", "x")));
}

TEST(CapturedOutput, WhatCannotBeIsNone) {
  for (const char* type : {
           "text/plain",
           "application/x-futured-stdoutx",
           "application/x-futured-stdout; total=x",
           "application/x-futured-stdout; total=99",
           "application/x-futured-stdout; total=1; dropped=2",
           "application/x-futured-stdout; total=100; dropped=90; at=11",
           "application/x-futured-stdout; surprise=1",
           "application/x-futured-stdout; total=99999999999999999999999",
       }) {
    EXPECT_FALSE(captured_output(output(type, "0123456789"))) << type;
  }
}

}  // namespace
}  // namespace futured::rpc
