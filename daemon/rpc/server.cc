#include "daemon/rpc/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <chrono>
#include <future>
#include <optional>
#include <thread>
#include <utility>

#include "base/limits.h"
#include "daemon/rpc/admin_service.h"
#include "daemon/rpc/call_timer.h"
#include "daemon/rpc/callback_transport.h"
#include "daemon/rpc/callbacks_service.h"
#include "daemon/rpc/events_service.h"
#include "daemon/rpc/jobs_service.h"
#include "daemon/rpc/listening_socket.h"
#include "daemon/rpc/one_poller.h"
#include "daemon/rpc/pools_service.h"
#include "daemon/rpc/queues_service.h"
#include "daemon/rpc/schedules_service.h"
#include "daemon/rpc/segment_server.h"
#include "daemon/rpc/segments_service.h"
#include "daemon/rpc/semaphores_service.h"
#include "daemon/rpc/unbuilt_service.h"
#include "segment/socket_protocol.h"

namespace futured::rpc {

namespace {

// Every call has been ended by then; what is waited for is that the last answers leave.
constexpr auto kShutdownWithin = std::chrono::milliseconds(300);
constexpr int kAcceptPauseMs = 100;  // when the system has no descriptor left

// "127.0.0.1:7711", "[::1]:7711", "localhost:7711".
bool is_loopback(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) return false;
  const std::string host = address.substr(0, colon);
  return host == "localhost" || host == "[::1]" || (host.starts_with("127.") && host.find(':') == std::string::npos);
}

}  // namespace

class Server::Impl {
 public:
  Impl(ServerSetup setup, Loop& loop, ReaderThread& reader, KeeperThread& keeper, SegmentTable& segments)
      : callers_(Callers::Layout::of(raise_descriptor_limit()), kUnknownUid),
        front_{.setup = std::move(setup),
               .loop = loop,
               .reader = reader,
               .keeper = keeper,
               .segments = segments,
               .callers = callers_} {}
  ~Impl() { stop(); }

  [[nodiscard]] Status start() {
    auto lock = SocketLock::take(front_.setup.socket);
    if (!lock.ok()) return lock.error();
    lock_.emplace(std::move(*lock));
    auto segment_server = SegmentServer::start(*lock_,
                                               {front_.setup.socket + std::string(segment_socket::kPathSuffix),
                                                front_.setup.state_directory + "/output", front_.setup.log},
                                               front_.segments, front_.reader);
    if (!segment_server.ok()) return segment_server.error();
    segment_server_ = std::move(*segment_server);
    gather_gauges();
    if (const Status built = build(); !built.ok()) return built;
    auto listening = ListeningSocket::open(*lock_, front_.setup.socket, SOCK_STREAM);
    if (!listening.ok()) return listening.error();
    listening_.emplace(std::move(*listening));
    stop_fd_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!stop_fd_.is_open()) return system_error("eventfd");
    accepting_ = std::thread([this] { accept_connections(); });
    return {};
  }

  void stop() {
    if (std::exchange(stopped_, true)) return;
    if (accepting_.joinable()) {
      const std::uint64_t one = 1;
      (void)!write(stop_fd_.get(), &one, sizeof one);
      accepting_.join();
    }
    listening_.reset();
    segment_server_.reset();
    callback_transport_.stop();
    front_.calls.stop_all(stopping_error());
    if (server_) server_->Shutdown(std::chrono::system_clock::now() + kShutdownWithin);
    drain(front_.reader);
    drain(front_.keeper);
    lock_.reset();
  }

  [[nodiscard]] Front& front() { return front_; }
  [[nodiscard]] callback::Transport& callback_transport() { return callback_transport_; }

 private:
  void gather_gauges() {
    auto& gauges = front_.gauges;
    gauges = front_.loop.gauges();
    gauges.insert(gauges.end(), {front_.reader.gauge(), front_.keeper.gauge(), front_.pump.gauge(), grpc_gauge_,
                                 segment_server_->gauge(), accept_gauge_});
    gauges.insert(gauges.end(), front_.setup.other_gauges.begin(), front_.setup.other_gauges.end());
    front_.worker_loops = front_.loop.worker_loops();
  }

  [[nodiscard]] Status build() {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    builder.RegisterService(&jobs_);
    builder.RegisterService(&queues_);
    builder.RegisterService(&schedules_);
    builder.RegisterService(&pools_);
    builder.RegisterService(&semaphores_);
    builder.RegisterService(&events_);
    builder.RegisterService(&workers_);
    builder.RegisterService(&admin_);
    builder.RegisterService(&segments_);
    builder.RegisterService(&callbacks_);
    builder.RegisterCallbackGenericService(&unbuilt_);
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
    interceptors.push_back(make_call_timer(*grpc_gauge_));
    interceptors.push_back(make_bad_message_mender());
    builder.experimental().SetInterceptorCreators(std::move(interceptors));
    builder.SetMaxReceiveMessageSize(limits::kMessageBytesMax);
    builder.SetMaxSendMessageSize(limits::kMessageBytesMax);
    // A second daemon must not share the port, and a local connection needs no probing for how fast it is.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, static_cast<int>(limits::kStreamLookaheadBytes));
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, static_cast<int>(limits::kFrameBytesMax));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, limits::kStreamsPerConnectionMax);
    // Only health and reflection are served by threads of gRPC's own.
    builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
    builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
    builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
    const std::string& address = front_.setup.listen;
    int port = -1;
    if (!address.empty()) {
      if (!is_loopback(address)) {
        return Error{ErrorCode::kInvalidArgument, "listen: " + address +
                                                      " is not on loopback, and nobody could tell who "
                                                      "connects there; use 127.0.0.1:PORT"};
      }
      builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
    }
    server_ = builder.BuildAndStart();
    if (!server_ || port == 0) return Error{ErrorCode::kUnavailable, "listen: cannot listen at " + address};
    return {};
  }

  // Questions that calls have asked hold on to what is about to go.
  template <typename Asked>
  static void drain(QuestionThread<Asked>& thread) {
    std::promise<void> drained;
    while (!thread.ask([&](Asked&) { drained.set_value(); })) std::this_thread::yield();
    drained.get_future().wait();
  }

  void accept_connections() {
    for (;;) {
      pollfd waiting[] = {{listening_->fd(), POLLIN, 0}, {stop_fd_.get(), POLLIN, 0}};
      accept_gauge_->end(monotonic_now(), "accepting a connection");
      if (poll(waiting, 2, -1) < 0) continue;
      if (waiting[1].revents != 0) return;
      accept_gauge_->begin(monotonic_now());
      auto accepted = accept_from(listening_->fd());
      if (!accepted.ok()) {
        if (accepted.error().code == ErrorCode::kUnavailable) continue;
        front_.setup.log("accepting a connection failed: " + accepted.error().message);
        accept_gauge_->end(monotonic_now(), "accepting a connection");
        if (poll(waiting + 1, 1, kAcceptPauseMs) > 0) return;
        continue;
      }
      auto seated = callers_.seat(std::move(accepted->socket), accepted->uid);
      if (!seated.ok()) {
        front_.setup.log("a connection was refused: " + seated.error().message);
        continue;
      }
      grpc::AddInsecureChannelFromFd(server_.get(), seated->release());
    }
  }

  OnePoller one_poller_;
  Callers callers_;
  const std::shared_ptr<LoopGauge> grpc_gauge_ = std::make_shared<LoopGauge>("grpc");
  // A turn is a connection; nobody tells since when it is there.
  const std::shared_ptr<LoopGauge> accept_gauge_ =
      std::make_shared<LoopGauge>("accept", std::vector<std::string>{"listening socket", "stop"});
  Front front_;
  JobsService jobs_{front_};
  QueuesService queues_{front_};
  SchedulesService schedules_{front_};
  PoolsService pools_{front_};
  SemaphoresService semaphores_{front_};
  EventsService events_{front_};
  WorkersService workers_{front_};
  AdminService admin_{front_};
  SegmentsService segments_{front_};
  CallbacksService callbacks_{front_};
  CallbackTransport callback_transport_{front_};
  UnbuiltService unbuilt_;
  std::optional<SocketLock> lock_;
  std::unique_ptr<SegmentServer> segment_server_;
  std::optional<ListeningSocket> listening_;
  Fd stop_fd_;
  std::unique_ptr<grpc::Server> server_;
  std::thread accepting_;
  bool stopped_ = false;
};

Result<std::unique_ptr<Server>> Server::start(ServerSetup setup, Loop& loop, ReaderThread& reader, KeeperThread& keeper,
                                              SegmentTable& segments) {
  auto impl = std::make_unique<Impl>(std::move(setup), loop, reader, keeper, segments);
  if (const Status started = impl->start(); !started.ok()) return started.error();
  loop.at_turn_end([&pump = impl->front().pump](bool at_rest) { pump.flush(at_rest); });
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

void Server::stop() { impl_->stop(); }
callback::Transport& Server::callback_transport() { return impl_->callback_transport(); }
std::size_t Server::open_calls() const { return impl_->front().calls.size(); }
Instant Server::last_call() const { return impl_->front().calls.last_change(); }

}  // namespace futured::rpc
