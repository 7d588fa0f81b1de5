// Work that mostly waits: forty sleeps, ten at once on the threads of one worker process (mode thread).
// Needs the pool `io` of client/examples/futured.toml.
#include <futured/client.h>

#include <chrono>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

using namespace futured::client;

int main() {
  const Client client = Client::connect();
  const Executor executor = client.executor({.pool = "io"});

  constexpr int kWaits = 40;
  constexpr double kSeconds = 0.05;
  const auto begin = std::chrono::steady_clock::now();
  std::vector<Future> waits;
  for (int i = 0; i < kWaits; ++i) waits.push_back(executor.submit("sleep", std::to_string(kSeconds)));
  for (const Future& waited : waits) static_cast<void>(waited.result());
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();

  std::set<int> processes;
  for (const WorkerInfo& worker : client.workers("io")) processes.insert(worker.pid);
  std::printf("%d waits of %.0f ms, one after the other: %.2f s\n", kWaits, kSeconds * 1e3, kWaits * kSeconds);
  std::printf("the same on the threads of %zu process: %.2f s\n", processes.size(), took);
  return processes.size() == 1 && took < kWaits * kSeconds ? 0 : 1;
}
