#include "daemon/pool/vault_link.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "daemon/pool/segment_table.h"
#include "segment/memory.h"
#include "worker/channel/packet.h"

namespace futured {
namespace {

using spawner::VaultMessageType;

template <typename Message>
Message with_type(VaultMessageType type) {
  Message message{};
  message.header = {spawner::kVersion, static_cast<std::uint32_t>(type)};
  return message;
}

std::string keep(std::uint64_t segment, std::uint32_t type_bytes, std::string_view type, std::uint64_t result_of = 0) {
  auto message = with_type<spawner::KeepSegment>(VaultMessageType::kKeep);
  message.segment = segment;
  message.result_of = result_of;
  message.bytes = 1;
  message.owner = result_of == 0 ? 1000 : kAnyOwner;
  message.type_bytes = type_bytes;
  return std::string(channel::bytes_of(message)) + std::string(type);
}

std::string need(std::uint64_t segment, std::uint32_t range_count, const std::vector<spawner::JobRange>& jobs) {
  auto message = with_type<spawner::NeedSegment>(VaultMessageType::kNeed);
  message.segment = segment;
  message.range_count = range_count;
  std::string bytes(channel::bytes_of(message));
  for (const spawner::JobRange& range : jobs) bytes += channel::bytes_of(range);
  return bytes;
}

// A spawner that answers whoever comes with these packets, each with a descriptor beside it if it is to keep something.
class VaultLinkTest : public testing::Test {
 protected:
  VaultLinkTest() {
    folder_ = ::mkdtemp(pattern_);
    const std::string path = folder_ + "/spawner.sock";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    listener_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
  }
  ~VaultLinkTest() override { std::filesystem::remove_all(folder_); }

  Result<VaultLink> open(const std::vector<std::string>& packets) {
    std::thread spawner([&] {
      const Fd daemon(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      spawner::VaultHello hello{};
      EXPECT_EQ(::recv(daemon.get(), &hello, sizeof hello, 0), ssize_t{sizeof hello});
      const auto segment = make_segment("test", std::as_bytes(std::span("x", 1)));
      const int descriptor = segment->descriptor.get();
      for (const std::string& packet : packets) {
        spawner::MessageHeader header{};
        (void)channel::read_head(packet, header);
        const bool keeps = header.type == static_cast<std::uint32_t>(VaultMessageType::kKeep);
        (void)channel::send_packet(daemon.get(), packet, {&descriptor, keeps ? 1U : 0U});
      }
    });
    auto link = VaultLink::open(folder_, Epoch{1});
    spawner.join();
    return link;
  }

  char pattern_[32] = "/tmp/futured-vault-XXXXXX";
  std::string folder_;
  Fd listener_;
};

const std::string kTold(channel::bytes_of(with_type<spawner::VaultTold>(VaultMessageType::kTold)));

TEST_F(VaultLinkTest, FindsWhatAnEarlierDaemonHadGiven) {
  auto link = open({keep(7, 4, "text"), need(7, 2, {{1, 3}, {8, 9}}), keep(8, 0, ""), kTold});
  ASSERT_TRUE(link.ok()) << link.error().message;
  const std::vector<KeptSegment>& found = link->found();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].id, SegmentId{7});
  EXPECT_EQ(found[0].content_type, "text");
  ASSERT_EQ(found[0].needed_by.size(), 2u);
  EXPECT_EQ(found[0].needed_by[1].first, 8u);
  EXPECT_TRUE(found[1].descriptor.is_open());
}

TEST_F(VaultLinkTest, BelievesNoLengthThatThePacketDoesNotHave) {
  const std::vector<spawner::JobRange> too_many(spawner::kNeedRangesMax + 1);
  const std::vector<std::vector<std::string>> lies = {
      {keep(7, 5, "text"), kTold},
      {keep(7, 3, "text"), kTold},
      {keep(7, 4, "text"), need(7, UINT32_MAX, {{1, 3}}), kTold},
      {keep(7, 4, "text"), need(7, static_cast<std::uint32_t>(too_many.size()), too_many), kTold},
      {need(7, 1, {{1, 3}}), kTold},
      {"x", kTold},
  };
  for (const std::vector<std::string>& packets : lies) EXPECT_FALSE(open(packets).ok());
}

TEST_F(VaultLinkTest, AResultThatIsAnArgumentTooStaysForTheJobsThatNeedIt) {
  SegmentTable table;
  auto link = open({keep(7, 0, "", 3), need(7, 1, {{5, 6}}), keep(8, 0, "", 4), keep(9, 0, ""), kTold});
  ASSERT_TRUE(link.ok()) << link.error().message;
  auto found = table.entrust(*std::move(link));
  ASSERT_EQ(found.size(), 2u) << "nobody needs 8 but who reads the result";
  table.forget_result(JobId{3});
  table.forget_result(JobId{4});
  EXPECT_TRUE(table.open(SegmentId{7}, 0).ok());
  EXPECT_FALSE(table.open(SegmentId{8}, 0).ok());
  EXPECT_TRUE(table.open(SegmentId{9}, 1000).ok());
  found.clear();
  EXPECT_EQ(table.usage().segments, 0u);
}

}  // namespace
}  // namespace futured
