#include "daemon/rpc/unknown_fields.h"

#include <google/protobuf/unknown_field_set.h>
#include <gtest/gtest.h>

#include "futured/v1/futured.pb.h"

namespace futured::rpc {
namespace {

namespace api = futured::v1;

void add_unknown(google::protobuf::Message& message, int number = 99) {
  message.GetReflection()->MutableUnknownFields(&message)->AddVarint(number, 1);
}

// A request with something in fields of every kind.
api::SubmitRequest full_request() {
  api::SubmitRequest request;
  api::JobSpec& spec = *request.mutable_spec();
  spec.set_task("noop");
  spec.mutable_retries()->set_max_attempts(3);
  (*spec.mutable_labels())["colour"] = "red";
  spec.add_callbacks()->mutable_webhook()->set_url("http://localhost/");
  for (int i = 0; i < 3; ++i) request.add_items()->add_parts()->mutable_segment()->set_id(7);
  request.mutable_packed()->add_sizes(1);
  return request;
}

void expect_refused(const google::protobuf::Message& message, const std::string& type, int number) {
  const Status known = check_known(message);
  ASSERT_FALSE(known.ok());
  EXPECT_EQ(known.error().code, ErrorCode::kUnimplemented);
  EXPECT_EQ(known.error().message,
            type + " has no field " + std::to_string(number) + " here: is the client newer than this daemon?");
}

TEST(UnknownFields, AMessageOfKnownFieldsIsSound) {
  EXPECT_TRUE(check_known(full_request()).ok());
  EXPECT_TRUE(check_known(api::ListPoolsRequest()).ok());
}

TEST(UnknownFields, AreNamedWhereverTheyAre) {
  auto request = full_request();
  add_unknown(request, 2000);
  expect_refused(request, "SubmitRequest", 2000);
  request = full_request();
  add_unknown(*request.mutable_spec());
  expect_refused(request, "JobSpec", 99);
  request = full_request();
  add_unknown(*request.mutable_spec()->mutable_retries());
  expect_refused(request, "Retries", 99);
  request = full_request();
  add_unknown(*request.mutable_spec()->mutable_callbacks(0)->mutable_webhook());
  expect_refused(request, "Webhook", 99);
  request = full_request();
  add_unknown(*request.mutable_items(2)->mutable_parts(0)->mutable_segment());
  expect_refused(request, "SegmentSlice", 99);
  request = full_request();
  add_unknown(*request.mutable_packed());
  expect_refused(request, "PackedItems", 99);
}

TEST(UnknownFields, AreFoundInWhatCameOverTheWire) {
  const std::string newer = api::WhyRequest().SerializeAsString() + "\x98\x06\x01";
  api::WhyRequest request;
  ASSERT_TRUE(request.ParseFromString(newer));
  expect_refused(request, "WhyRequest", 99);
}

TEST(UnknownFields, OfTheMessageAloneAreWithoutWhatIsInIt) {
  auto request = full_request();
  add_unknown(*request.mutable_spec());
  EXPECT_TRUE(check_known_here(request).ok());
  add_unknown(request);
  EXPECT_FALSE(check_known_here(request).ok());
}

}  // namespace
}  // namespace futured::rpc
