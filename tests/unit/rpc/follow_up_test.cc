#include "daemon/rpc/follow_up.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

#include "base/command.h"
#include "base/limits.h"
#include "base/payload.h"

namespace futured::rpc {
namespace {

using ::testing::HasSubstr;

TEST(FollowUp, GetsTheResultAsItsPayload) {
  SegmentTable segments;
  const auto payload_of = [&](const std::string& result) { return follow_up_payload(result, segments, "/nowhere"); };
  std::string result;
  append_part(result, {.content_type = "application/json", .bytes = "[1]"});
  append_part(result, {.bytes = "raw"});
  EXPECT_EQ(*payload_of(result), result);
  EXPECT_EQ(*payload_of(""), "");
  std::string large;
  append_part(large, {.bytes = std::string(limits::kPayloadBytesMax + 1, 'x')});
  EXPECT_FALSE(payload_of(large).ok());
  EXPECT_FALSE(payload_of("damaged").ok());
}

TEST(FollowUp, GetsNoResultThatIsLost) {
  SegmentTable segments;
  std::string result;
  append_part(result, {.kind = PartKind::kLost, .bytes = "/state/f is gone"});
  const auto payload = follow_up_payload(result, segments, "/nowhere");
  ASSERT_FALSE(payload.ok());
  EXPECT_EQ(payload.error().code, ErrorCode::kDataLoss);
  EXPECT_THAT(payload.error().message, HasSubstr("/state/f is gone"));
}

TEST(FollowUp, GetsOutputThatLiesInAFile) {
  SegmentTable segments;
  const std::string folder = testing::TempDir();
  const std::string file = folder + "/7.1.out";
  std::ofstream(file) << "0123456789";
  const auto payload_of = [&](const std::string& told) {
    std::string result;
    append_part(result, {.content_type = std::string(kStdoutType) + told, .bytes = ""});
    return follow_up_payload(result, segments, folder);
  };
  const auto whole = payload_of("; file=\"7.1.out\"; total=10");
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  const auto parts = decode_parts(*whole);
  EXPECT_EQ(parts->at(0).content_type, kStdoutType);
  EXPECT_EQ(parts->at(0).bytes, "0123456789");
  EXPECT_THAT(payload_of("; file=\"7.1.out\"; total=12; dropped=2; at=5").error().message, HasSubstr("12 bytes"));
  EXPECT_FALSE(payload_of("; file=\"7.2.out\"; total=10").ok()) << "it is gone";
  ::unlink(file.c_str());
}

}  // namespace
}  // namespace futured::rpc
