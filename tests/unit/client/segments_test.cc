// What put, map and their like promise when the segment socket breaks, as in a restart of the daemon.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "base/fd.h"
#include "base/limits.h"
#include "segment/pass.h"
#include "segment/socket_protocol.h"
#include "tests/unit/client/client_fixture.h"

namespace futured::client {
namespace {

// A daemon's segment socket, in this process, for one client at a time. Keeps what is put.
class SegmentSocket {
 public:
  explicit SegmentSocket(std::string path) : path_(std::move(path)) { open(); }
  ~SegmentSocket() { close(); }
  SegmentSocket(const SegmentSocket&) = delete;
  SegmentSocket& operator=(const SegmentSocket&) = delete;

  // The connection breaks.
  void restart() {
    close();
    open();
  }
  // The next request is read, and the connection closed instead of an answer.
  void hang_up_once() {
    const std::lock_guard guard(mutex_);
    hangs_up_ = true;
  }
  // Read in all.
  std::size_t requests() {
    const std::lock_guard guard(mutex_);
    return requests_;
  }

 private:
  void open() {
    ::unlink(path_.c_str());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    listener_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    FUTURED_CHECK(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "bind");
    FUTURED_CHECK(::listen(listener_.get(), 8) == 0, "listen");
    thread_ = std::thread([this] { serve(); });
  }
  void close() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    {
      const std::lock_guard guard(mutex_);
      if (connection_.is_open()) ::shutdown(connection_.get(), SHUT_RDWR);
    }
    thread_.join();
    listener_.reset();
  }
  void serve() {
    while (true) {
      Fd accepted(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!accepted.is_open()) return;
      {
        const std::lock_guard guard(mutex_);
        connection_ = std::move(accepted);
      }
      while (answer_one()) {
      }
      const std::lock_guard guard(mutex_);
      connection_.reset();
    }
  }
  bool answer_one() {
    auto message = receive_message(connection_.get(), limits::kSegmentMessageBytesMax);
    if (!message) return false;
    auto request = segment_socket::decode_request(message->bytes);
    FUTURED_CHECK(request.ok(), "request");
    const std::lock_guard guard(mutex_);
    ++requests_;
    if (std::exchange(hangs_up_, false)) return false;
    segment_socket::Reply reply;
    std::vector<int> beside;
    if (const auto* put = std::get_if<segment_socket::Put>(&request->request)) {
      kept_.push_back({put->size, std::move(message->descriptors.at(0))});
      reply = segment_socket::Stored{SegmentId{kept_.size()}};
    } else {
      segment_socket::Found found;
      for (const SegmentId id : std::get<segment_socket::Get>(request->request).segments) {
        const auto& [size, descriptor] = kept_.at(id.value - 1);
        found.entries.push_back({size, 0, size, ""});
        beside.push_back(descriptor.get());
      }
      reply = std::move(found);
    }
    return send_message(connection_.get(), segment_socket::encode(segment_socket::TaggedReply{request->tag, reply}),
                        beside)
        .ok();
  }

  const std::string path_;
  Fd listener_;
  std::thread thread_;
  std::mutex mutex_;
  Fd connection_;  // changed under mutex_, by the thread alone
  bool hangs_up_ = false;
  std::size_t requests_ = 0;
  std::vector<std::pair<std::uint64_t, Fd>> kept_;  // size and memory, by number
};

class Segments : public test::ClientTest {
 protected:
  client::Segment put(std::string_view text) { return client_.put(std::as_bytes(std::span(text))); }
  std::string text_of(const client::Segment& segment) {
    const MappedBytes mapped = client_.map(segment);
    return {reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size()};
  }

  SegmentSocket socket_{daemon_.address().substr(std::string_view("unix:").size()) +
                        std::string(segment_socket::kPathSuffix)};
};

TEST_F(Segments, AreHandedOverAfterARestartAsBefore) {
  static_cast<void>(put("first"));
  socket_.restart();
  const client::Segment second = put("second");
  EXPECT_EQ(socket_.requests(), 2u);
  socket_.restart();
  EXPECT_EQ(text_of(second), "second");
}

TEST_F(Segments, RowsOfAFileAreHandedOverAsTheyAreInIt) {
  const std::string path = testing::TempDir() + "fut-" + std::to_string(::getpid()) + ".fut";
  const std::string text = std::string(3 << 20, 'a') + std::string(1 << 20, 'b');
  for (const int compression : {0, 3}) {
    dump(path, std::as_bytes(std::span(text)), "uint8", {4, 1 << 20}, {.compression = compression});
    const client::Segment rows = client_.put(ArrayFile(path), 2, 4);
    EXPECT_EQ(rows.dtype, "uint8");
    EXPECT_EQ(rows.shape, (std::vector<std::int64_t>{2, 1 << 20}));
    EXPECT_EQ(text_of(rows), text.substr(2 << 20));
    EXPECT_THROW(static_cast<void>(client_.put(ArrayFile(path), 2, 5)), Error);
  }
  ::unlink(path.c_str());
}

TEST_F(Segments, AreAskedForAgainButNotPutTwice) {
  const client::Segment kept = put("kept");
  socket_.hang_up_once();
  EXPECT_THROW(static_cast<void>(put("in doubt")), Unavailable);
  EXPECT_EQ(socket_.requests(), 2u);
  EXPECT_EQ(text_of(kept), "kept");
  socket_.hang_up_once();
  EXPECT_EQ(text_of(kept), "kept");
  EXPECT_EQ(socket_.requests(), 5u);
}

}  // namespace
}  // namespace futured::client
