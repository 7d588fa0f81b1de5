// The daemon tells a listener of ours when a job has ended: a small gRPC server, on a socket of this machine.
#include <futured/client.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <iostream>
#include <memory>
#include <string>

#include "futured/v1/callback.grpc.pb.h"

namespace api = futured::v1;
using namespace futured::client;

// Told at least once: who must not act twice remembers delivery_id. Anything but OK is tried again later.
class Listener final : public api::CompletionListener::Service {
 public:
  grpc::Status Completed(grpc::ServerContext*, const api::Completion* completion, api::CompletionAck*) override {
    if (told_.exchange(true)) return grpc::Status::OK;
    first_.set_value(*completion);
    return grpc::Status::OK;
  }
  std::future<api::Completion> first() { return first_.get_future(); }

 private:
  std::atomic<bool> told_{false};
  std::promise<api::Completion> first_;
};

int main() {
  const std::string address = "unix:/tmp/futured-listener-" + std::to_string(::getpid());
  Listener listener;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&listener);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();

  JobOptions options;
  options.name = "told";
  options.callbacks = {CompletionCallback::listener(address)};
  const Client client = Client::connect();
  const Future future = client.executor(options).submit("sha256", "abc");

  const api::Completion told = listener.first().get();
  std::cout << told.name() << ": " << told.outcome().result(0).data() << "\n";
  server->Shutdown();
  return told.outcome().id() == future.id() && told.outcome().result(0).data() == future.result() ? 0 : 1;
}
