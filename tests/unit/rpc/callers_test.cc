#include "daemon/rpc/callers.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace futured::rpc {
namespace {

Fd connection() { return Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

std::string peer(const Fd& seated) { return "fd:" + std::to_string(seated.get()); }

TEST(Callers, AConnectionIsKnownByItsNumber) {
  Callers callers({500, 4, 3}, 65534);
  const auto alice = callers.seat(connection(), 1000);
  const auto bob = callers.seat(connection(), 1001);
  ASSERT_TRUE(alice.ok());
  ASSERT_TRUE(bob.ok());
  EXPECT_EQ(callers.who(peer(*alice)).uid, 1000u);
  EXPECT_EQ(callers.who(peer(*bob)).uid, 1001u);
}

// A call of a closed connection may be looked at after its number was used again.
TEST(Callers, ANumberNeverPassesToAnotherUser) {
  Callers callers({500, 4, 3}, 65534);
  std::string old;
  {
    const auto alice = callers.seat(connection(), 1000);
    old = peer(*alice);
  }
  std::vector<Fd> root;
  for (int i = 0; i < 4; ++i) {
    auto seated = callers.seat(connection(), 0);
    ASSERT_TRUE(seated.ok());
    EXPECT_NE(peer(*seated), old);
    root.push_back(std::move(*seated));
  }
  EXPECT_EQ(callers.who(old).uid, 1000u);
  const auto again = callers.seat(connection(), 1000);
  EXPECT_EQ(peer(*again), old);
}

TEST(Callers, AUserHasSoManyConnectionsAndNoMore) {
  Callers callers({500, 2, 2}, 65534);
  const auto first = callers.seat(connection(), 1);
  auto second = callers.seat(connection(), 1);
  const auto third = callers.seat(connection(), 1);
  ASSERT_FALSE(third.ok());
  EXPECT_EQ(third.error().code, ErrorCode::kResourceExhausted);
  second = Error{ErrorCode::kInternal, "closed"};
  EXPECT_TRUE(callers.seat(connection(), 1).ok());
  EXPECT_TRUE(callers.seat(connection(), 2).ok());
  EXPECT_EQ(callers.seat(connection(), 3).error().code, ErrorCode::kResourceExhausted);
}

TEST(Callers, WhoCannotBeToldIsNobody) {
  Callers callers({500, 4, 3}, 4711);
  const auto seated = callers.seat(connection(), 0);
  for (const char* unknown :
       {"", "fd:", "fd:x", "fd:499", "fd:504", "fd:511", "fd:99999999999", "fd:-1", "unix:/tmp/x", "fd:500 "}) {
    EXPECT_EQ(callers.who(unknown).uid, kUnknownUid) << unknown;
  }
  EXPECT_EQ(callers.who("ipv4:127.0.0.1:80").uid, 4711u);
  EXPECT_EQ(callers.who("ipv6:[::1]:80").uid, 4711u);
}

TEST(Callers, TheLayoutFitsTheDescriptorsThereAre) {
  for (const int most : {64, 256, 1024, 4096, 65536, 1 << 20}) {
    const auto layout = Callers::Layout::of(most);
    EXPECT_GE(layout.per_user, 4) << most;
    EXPECT_GE(layout.users, 8) << most;
    EXPECT_LE(layout.first + layout.per_user * layout.users, most);
  }
}

}  // namespace
}  // namespace futured::rpc
