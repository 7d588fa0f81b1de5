#include "segment/socket_protocol.h"

#include <gtest/gtest.h>

#include <random>

#include "base/limits.h"

namespace futured::segment_socket {
namespace {

std::vector<std::string> sample_requests() {
  return {encode(TaggedRequest{1, Put{4096, "text/plain"}}),
          encode(TaggedRequest{1ULL << 60, Get{{SegmentId{1}, SegmentId{1ULL << 40}}}}),
          encode(TaggedRequest{3, GetResult{JobId{42}, 7}}), encode(TaggedRequest{4, Drop{SegmentId{9}}})};
}

std::vector<std::string> sample_replies() {
  return {encode(TaggedReply{1, Stored{SegmentId{5}}}),
          encode(TaggedReply{2, Found{{{100, 0, 100, "a"}, {200, 8, 16, ""}}}}), encode(TaggedReply{3, Dropped{}}),
          encode(TaggedReply{4, Refused{{ErrorCode::kResourceExhausted, "quota of 1 GiB is used up"}}})};
}

TEST(SegmentSocket, RequestsSurviveTheirEncoding) {
  const auto samples = sample_requests();
  const auto put = decode_request(samples[0]);
  ASSERT_TRUE(put.ok());
  EXPECT_EQ(std::get<Put>(put->request).size, 4096u);
  EXPECT_EQ(std::get<Put>(put->request).content_type, "text/plain");
  EXPECT_EQ(descriptors_of(put->request), 1u);
  const auto get = decode_request(samples[1]);
  ASSERT_TRUE(get.ok());
  EXPECT_EQ(get->tag, 1ULL << 60);
  EXPECT_EQ(std::get<Get>(get->request).segments, (std::vector{SegmentId{1}, SegmentId{1ULL << 40}}));
  const auto result = decode_request(samples[2]);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(std::get<GetResult>(result->request).job, JobId{42});
  EXPECT_EQ(std::get<GetResult>(result->request).part, 7u);
  EXPECT_EQ(std::get<Drop>(decode_request(samples[3])->request).segment, SegmentId{9});
}

TEST(SegmentSocket, RepliesSurviveTheirEncoding) {
  const auto samples = sample_replies();
  EXPECT_EQ(std::get<Stored>(decode_reply(samples[0])->reply).segment, SegmentId{5});
  const auto found = decode_reply(samples[1]);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(descriptors_of(found->reply), 2u);
  EXPECT_EQ(std::get<Found>(found->reply).entries[1].begin, 8u);
  EXPECT_EQ(std::get<Found>(found->reply).entries[1].end, 16u);
  EXPECT_TRUE(std::holds_alternative<Dropped>(decode_reply(samples[2])->reply));
  const auto refused = decode_reply(samples[3]);
  ASSERT_TRUE(refused.ok());
  EXPECT_EQ(std::get<Refused>(refused->reply).error.code, ErrorCode::kResourceExhausted);
  EXPECT_EQ(std::get<Refused>(refused->reply).error.message, "quota of 1 GiB is used up");
}

TEST(SegmentSocket, EveryErrorCodeSurvives) {
  for (int code = 0; code <= static_cast<int>(ErrorCode::kInternal); ++code) {
    const auto reply = decode_reply(encode(TaggedReply{1, Refused{{static_cast<ErrorCode>(code), "x"}}}));
    ASSERT_TRUE(reply.ok());
    EXPECT_EQ(std::get<Refused>(reply->reply).error.code, static_cast<ErrorCode>(code));
  }
}

TEST(SegmentSocket, TruncationsAndExtraBytesAreRefused) {
  for (const std::string& whole : sample_requests()) {
    for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(decode_request(whole.substr(0, size)).ok());
    EXPECT_FALSE(decode_request(whole + "x").ok());
  }
  for (const std::string& whole : sample_replies()) {
    for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(decode_reply(whole.substr(0, size)).ok());
    EXPECT_FALSE(decode_reply(whole + "x").ok());
  }
}

TEST(SegmentSocket, OverABoundIsRefused) {
  EXPECT_FALSE(decode_request(encode(TaggedRequest{1, Put{limits::kSegmentBytesMax + 1, ""}})).ok());
  EXPECT_FALSE(
      decode_request(encode(TaggedRequest{1, Put{1, std::string(limits::kContentTypeBytesMax + 1, 'x')}})).ok());
  EXPECT_FALSE(decode_request(encode(TaggedRequest{1, Get{}})).ok());
  EXPECT_FALSE(
      decode_request(encode(TaggedRequest{1, Get{std::vector<SegmentId>(limits::kDescriptorsPerMessageMax + 1)}}))
          .ok());
  EXPECT_FALSE(decode_request(encode(TaggedRequest{1, GetResult{JobId{1}, limits::kPayloadPartsMax}})).ok());
  EXPECT_FALSE(decode_reply(encode(TaggedReply{1, Found{{{10, 0, 11, ""}}}})).ok());
  EXPECT_FALSE(decode_reply(encode(TaggedReply{1, Found{{{10, 5, 4, ""}}}})).ok());
}

TEST(SegmentSocket, ARequestIsNotAReply) {
  for (const std::string& request : sample_requests()) EXPECT_FALSE(decode_reply(request).ok());
  for (const std::string& reply : sample_replies()) EXPECT_FALSE(decode_request(reply).ok());
}

TEST(SegmentSocket, GarbageIsReadWithoutHarm) {
  std::mt19937 random(3);
  std::vector<std::string> samples = sample_requests();
  for (const std::string& reply : sample_replies()) samples.push_back(reply);
  for (int round = 0; round < 50'000; ++round) {
    std::string garbage = samples[random() % samples.size()];
    for (int i = 0; i < 3; ++i) garbage[random() % garbage.size()] = static_cast<char>(random());
    garbage.resize(random() % (garbage.size() + 16), static_cast<char>(random()));
    (void)decode_request(garbage);
    (void)decode_reply(garbage);
  }
}

}  // namespace
}  // namespace futured::segment_socket
