#include "daemon/rpc/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_posix.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/limits.h"
#include "daemon/rpc/admin_service.h"
#include "daemon/rpc/jobs_service.h"
#include "daemon/rpc/listening_socket.h"
#include "daemon/rpc/pools_service.h"
#include "daemon/rpc/queues_service.h"
#include "daemon/rpc/segment_server.h"
#include "segment/socket_protocol.h"

namespace futured::rpc {

namespace {

constexpr auto kStopWithin = std::chrono::seconds(2);

// A service that is in the API and not here yet answers every call by name.
class UnbuiltCall final : public grpc::ServerGenericBidiReactor {
 public:
  explicit UnbuiltCall(const std::string& method) {
    Finish({grpc::StatusCode::UNIMPLEMENTED, method + ": this server cannot do that yet"});
  }
  void OnDone() override { delete this; }
};

class UnbuiltServices final : public grpc::CallbackGenericService {
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    return new UnbuiltCall(context->method());
  }
};

// Plain TCP has no password: it is for this machine only.
Status check_loopback(const std::string& address) {
  const bool loopback =
      address.starts_with("127.") || address.starts_with("localhost:") || address.starts_with("[::1]:");
  if (loopback) return {};
  return Error{ErrorCode::kInvalidArgument,
               "listen address " + address + " is not loopback: use 127.0.0.1:PORT, localhost:PORT or [::1]:PORT"};
}

}  // namespace

class Server::Impl {
 public:
  Impl(ServerSetup setup, Loop& loop, ReaderThread& reader, SegmentTable& segments)
      : callers_(Callers::Layout::of(raise_descriptor_limit()), setup.tcp_trusted ? ::getuid() : kUnknownUid),
        front_{.setup = std::move(setup), .loop = loop, .reader = reader, .segments = segments, .callers = callers_},
        jobs_(front_),
        queues_(front_),
        pools_(front_),
        workers_(front_),
        admin_(front_) {}
  ~Impl() { stop(); }

  [[nodiscard]] Status start();
  void stop();
  [[nodiscard]] Front& front() { return front_; }

 private:
  [[nodiscard]] Status serve_grpc();
  void accept_clients();

  Callers callers_;
  Front front_;
  JobsService jobs_;
  QueuesService queues_;
  PoolsService pools_;
  WorkersService workers_;
  AdminService admin_;
  UnbuiltServices unbuilt_;

  std::optional<SocketLock> lock_;
  std::optional<ListeningSocket> listening_;
  std::unique_ptr<SegmentServer> segment_server_;
  std::unique_ptr<grpc::Server> grpc_;
  Fd stop_fd_;
  std::thread acceptor_;
};

Status Server::Impl::start() {
  const ServerSetup& setup = front_.setup;
  if (!setup.listen.empty()) {
    if (const Status local = check_loopback(setup.listen); !local.ok()) return local;
  }
  auto lock = SocketLock::take(setup.socket);
  if (!lock.ok()) return lock.error();
  lock_.emplace(std::move(*lock));
  if (const Status served = serve_grpc(); !served.ok()) return served;
  auto segments =
      ListeningSocket::open(*lock_, setup.socket + std::string(segment_socket::kPathSuffix), SOCK_SEQPACKET);
  if (!segments.ok()) return segments.error();
  segment_server_ = std::make_unique<SegmentServer>(front_, std::move(*segments));
  // Last: who can connect can be served.
  auto listening = ListeningSocket::open(*lock_, setup.socket, SOCK_STREAM);
  if (!listening.ok()) return listening.error();
  listening_.emplace(std::move(*listening));
  stop_fd_ = Fd(eventfd(0, EFD_CLOEXEC));
  if (!stop_fd_.is_open()) return system_error("eventfd");
  acceptor_ = std::thread([this] { accept_clients(); });
  return {};
}

Status Server::Impl::serve_grpc() {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(static_cast<int>(limits::kMessageBytesMax));
  builder.SetMaxSendMessageSize(static_cast<int>(limits::kMessageBytesMax));
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 1);
  int port = -1;
  const std::string& listen = front_.setup.listen;
  if (!listen.empty()) builder.AddListeningPort(listen, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&jobs_);
  builder.RegisterService(&queues_);
  builder.RegisterService(&pools_);
  builder.RegisterService(&workers_);
  builder.RegisterService(&admin_);
  builder.RegisterCallbackGenericService(&unbuilt_);
  grpc_ = builder.BuildAndStart();
  if (!listen.empty() && port == 0) {
    return Error{ErrorCode::kAlreadyExists, "cannot listen at " + listen + ": is the port taken?"};
  }
  if (!grpc_) return Error{ErrorCode::kInternal, "the gRPC server does not start"};
  return {};
}

void Server::Impl::accept_clients() {
  pollfd events[2] = {{listening_->fd(), POLLIN, 0}, {stop_fd_.get(), POLLIN, 0}};
  for (;;) {
    if (::poll(events, 2, -1) < 0 && errno != EINTR) return;
    if ((events[1].revents & POLLIN) != 0) return;
    auto accepted = accept_from(listening_->fd());
    if (!accepted.ok()) {
      if (accepted.error().code == ErrorCode::kUnavailable) continue;
      front_.setup.log(accepted.error().message);
      // Out of descriptors: the connection stays in the queue, so looking again at once would spin.
      if (::poll(&events[1], 1, 100) > 0) return;
      continue;
    }
    auto seated = callers_.seat(std::move(accepted->socket), accepted->uid);
    if (!seated.ok()) {
      front_.setup.log("a connection was refused: " + seated.error().message);
      continue;
    }
    grpc::AddInsecureChannelFromFd(grpc_.get(), seated->release());
  }
}

void Server::Impl::stop() {
  if (acceptor_.joinable()) {
    const std::uint64_t one = 1;
    (void)!::write(stop_fd_.get(), &one, sizeof one);
    acceptor_.join();
  }
  segment_server_.reset();
  listening_.reset();
  front_.calls.stop_all(stopping_error());
  if (grpc_) {
    grpc_->Shutdown(std::chrono::system_clock::now() + kStopWithin);
    grpc_->Wait();
  }
  grpc_.reset();
}

Result<std::unique_ptr<Server>> Server::start(ServerSetup setup, Loop& loop, ReaderThread& reader,
                                              SegmentTable& segments) {
  auto impl = std::make_unique<Impl>(std::move(setup), loop, reader, segments);
  if (const Status started = impl->start(); !started.ok()) return started.error();
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;
void Server::stop() { impl_->stop(); }
std::size_t Server::open_calls() const { return impl_->front().calls.size(); }
Instant Server::last_call() const { return impl_->front().calls.last_change(); }

}  // namespace futured::rpc
