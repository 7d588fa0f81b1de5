#include "segment/pass.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/limits.h"

namespace futured {
namespace {

struct Pair {
  Pair() {
    int ends[2];
    FUTURED_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
    a = Fd(ends[0]);
    b = Fd(ends[1]);
  }
  Fd a, b;
};

ino_t inode_of(int fd) {
  struct stat status {};
  FUTURED_CHECK(fstat(fd, &status) == 0, "fstat");
  return status.st_ino;
}

TEST(Pass, DescriptorsArriveInOrderAndCloseOnExec) {
  Pair pair;
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const Fd read_end(pipe_ends[0]), write_end(pipe_ends[1]);
  const Fd null(open("/dev/null", O_RDONLY));
  ASSERT_TRUE(send_message(pair.a.get(), "hello", std::vector{null.get(), read_end.get()}).ok());
  auto message = receive_message(pair.b.get(), 100);
  ASSERT_TRUE(message.ok()) << message.error().message;
  EXPECT_EQ(message->bytes, "hello");
  ASSERT_EQ(message->descriptors.size(), 2u);
  EXPECT_EQ(inode_of(message->descriptors[0].get()), inode_of(null.get()));
  EXPECT_EQ(inode_of(message->descriptors[1].get()), inode_of(read_end.get()));
  EXPECT_NE(fcntl(message->descriptors[0].get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(Pass, AsManyAsTheBoundAndNoMore) {
  Pair pair;
  const Fd null(open("/dev/null", O_RDONLY));
  const std::vector<int> many(limits::kDescriptorsPerMessageMax, null.get());
  ASSERT_TRUE(send_message(pair.a.get(), "x", many).ok());
  auto message = receive_message(pair.b.get(), 100);
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(message->descriptors.size(), many.size());
  EXPECT_FALSE(send_message(pair.a.get(), "x", std::vector<int>(many.size() + 1, null.get())).ok());
  EXPECT_FALSE(send_message(pair.a.get(), "").ok());
}

TEST(Pass, AMessageLongerThanAllowedIsRefusedAndItsDescriptorsClosed) {
  Pair pair;
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const Fd read_end(pipe_ends[0]);
  {
    const Fd write_end(pipe_ends[1]);
    ASSERT_TRUE(send_message(pair.a.get(), std::string(200, 'x'), std::vector{write_end.get()}).ok());
  }
  EXPECT_FALSE(receive_message(pair.b.get(), 100).ok());
  char byte;
  EXPECT_EQ(read(read_end.get(), &byte, 1), 0) << "the write end that travelled is still open";
}

TEST(Pass, AClosedPeerIsUnavailable) {
  Pair pair;
  pair.a.reset();
  auto message = receive_message(pair.b.get(), 100);
  ASSERT_FALSE(message.ok());
  EXPECT_EQ(message.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(send_message(pair.b.get(), "x").error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace futured
