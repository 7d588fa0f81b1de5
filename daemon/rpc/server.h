// Server: the public API. Listens on a unix socket (and on loopback TCP when asked), serves futured.v1 over gRPC and
// segments beside it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/loop_gauge.h"
#include "base/result.h"
#include "base/time.h"
#include "daemon/callback/transport.h"
#include "daemon/loop/loop.h"
#include "daemon/pool/segment_table.h"
#include "daemon/rpc/callback_names.h"
#include "daemon/store/sent_contents.h"
#include "daemon/store/store_thread.h"

namespace futured::rpc {

// PEM texts; empty: the system's roots, no certificate of our own.
struct CallbackTls {
  std::string ca;
  std::string certificate;
  std::string key;
};

struct ServerSetup {
  std::string socket;  // path of the unix socket; the segment socket lies beside it
  // "127.0.0.1:7711", loopback only; empty: no TCP. A TCP client cannot be known: it is uid 65534, who owns nothing but
  // what it submits.
  std::string listen;

  // Told by Admin.Info.
  std::string version;
  std::string state_directory;
  std::string store;  // "sqlite 3.40.1"
  std::uint32_t schema_version = 0;
  bool durable = true;
  Epoch epoch;
  std::int64_t idle_exit_ms = 0;
  std::vector<pool::PoolConfig> pools;

  std::shared_ptr<SentContents> sent;  // that users may name by digest

  CallbackNames callback_names;
  std::map<std::string, CallbackTls> callback_tls;  // by name

  std::vector<std::shared_ptr<const LoopGauge>> other_gauges;  // of loops that the server does not see
  std::uint32_t admin_uid = 0;  // besides root, may shut the daemon down and change what belongs to others
  std::function<void(const std::string&)> log;
};

// Made after Loop::start(); stopped after Loop::run() has returned and before the loop, the threads and the table go.
class Server {
 public:
  // Refuses a path that is too long, a socket that another daemon serves, an address that is not loopback.
  [[nodiscard]] static Result<std::unique_ptr<Server>> start(ServerSetup setup, Loop& loop, ReaderThread& reader,
                                                             KeeperThread& keeper, SegmentTable& segments);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Takes no more connections, ends every call (UNAVAILABLE, unless its answer is under way) and removes the sockets.
  // Answers that the loop, the reader or the keeper gives later go nowhere. Bounded to a few seconds; a second call
  // does nothing.
  void stop();

  // What a courier needs of this folder. It must be stopped before the server is.
  [[nodiscard]] callback::Transport& callback_transport();

  // For exiting when idle: the calls that are open, and when the last one came or went.
  [[nodiscard]] std::size_t open_calls() const;
  [[nodiscard]] Instant last_call() const;

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace futured::rpc
