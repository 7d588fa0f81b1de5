#include "daemon/rpc/listening_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace futured::rpc {
namespace {

class Folder {
 public:
  Folder() {
    char name[] = "/tmp/futured-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

Fd connect_to(const std::string& path) {
  Fd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return Fd();
  return client;
}

TEST(ListeningSocket, TellsWhoConnects) {
  const Folder folder;
  const auto lock = SocketLock::take(folder / "s");
  ASSERT_TRUE(lock.ok());
  const auto listening = ListeningSocket::open(*lock, folder / "s", SOCK_STREAM);
  ASSERT_TRUE(listening.ok()) << listening.error().message;
  EXPECT_EQ(accept_from(listening->fd()).error().code, ErrorCode::kUnavailable);
  const Fd client = connect_to(folder / "s");
  ASSERT_TRUE(client.is_open());
  const auto accepted = accept_from(listening->fd());
  ASSERT_TRUE(accepted.ok());
  EXPECT_EQ(accepted->uid, getuid());
  struct stat there {};
  ASSERT_EQ(stat((folder / "s").c_str(), &there), 0);
  EXPECT_EQ(there.st_mode & 0777, 0660u);
}

TEST(ListeningSocket, ASecondDaemonCannotTakeItOver) {
  const Folder folder;
  const auto first = SocketLock::take(folder / "s");
  ASSERT_TRUE(first.ok());
  const auto second = SocketLock::take(folder / "s");
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::kAlreadyExists);
}

TEST(ListeningSocket, WhatAKilledDaemonLeftIsReplaced) {
  const Folder folder;
  {
    const Fd left(socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, (folder / "s").c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(bind(left.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  const auto lock = SocketLock::take(folder / "s");
  {
    const auto listening = ListeningSocket::open(*lock, folder / "s", SOCK_STREAM);
    ASSERT_TRUE(listening.ok()) << listening.error().message;
    EXPECT_TRUE(connect_to(folder / "s").is_open());
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "s")) << "it takes its file along";
}

TEST(ListeningSocket, AnythingElseAtItsPathIsLeftAlone) {
  const Folder folder;
  std::ofstream(folder / "s") << "precious";
  const auto lock = SocketLock::take(folder / "s");
  ASSERT_TRUE(lock.ok());
  const auto listening = ListeningSocket::open(*lock, folder / "s", SOCK_STREAM);
  ASSERT_FALSE(listening.ok());
  EXPECT_EQ(listening.error().code, ErrorCode::kFailedPrecondition);
  EXPECT_TRUE(std::filesystem::exists(folder / "s"));
}

TEST(ListeningSocket, APathThatIsTooLongIsRefusedByName) {
  const auto lock = SocketLock::take("/tmp/" + std::string(103, 'x'));
  ASSERT_FALSE(lock.ok());
  EXPECT_EQ(lock.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(lock.error().message.find("107"), std::string::npos);
  EXPECT_NE(lock.error().message.find("xxx"), std::string::npos);
}

}  // namespace
}  // namespace futured::rpc
