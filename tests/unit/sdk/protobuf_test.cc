#include "futured/protobuf.h"

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "futured/json.h"  // both in one task must not be ambiguous
#include "tests/unit/sdk/fakes.h"

namespace futured::sdk {
namespace {

using google::protobuf::Duration;
using google::protobuf::Timestamp;
using Required = google::protobuf::UninterpretedOption::NamePart;

constexpr std::string_view kDurationType = "application/x-protobuf; type=\"google.protobuf.Duration\"";

std::string refusal_of(auto function, const PartView& argument) {
  try {
    return "accepted: " + call_task(function, {argument});
  } catch (const BadArgument& error) {
    return error.what();
  }
}

const auto doubled = [](const Duration& duration) {
  Duration twice = duration;
  twice.set_seconds(2 * duration.seconds());
  return twice;
};

std::string bytes_of(std::int64_t seconds) {
  Duration duration;
  duration.set_seconds(seconds);
  return duration.SerializeAsString();
}

TEST(Protobuf, AMessageIsAnArgumentAndAResultThatNamesItsType) {
  const std::string wanted = std::string(kDurationType) + "=" + bytes_of(42) + ";";
  for (const std::string_view type : {kDurationType, std::string_view("application/x-protobuf"), std::string_view()}) {
    const std::string bytes = bytes_of(21);
    EXPECT_EQ(call_task(doubled, {part(type, bytes)}), wanted) << type;
  }
  EXPECT_EQ(call_task(doubled, {part("", "")}), std::string(kDurationType) + "=;");
}

TEST(Protobuf, BytesThatAreNoMessageAreRefused) {
  EXPECT_EQ(refusal_of(doubled, part("", "\xff")),
            "argument 1 is not the message google.protobuf.Duration that the task takes: 1 bytes of "
            "application/octet-stream");
}

TEST(Protobuf, AMessageOfAnotherTypeIsRefusedThoughItsBytesWouldDo) {
  const std::string bytes = bytes_of(21);
  EXPECT_EQ(refusal_of([](const Timestamp&) {}, part(kDurationType, bytes)),
            "argument 1 is not the message google.protobuf.Timestamp that the task takes: 2 bytes of " +
                std::string(kDurationType));
}

TEST(Protobuf, TextIsRefusedThoughItsBytesWouldDo) {
  EXPECT_EQ(refusal_of(doubled, part(kTextType, "X1")),
            "argument 1 is not the message google.protobuf.Duration that the task takes: X1");
  EXPECT_TRUE(refusal_of(doubled, part(kJsonType, "")).starts_with("argument 1 is not the message"));
}

TEST(Protobuf, RequiredFieldsAreRequired) {
  EXPECT_EQ(refusal_of([](const Required&) {}, part("", "")),
            "argument 1, a google.protobuf.UninterpretedOption.NamePart, lacks required fields: name_part, "
            "is_extension");
  EXPECT_THROW(call_task([] { return Required(); }, {}), TaskError);
}

}  // namespace
}  // namespace futured::sdk
