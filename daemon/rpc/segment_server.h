// SegmentServer: hands segments and results over by descriptor: docs/formats/segment.md.
#pragma once

#include <map>
#include <memory>
#include <thread>

#include "daemon/rpc/front.h"
#include "daemon/rpc/listening_socket.h"
#include "segment/socket_protocol.h"

namespace futured::rpc {

// One thread serves all connections: a request is a table look-up, and what takes longer is asked of the reader. A
// connection that breaks the protocol is closed; what it put goes with it, unless a job names it.
class SegmentServer {
 public:
  SegmentServer(Front& front, ListeningSocket listening);
  SegmentServer(const SegmentServer&) = delete;
  SegmentServer& operator=(const SegmentServer&) = delete;
  ~SegmentServer();

 private:
  struct Connection {
    Fd socket;
    Principal who;
    SegmentHold hold;
  };
  struct Answer {
    segment_socket::Reply reply;
    std::vector<Fd> descriptors;
  };

  void run();
  void accept();
  // False: the connection is to be closed.
  [[nodiscard]] bool serve(Connection& connection);
  [[nodiscard]] Answer answer(Connection& connection, segment_socket::Request request, std::vector<Fd> descriptors);
  [[nodiscard]] Answer put(Connection& connection, const segment_socket::Put& put, std::vector<Fd> descriptors);
  [[nodiscard]] Answer get(Connection& connection, const segment_socket::Get& get);
  [[nodiscard]] Answer result_part(Connection& connection, const segment_socket::GetResult& wanted);

  Front& front_;
  ListeningSocket listening_;
  Fd stop_fd_;
  std::map<int, Connection> connections_;
  std::thread thread_;  // last
};

}  // namespace futured::rpc
