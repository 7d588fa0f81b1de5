#include "daemon/rpc/parse_fault.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <gtest/gtest.h>

#include "futured/v1/futured.pb.h"

namespace futured::rpc {
namespace {

namespace api = futured::v1;

const std::string kNoMessage = "a message is no SubmitStreamRequest";

std::string told_of(const std::string& wire) {
  google::protobuf::io::ArrayInputStream bytes(wire.data(), static_cast<int>(wire.size()), 7);  // in small pieces
  const Error fault = parse_fault(*api::SubmitStreamRequest::descriptor(), bytes);
  EXPECT_EQ(fault.code, ErrorCode::kInvalidArgument);
  return fault.message;
}

// The message with every "BAD!" in it replaced by bytes that are no UTF-8.
std::string spoilt(const api::SubmitStreamRequest& request) {
  std::string wire = request.SerializeAsString();
  for (std::size_t at = 0; (at = wire.find("BAD!", at)) != std::string::npos;) wire.replace(at, 4, "\xc3\x28\xff\xfe");
  return wire;
}

TEST(ParseFault, NamesTheTextThatIsNotUtf8) {
  api::SubmitStreamRequest request;
  request.set_client_ref(7);
  request.mutable_spec()->set_task("noop");
  request.mutable_spec()->set_queue("a BAD! queue");
  EXPECT_EQ(told_of(spoilt(request)), "spec.queue: text must be UTF-8");
  request.mutable_spec()->set_queue("default");
  request.add_items()->set_name("good");
  request.add_items()->set_name("BAD!");
  EXPECT_EQ(told_of(spoilt(request)), "items.name: text must be UTF-8");
}

TEST(ParseFault, BytesNeedNotBeUtf8) {
  api::SubmitStreamRequest request;
  request.add_items()->add_parts()->set_data("BAD!");
  request.set_idempotency_key("BAD!");
  EXPECT_EQ(told_of(spoilt(request)), "idempotency_key: text must be UTF-8");
}

TEST(ParseFault, DamagedBytesAreNoMessage) {
  api::SubmitStreamRequest request;
  request.mutable_spec()->set_queue("default");
  const std::string wire = request.SerializeAsString();
  for (std::size_t bytes = 1; bytes < wire.size(); ++bytes) EXPECT_EQ(told_of(wire.substr(0, bytes)), kNoMessage);
  EXPECT_EQ(told_of(std::string(100, '\xff')), kNoMessage);
  EXPECT_EQ(told_of(std::string(1, '\0')), kNoMessage);
  EXPECT_EQ(told_of("\x12\xff\xff\xff\xff\x0f"), kNoMessage) << "a spec of 4 GiB";
}

}  // namespace
}  // namespace futured::rpc
