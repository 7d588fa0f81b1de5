// bench-callbacks: how soon a gRPC listener on this machine hears of a lone job's end. Prints one JSON object.
//
// Two clocks start: the end of the attempt as the worker saw it, which is before the commit of the outcome, and the
// moment at which a client that waits hears of the same commit.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "futured/client.h"
#include "futured/v1/callback.grpc.pb.h"

namespace futured::bench {
namespace {

namespace api = futured::v1;

std::int64_t now_us() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

struct Arrival {
  std::int64_t at_us = 0;
  std::int64_t finished_us = 0;
};

class Listener final : public api::CompletionListener::CallbackService {
 public:
  grpc::ServerUnaryReactor* Completed(grpc::CallbackServerContext* context, const api::Completion* completion,
                                      api::CompletionAck*) override {
    {
      const std::lock_guard lock(mutex_);
      arrivals_.emplace(completion->outcome().id(), Arrival{now_us(), completion->outcome().finished_us()});
    }
    arrived_.notify_all();
    auto* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  Arrival of(std::uint64_t job) {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return arrivals_.contains(job); });
    return arrivals_.at(job);
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::unordered_map<std::uint64_t, Arrival> arrivals_;
};

std::int64_t percentile(std::vector<std::int64_t> values, std::size_t percent) {
  std::sort(values.begin(), values.end());
  return values[values.size() * percent / 100];
}

int run(const std::string& address, std::uint64_t jobs) {
  const std::string path = "/tmp/futured-bench-listener-" + std::to_string(::getpid());
  Listener listener;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + path, grpc::InsecureServerCredentials());
  builder.RegisterService(&listener);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  client::JobOptions options;
  options.callbacks = {client::CompletionCallback::listener("unix:" + path)};
  const client::Client daemon = client::Client::connect(address);
  const client::Executor executor = daemon.executor(options);
  std::vector<std::int64_t> after_end;
  std::vector<std::int64_t> after_client;
  constexpr std::uint64_t kWarmUp = 20;
  for (std::uint64_t i = 0; i < jobs + kWarmUp; ++i) {
    const client::Future future = executor.submit("noop", std::string(100, 'x'));
    (void)future.outcome();
    const std::int64_t heard_us = now_us();
    const Arrival arrival = listener.of(future.id());
    if (i < kWarmUp) continue;
    after_end.push_back(arrival.at_us - arrival.finished_us);
    after_client.push_back(arrival.at_us - heard_us);
  }
  std::printf("{\"p50_us\": %lld, \"p99_us\": %lld, \"after_client_p50_us\": %lld}\n",
              static_cast<long long>(percentile(after_end, 50)), static_cast<long long>(percentile(after_end, 99)),
              static_cast<long long>(percentile(after_client, 50)));
  server->Shutdown();
  return 0;
}

}  // namespace
}  // namespace futured::bench

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: bench-callbacks ADDRESS JOBS\n");
    return 2;
  }
  return futured::bench::run(argv[1], std::strtoull(argv[2], nullptr, 10));
}
