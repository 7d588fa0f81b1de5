#include "worker/spawner/vault.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/limits.h"

namespace futured::spawner {
namespace {

template <typename Message>
Message with_type(VaultMessageType type) {
  Message message{};
  message.header = {kVersion, static_cast<std::uint32_t>(type)};
  return message;
}

std::string keep(std::uint64_t segment, std::string_view type = "text/plain") {
  auto message = with_type<KeepSegment>(VaultMessageType::kKeep);
  message.segment = segment;
  message.bytes = 1;
  message.type_bytes = static_cast<std::uint32_t>(type.size());
  return std::string(channel::bytes_of(message)) + std::string(type);
}

std::string need(std::uint64_t segment, const std::vector<JobRange>& jobs) {
  auto message = with_type<NeedSegment>(VaultMessageType::kNeed);
  message.segment = segment;
  message.range_count = static_cast<std::uint32_t>(jobs.size());
  std::string bytes(channel::bytes_of(message));
  for (const JobRange& range : jobs) bytes += channel::bytes_of(range);
  return bytes;
}

std::string drop(std::uint64_t segment) {
  auto message = with_type<DropSegment>(VaultMessageType::kDrop);
  message.segment = segment;
  return std::string(channel::bytes_of(message));
}

std::vector<Fd> descriptors(std::size_t count) {
  std::vector<Fd> made;
  for (std::size_t i = 0; i < count; ++i) made.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  return made;
}

bool give(Vault& vault, const std::string& message, std::size_t with = 0) {
  std::vector<Fd> beside = descriptors(with);
  return vault.handle(message, beside);
}

// The packets that a daemon is told.
std::vector<std::string> told(const Vault& vault) {
  int pair[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  Connection connection{Fd(pair[0])};
  const Fd daemon(pair[1]);
  EXPECT_TRUE(vault.tell(connection));
  std::vector<std::string> packets;
  std::array<char, 4096> buffer;
  for (;;) {
    const auto packet = channel::receive_packet(daemon.get(), buffer);
    if (!packet.ok() || !packet->has_value()) return packets;
    packets.emplace_back(buffer.data(), (*packet)->bytes);
  }
}

const std::string kTold(channel::bytes_of(with_type<VaultTold>(VaultMessageType::kTold)));

TEST(Vault, TellsWhatItWasGivenAndNotWhatWasDropped) {
  Vault vault;
  EXPECT_TRUE(give(vault, keep(1), 1));
  EXPECT_TRUE(give(vault, keep(2), 1));
  EXPECT_TRUE(give(vault, need(2, {{5, 6}}))) << "taken back by the next";
  EXPECT_TRUE(give(vault, need(2, {{5, 9}, {12, 13}})));
  EXPECT_TRUE(give(vault, drop(1)));
  EXPECT_TRUE(give(vault, drop(1))) << "gone already";
  EXPECT_THAT(told(vault), testing::ElementsAre(keep(2), need(2, {{5, 9}, {12, 13}}), kTold));
}

TEST(Vault, RefusesWhatIsNotOfItsProtocol) {
  Vault vault;
  EXPECT_FALSE(give(vault, ""));
  EXPECT_FALSE(give(vault, keep(1))) << "without its descriptor";
  EXPECT_FALSE(give(vault, keep(1) + "x", 1));
  EXPECT_FALSE(give(vault, need(1, {}))) << "of a segment that it has not";
  EXPECT_FALSE(give(vault, std::string(channel::bytes_of(with_type<VaultTold>(VaultMessageType::kTold)))));
  ASSERT_TRUE(give(vault, keep(1), 1));
  EXPECT_FALSE(give(vault, need(1, std::vector<JobRange>(kNeedRangesMax + 1))));
  std::string lies = need(1, {{1, 2}});
  lies.resize(lies.size() - 1);
  EXPECT_FALSE(give(vault, lies));
  EXPECT_THAT(told(vault), testing::ElementsAre(keep(1), kTold)) << "what it has, it keeps";
}

}  // namespace
}  // namespace futured::spawner
