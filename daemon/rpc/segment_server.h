// SegmentServer: serves the segment socket (docs/formats/segment.md).
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/limits.h"
#include "base/loop_gauge.h"
#include "base/result.h"
#include "daemon/pool/segment_table.h"
#include "daemon/rpc/listening_socket.h"
#include "daemon/store/store_thread.h"
#include "segment/pass.h"
#include "segment/socket_protocol.h"

namespace futured::rpc {

// One thread of its own. Requests of a connection are handled one after another; one whose reply has no room in the
// socket, or that waits for the store, holds up only its own connection.
class SegmentServer {
 public:
  struct Setup {
    std::string socket_path;
    std::string spool_directory;
    std::function<void(const std::string&)> log;
    std::size_t connections_max = limits::kSegmentConnectionsMax;  // of all users
  };

  // `table` and `reader` outlive it.
  [[nodiscard]] static Result<std::unique_ptr<SegmentServer>> start(const SocketLock& lock, Setup setup,
                                                                    SegmentTable& table, ReaderThread& reader);
  ~SegmentServer();

  // Turns lag from when the store had answered on; what clients send does not tell since when it is there.
  [[nodiscard]] std::shared_ptr<const LoopGauge> gauge() const { return gauge_; }

 private:
  struct Reply {
    std::string bytes;
    std::vector<Fd> descriptors;
  };
  struct Connection {
    Fd socket;
    std::uint32_t uid = 0;
    SegmentHold hold;
    bool asking = false;           // the store, for its reply
    std::unique_ptr<Reply> reply;  // that had no room yet
  };
  // Replies that the reader's thread made. Shared, for a question may be answered after the server is gone.
  struct Answers {
    std::mutex mutex;
    std::vector<std::pair<std::uint64_t, Reply>> ready;  // by connection
    Instant since;                                       // of the first of them
    Fd wake;
  };

  SegmentServer(Setup setup, ListeningSocket listening, SegmentTable& table, ReaderThread& reader);
  [[nodiscard]] Status prepare();

  void run();
  // False: the server is to stop.
  [[nodiscard]] bool turn(std::span<const epoll_event> events);
  void accept_all();
  void pause_accepting(bool pause);
  void take_answers();
  // False: the connection has ended.
  [[nodiscard]] bool serve(std::uint64_t id, Connection& connection, std::uint32_t events);
  [[nodiscard]] bool take_request(std::uint64_t id, Connection& connection);
  [[nodiscard]] bool send(Connection& connection, Reply reply);
  void watch(std::uint64_t id, const Connection& connection);

  [[nodiscard]] Reply handle(Connection& connection, std::uint64_t tag, const segment_socket::Put& put, Fd descriptor);
  [[nodiscard]] Reply handle(const Connection& connection, std::uint64_t tag, const segment_socket::Get& get);
  [[nodiscard]] Reply handle(Connection& connection, std::uint64_t tag, const segment_socket::Drop& drop);
  void ask_for_result(std::uint64_t id, Connection& connection, std::uint64_t tag,
                      const segment_socket::GetResult& asked);

  const Setup setup_;
  ListeningSocket listening_;
  SegmentTable& table_;
  ReaderThread& reader_;
  const std::shared_ptr<Answers> answers_ = std::make_shared<Answers>();
  Fd epoll_;
  Fd stop_;
  std::map<std::uint64_t, Connection> connections_;  // the thread's own
  std::map<std::uint32_t, std::size_t> per_user_;
  std::uint64_t next_id_;
  bool accepting_paused_ = false;
  const std::shared_ptr<LoopGauge> gauge_ =
      std::make_shared<LoopGauge>("segments", std::vector<std::string>{"listening socket", "stop", "answers"});
  std::thread thread_;
};

}  // namespace futured::rpc
