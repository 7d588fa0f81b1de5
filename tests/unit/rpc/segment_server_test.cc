#include "daemon/rpc/segment_server.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/limits.h"
#include "daemon/store/store.h"
#include "segment/socket_client.h"

namespace futured::rpc {
namespace {

// A daemon's segment socket over a store in memory.
class SegmentServerTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/futured-XXXXXX";
    folder_ = mkdtemp(name);
    auto lock = SocketLock::take(folder_ + "/s");
    ASSERT_TRUE(lock.ok());
    lock_.emplace(std::move(*lock));
    ASSERT_TRUE(store_->snapshot().ok());
    Batch batch;
    batch.specs.push_back({SpecId{1}, {}});
    store_->commit(batch);
    start();
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  void start(std::size_t connections_max = limits::kSegmentConnectionsMax) {
    auto server = SegmentServer::start(
        *lock_, {folder_ + "/s.segments", folder_, [](const std::string&) {}, connections_max}, table_, *reader_);
    ASSERT_TRUE(server.ok()) << server.error().message;
    server_ = std::move(*server);
  }
  SegmentClient client() { return std::move(*SegmentClient::connect(folder_ + "/s")); }

  void end_job(std::uint64_t id, std::string result) {
    Batch batch;
    JobRow& row = batch.jobs.emplace_back();
    row.id = JobId{id};
    row.spec = SpecId{1};
    row.ending.state = JobState::kSucceeded;
    row.ending.result = std::move(result);
    ASSERT_FALSE(store_->commit(batch));
  }

  static std::string text_of(const SegmentStretch& stretch) {
    const auto mapping = map_segment(stretch.segment);
    const auto bytes = mapping->bytes().subspan(stretch.begin, stretch.end - stretch.begin);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  std::string folder_;
  std::unique_ptr<Store> store_ = make_memory_store();
  std::unique_ptr<ReaderThread> reader_ = std::make_unique<ReaderThread>(store_->reader(), 100);
  SegmentTable table_;
  std::optional<SocketLock> lock_;
  std::unique_ptr<SegmentServer> server_;
};

Segment segment_of(std::string_view text) { return std::move(*make_segment("test", std::as_bytes(std::span(text)))); }

std::string inline_part(std::string_view bytes, std::string_view type = {}) {
  std::string encoded;
  append_part(encoded, {.content_type = type, .bytes = bytes});
  return encoded;
}

template <typename Condition>
bool comes_true(Condition condition) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  return condition();
}

TEST_F(SegmentServerTest, WhatIsPutIsGot) {
  SegmentClient one = client();
  const auto id = one.put(segment_of("hello"), "text/plain");
  ASSERT_TRUE(id.ok()) << id.error().message;
  const auto other = one.put(segment_of("world"), "");
  const SegmentId asked[] = {*other, *id};
  const auto got = client().get(asked);
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_EQ(text_of((*got)[0]), "world");
  EXPECT_EQ(text_of((*got)[1]), "hello");
  EXPECT_EQ((*got)[1].content_type, "text/plain");
}

TEST_F(SegmentServerTest, AShareEndsWithItsConnection) {
  {
    SegmentClient one = client();
    ASSERT_TRUE(one.put(segment_of("hello"), "").ok());
    EXPECT_EQ(table_.usage().segments, 1u);
  }
  EXPECT_TRUE(comes_true([&] { return table_.usage().segments == 0; }));
}

TEST_F(SegmentServerTest, DropGivesOneShareUpAndOnlyOnesOwn) {
  SegmentClient one = client();
  SegmentClient two = client();
  const SegmentId id = *one.put(segment_of("hello"), "");
  EXPECT_EQ(two.drop(id).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(one.drop(id).ok());
  EXPECT_FALSE(one.drop(id).ok());
  EXPECT_EQ(table_.usage().segments, 0u);
}

TEST_F(SegmentServerTest, WhatCannotBeRightIsRefusedAndTheConnectionGoesOn) {
  SegmentClient one = client();
  EXPECT_EQ(one.put(segment_of("12345"), "application/x-futured-array; dtype=float64; shape=1").error().code,
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(one.put(segment_of("12345"), "a\nb").error().code, ErrorCode::kInvalidArgument);
  Segment unsealed{Fd(memfd_create("unsealed", MFD_CLOEXEC)), 0, {}, false};
  EXPECT_EQ(one.put(unsealed, "").error().code, ErrorCode::kInvalidArgument);
  const SegmentId none[] = {SegmentId{7}};
  EXPECT_EQ(one.get(none).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(one.put(segment_of("fine"), "").ok());
}

TEST_F(SegmentServerTest, ResultsComeAsMemoryWhereverTheyLie) {
  std::ofstream(folder_ + "/7.out") << "spooled output";
  Fd descriptors[] = {std::move(segment_of("0123456789").descriptor)};
  std::string in_segment;
  append_part(in_segment, {.kind = PartKind::kSegment, .begin = 3, .end = 6});
  const auto kept = table_.keep_result(JobId{5}, in_segment, descriptors);
  end_job(5, inline_part("inline", "text/plain") + *kept +
                 inline_part("tput", "application/x-futured-stdout; file=\"7.out\"; total=14"));
  SegmentClient one = client();
  const auto first = one.get_result(JobId{5}, 0);
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_EQ(text_of(*first), "inline");
  EXPECT_EQ(first->content_type, "text/plain");
  const auto second = one.get_result(JobId{5}, 1);
  EXPECT_EQ(text_of(*second), "345");
  EXPECT_EQ(second->segment.size, 10u);
  EXPECT_EQ(text_of(*one.get_result(JobId{5}, 2)), "spooled output");
  EXPECT_EQ(one.get_result(JobId{5}, 3).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(one.get_result(JobId{6}, 0).error().code, ErrorCode::kNotFound);
  table_.forget_result(JobId{5});
  EXPECT_EQ(one.get_result(JobId{5}, 1).error().code, ErrorCode::kNotFound);
}

TEST_F(SegmentServerTest, ItsConnectionsAreBounded) {
  server_.reset();
  start(2);
  std::vector<SegmentClient> within;
  for (int i = 0; i < 2; ++i) within.push_back(client());
  EXPECT_TRUE(within[1].put(segment_of("x"), "").ok());
  auto beyond = client();
  EXPECT_FALSE(beyond.put(segment_of("x"), "").ok());
  within.clear();
  EXPECT_TRUE(comes_true([&] { return client().put(segment_of("x"), "").ok(); }));
}

TEST_F(SegmentServerTest, GarbageEndsItsOwnConnectionOnly) {
  SegmentClient good = client();
  for (const std::string& bytes : {std::string("\xff\xff"), std::string(1000, 'x'), std::string("\x01\x01\x63", 3)}) {
    Fd raw(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = folder_ + "/s.segments";
    std::copy(path.begin(), path.end(), address.sun_path);
    ASSERT_EQ(connect(raw.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_GT(send(raw.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), 0);
    char byte = 0;
    EXPECT_LE(recv(raw.get(), &byte, 1, 0), 0) << "it was hung up";
  }
  EXPECT_TRUE(good.put(segment_of("fine"), "").ok());
}

}  // namespace
}  // namespace futured::rpc
