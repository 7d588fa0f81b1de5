#include "segment/socket_client.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <thread>

#include "base/limits.h"
#include "segment/pass.h"

namespace futured {
namespace {

using segment_socket::TaggedReply;

// The other end of a client's socket: answers each request with what the test prepared.
class FakeDaemon {
 public:
  FakeDaemon() {
    int ends[2];
    FUTURED_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
    client_end = Fd(ends[0]);
    server_end_ = Fd(ends[1]);
  }

  segment_socket::TaggedRequest receive() {
    auto message = receive_message(server_end_.get(), limits::kSegmentMessageBytesMax);
    FUTURED_CHECK(message.ok(), "request");
    descriptors = std::move(message->descriptors);
    auto request = segment_socket::decode_request(message->bytes);
    FUTURED_CHECK(request.ok(), "request");
    return *request;
  }
  void reply(const TaggedReply& reply, std::vector<int> beside = {}) {
    FUTURED_CHECK(send_message(server_end_.get(), segment_socket::encode(reply), beside).ok(), "reply");
  }
  void hang_up() { server_end_.reset(); }

  Fd client_end;
  std::vector<Fd> descriptors;

 private:
  Fd server_end_;
};

Segment hello() {
  const std::string_view text = "hello";
  auto segment = make_segment("test", {reinterpret_cast<const std::byte*>(text.data()), text.size()});
  FUTURED_CHECK(segment.ok(), "segment");
  return std::move(*segment);
}

TEST(SegmentClient, PutsAndGetsTheSameMemory) {
  FakeDaemon daemon;
  auto client = SegmentClient::over(std::move(daemon.client_end));
  ASSERT_TRUE(client.ok());
  std::thread server([&] {
    auto put = daemon.receive();
    auto kept = adopt_segment(std::move(daemon.descriptors.at(0)));
    daemon.reply({put.tag, segment_socket::Stored{SegmentId{7}}});
    auto get = daemon.receive();
    daemon.reply({get.tag, segment_socket::Found{{{5, 1, 3, "text/plain"}}}}, {kept->descriptor.get()});
    daemon.reply({daemon.receive().tag, segment_socket::Dropped{}});
  });
  const Segment segment = hello();
  auto id = client->put(segment, "text/plain");
  const std::vector<SegmentId> wanted{SegmentId{7}};
  auto got = client->get(wanted);
  auto dropped = client->drop(SegmentId{7});
  server.join();
  ASSERT_TRUE(id.ok()) << id.error().message;
  EXPECT_EQ(*id, SegmentId{7});
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_EQ((*got)[0].segment.identity, segment.identity);
  EXPECT_EQ((*got)[0].begin, 1u);
  EXPECT_EQ((*got)[0].content_type, "text/plain");
  EXPECT_TRUE(dropped.ok());
}

TEST(SegmentClient, ARefusalIsTheDaemonsOwnError) {
  FakeDaemon daemon;
  auto client = SegmentClient::over(std::move(daemon.client_end));
  std::thread server([&] {
    daemon.reply({daemon.receive().tag, segment_socket::Refused{{ErrorCode::kResourceExhausted, "over the quota"}}});
    daemon.reply({daemon.receive().tag, segment_socket::Refused{{ErrorCode::kNotFound, "job 3 has no part 1"}}});
  });
  const auto id = client->put(hello(), "");
  const auto result = client->get_result(JobId{3}, 1);
  server.join();
  ASSERT_FALSE(id.ok());
  EXPECT_EQ(id.error().code, ErrorCode::kResourceExhausted);
  EXPECT_EQ(id.error().message, "over the quota");
  EXPECT_EQ(result.error().code, ErrorCode::kNotFound);
}

TEST(SegmentClient, ADaemonThatLiesIsNotBelieved) {
  const auto answered = [](TaggedReply reply, std::vector<int> beside) {
    FakeDaemon daemon;
    auto client = SegmentClient::over(std::move(daemon.client_end));
    std::thread server([&] {
      daemon.receive();
      daemon.reply(reply, beside);
    });
    const auto result = client->get_result(JobId{3}, 1);
    server.join();
    return result.ok();
  };
  const Segment segment = hello();
  const int fd = segment.descriptor.get();
  EXPECT_TRUE(answered({1, segment_socket::Found{{{5, 0, 5, ""}}}}, {fd}));
  EXPECT_FALSE(answered({2, segment_socket::Found{{{5, 0, 5, ""}}}}, {fd})) << "wrong tag";
  EXPECT_FALSE(answered({1, segment_socket::Found{{{5, 0, 5, ""}}}}, {})) << "no descriptor";
  EXPECT_FALSE(answered({1, segment_socket::Found{{{6, 0, 6, ""}}}}, {fd})) << "wrong size";
  EXPECT_FALSE(answered({1, segment_socket::Found{{{5, 0, 5, ""}}}}, {0})) << "no segment";
  EXPECT_FALSE(answered({1, segment_socket::Stored{}}, {})) << "wrong type";
}

TEST(SegmentClient, AVanishedDaemonIsUnavailable) {
  FakeDaemon daemon;
  auto client = SegmentClient::over(std::move(daemon.client_end));
  daemon.hang_up();
  EXPECT_EQ(client->drop(SegmentId{1}).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(SegmentClient::connect("/nonexistent/socket").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(SegmentClient::connect(std::string(100, 'x')).error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace futured
