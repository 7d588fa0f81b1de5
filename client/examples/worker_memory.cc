// What a worker costs, and what it may take: forked from a process that has loaded the tasks, it shares that memory;
// and who takes more than the pool's memory_max has failed, with the reason.
// Needs the pool `small` of client/examples/futured.toml.
#include <futured/client.h>

#include <cstdio>

using namespace futured::client;

namespace {

double mebibytes(std::int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

Part number(const char* text) { return {.content_type = std::string(kJsonType), .bytes = text}; }

}  // namespace

int main() {
  const Client client = Client::connect();
  const Executor executor = client.executor({.pool = "small"});
  const std::string held = executor.submit("hoard", {number("16"), number("0")}).result();
  std::printf("a task took %s MiB and gave them back\n", held.c_str());

  const PoolInfo pool = client.pool("small");
  std::printf("its tasks were loaded in %.1f ms, a worker is forked in %.1f ms\n",
              static_cast<double>(pool.zygote_start_us) / 1e3, static_cast<double>(pool.fork_us) / 1e3);
  for (const WorkerInfo& worker : client.workers("small")) {
    std::printf("worker %d: %.1f MiB resident, %.1f of them its own share\n", worker.pid, mebibytes(worker.rss_bytes),
                mebibytes(worker.pss_bytes));
  }

  const Outcome greedy = executor.submit("hoard", {number("1024"), number("60")}).outcome();
  std::printf("1 GiB: %s, %s\n", to_string(greedy.state).data(), describe(greedy.cause).c_str());
  return held == "16" && greedy.cause.kind == CauseKind::kOutOfMemory ? 0 : 1;
}
