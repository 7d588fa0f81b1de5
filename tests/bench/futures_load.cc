// bench-futures: what futures cost, on a running daemon. tests/bench/run.py runs it; each call prints one JSON object.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <ranges>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "futured/client.h"
#include "futured/v1/futured.grpc.pb.h"
#include "tests/bench/timing.h"

namespace futured::bench {
namespace {

constexpr std::size_t kPayloadBytes = 100;
constexpr std::uint64_t kRawBatch = 1'000;
constexpr std::size_t kRawBatchesOut = 16;

void map(const client::Client& daemon, std::uint64_t calls) {
  const client::Executor executor = daemon.executor();
  const Stopwatch watch;
  client::Mapped mapped =
      executor.map("noop", std::views::iota(std::uint64_t{0}, calls), {.chunk_size = client::kAutomaticChunks});
  std::uint64_t given = 0;
  while (mapped.next()) ++given;
  const double seconds = watch.seconds();
  if (given != calls) throw std::runtime_error("map gave " + std::to_string(given) + " results");
  print_rate(calls, seconds);
}

void as_completed(const client::Client& daemon, std::uint64_t jobs) {
  const client::Executor executor = daemon.executor();
  const std::string payload(kPayloadBytes, 'x');
  std::vector<client::Future> futures;
  futures.reserve(jobs);
  const Stopwatch watch;
  for (std::uint64_t i = 0; i < jobs; ++i) futures.push_back(executor.submit("noop", payload));
  std::uint64_t given = 0;
  for (const client::Future& future : client::as_completed(futures)) {
    if (future.exception()) std::rethrow_exception(future.exception());
    ++given;
  }
  const double seconds = watch.seconds();
  if (given != jobs) throw std::runtime_error("as_completed gave " + std::to_string(given) + " futures");
  print_rate(jobs, seconds);
}

// Bounds the batches on their way: more would only wait.
class Window {
 public:
  void take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return out_ < kRawBatchesOut || is_over_; });
    ++out_;
  }
  void give_back(std::size_t batches) {
    const std::lock_guard lock(mutex_);
    out_ -= batches;
    changed_.notify_one();
  }
  void end() {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
    changed_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t out_ = 0;
  bool is_over_ = false;
};

// The same jobs with nothing around the stream: batches in, outcomes counted.
void raw_stream(const std::string& socket, std::uint64_t jobs) {
  const auto channel = grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials());
  const auto stub = v1::Jobs::NewStub(channel);
  v1::SubmitStreamRequest batch;
  batch.mutable_spec()->set_task("noop");
  batch.set_deliver_outcomes(true);
  for (std::uint64_t i = 0; i < kRawBatch; ++i) batch.mutable_packed()->add_sizes(kPayloadBytes);
  batch.mutable_packed()->set_data(std::string(kRawBatch * kPayloadBytes, 'x'));

  grpc::ClientContext context;
  const auto stream = stub->SubmitStream(&context);
  const std::uint64_t batches = (jobs + kRawBatch - 1) / kRawBatch;
  Window window;
  const Stopwatch watch;
  std::thread writer([&] {
    for (std::uint64_t i = 0; i < batches; ++i) {
      window.take();
      if (!stream->Write(batch)) return;
    }
    stream->WritesDone();
  });
  std::uint64_t ended = 0;
  std::string refused;
  v1::SubmitStreamResponse response;
  while (stream->Read(&response)) {
    window.give_back(static_cast<std::size_t>(response.receipts_size()));
    for (const v1::Receipt& receipt : response.receipts()) refused += receipt.error().message();
    ended += static_cast<std::uint64_t>(response.outcomes_size());
    for (const v1::PackedOutcomes& packed : response.packed()) ended += packed.count();
    response.Clear();
  }
  const double seconds = watch.seconds();
  window.end();  // should the stream have ended early
  writer.join();
  const grpc::Status status = stream->Finish();
  if (!status.ok() || !refused.empty()) throw std::runtime_error(status.error_message() + refused);
  if (ended != batches * kRawBatch) throw std::runtime_error("the stream gave " + std::to_string(ended) + " outcomes");
  print_rate(ended, seconds);
}

double cpu_seconds_of(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  text.erase(0, text.rfind(')') + 1);  // the name may hold anything
  double ticks = 0;
  std::size_t field = 2;
  for (const auto word : text | std::views::split(' ')) {
    const std::string value(word.begin(), word.end());
    if (value.empty()) continue;
    ++field;
    if (field == 14 || field == 15) ticks += std::stod(value);  // utime, stime
  }
  return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double resident_mib_of(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/statm");
  double size = 0;
  double resident = 0;
  file >> size >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

// Futures that wait for jobs of a paused queue: what they cost the daemon meanwhile.
void idle(const client::Client& daemon, std::uint64_t count, int seconds, const std::string& pid) {
  daemon.create_queue("idle");
  daemon.pause_queue("idle");
  const double before_mib = resident_mib_of(pid);
  client::JobOptions options;
  options.queue = "idle";
  const client::Executor executor = daemon.executor(options);
  std::vector<client::Future> futures;
  for (std::uint64_t i = 0; i < count; ++i) futures.push_back(executor.submit("noop", ""));
  daemon.flush();
  std::vector<std::uint64_t> ids;
  for (const client::Future& future : futures) ids.push_back(future.id());
  const client::Client other = client::Client::connect(daemon.address());
  const std::vector<client::Future> taken_up = other.futures(ids);
  static_cast<void>(client::wait(taken_up, client::WaitFor::kAllCompleted, std::chrono::seconds(1)));  // all asked for

  const double before = cpu_seconds_of(pid);
  const Stopwatch watch;
  static_cast<void>(client::wait(taken_up, client::WaitFor::kAllCompleted, std::chrono::seconds(seconds)));
  const double share = (cpu_seconds_of(pid) - before) / watch.seconds();
  const double grown_mib = resident_mib_of(pid) - before_mib;
  daemon.resume_queue("idle");
  const bool all_ended =
      client::wait(taken_up, client::WaitFor::kAllCompleted, std::chrono::seconds(60)).not_done.empty();
  if (!all_ended) throw std::runtime_error("some futures did not end");
  std::printf("{\"cpu_percent\": %.3f, \"grown_mib\": %.2f}\n", share * 100, grown_mib);
}

int run(int argc, char** argv) {
  const auto number = [&](int index) { return std::strtoull(argv[index], nullptr, 10); };
  const std::string what = argc > 3 ? argv[1] : "";
  if (what == "map" && argc == 4) return map(client::Client::connect(argv[2]), number(3)), 0;
  if (what == "as-completed" && argc == 4) return as_completed(client::Client::connect(argv[2]), number(3)), 0;
  if (what == "raw-stream" && argc == 4) return raw_stream(argv[2], number(3)), 0;
  if (what == "idle" && argc == 6)
    return idle(client::Client::connect(argv[2]), number(3), static_cast<int>(number(4)), argv[5]), 0;
  std::fprintf(stderr,
               "usage: bench-futures map ADDRESS CALLS | as-completed ADDRESS JOBS | raw-stream SOCKET JOBS |"
               " idle ADDRESS FUTURES SECONDS PID\n");
  return 2;
}

}  // namespace
}  // namespace futured::bench

int main(int argc, char** argv) {
  try {
    return futured::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench: %s\n", error.what());
    return 1;
  }
}
