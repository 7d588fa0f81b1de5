// bench-futures: what futures cost, on a running daemon. tests/bench/run.py runs it; each call prints one JSON object.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
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

std::uint64_t outcomes_in(const v1::SubmitStreamResponse& response) {
  for (const v1::Receipt& receipt : response.receipts()) {
    if (receipt.has_error()) throw std::runtime_error(receipt.error().message());
  }
  auto outcomes = static_cast<std::uint64_t>(response.outcomes_size());
  for (const v1::PackedOutcomes& packed : response.packed()) outcomes += packed.count();
  return outcomes;
}

// The same jobs with nothing around the stream: batches in, outcomes counted.
void raw_stream(const std::string& address, std::uint64_t jobs) {
  const auto channel = grpc::CreateChannel("unix:" + address, grpc::InsecureChannelCredentials());
  const auto stub = v1::Jobs::NewStub(channel);
  v1::SubmitStreamRequest batch;
  batch.mutable_spec()->set_task("noop");
  batch.set_deliver_outcomes(true);
  for (std::uint64_t i = 0; i < kRawBatch; ++i) batch.mutable_packed()->add_sizes(kPayloadBytes);
  batch.mutable_packed()->set_data(std::string(kRawBatch * kPayloadBytes, 'x'));

  grpc::ClientContext context;
  const auto stream = stub->SubmitStream(&context);
  const Stopwatch watch;
  std::thread writer([&] {
    for (std::uint64_t sent = 0; sent < jobs && stream->Write(batch); sent += kRawBatch) {
    }
    stream->WritesDone();
  });
  std::uint64_t ended = 0;
  v1::SubmitStreamResponse response;
  while (stream->Read(&response)) {
    ended += outcomes_in(response);
    response.Clear();
  }
  const double seconds = watch.seconds();
  writer.join();
  const grpc::Status status = stream->Finish();
  if (!status.ok()) throw std::runtime_error(status.error_message());
  const std::uint64_t expected = (jobs + kRawBatch - 1) / kRawBatch * kRawBatch;
  if (ended != expected) throw std::runtime_error("the stream gave " + std::to_string(ended) + " outcomes");
  print_rate(expected, seconds);
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
  daemon.create_queue("idle", "fifo", 0);
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
