// map: results in order with bounded look-ahead, so that even an endless input works; many calls in one job.
#include <futured/client.h>

#include <iostream>
#include <ranges>

using namespace futured::client;

int main() {
  const Client client = Client::connect();
  const Executor executor = client.executor();

  Mapped endless = executor.map("echo", std::views::iota(0), {.look_ahead = 100});
  long long sum = 0;
  for (int i = 0; i < 1'000; ++i) sum += std::stoll(*endless.next());
  std::cout << "first thousand: " << sum << "\n";

  // So many calls in one job as make some milliseconds of work. Each has its own result, or its own error.
  Mapped chunked = executor.map("sleep", {"0", "0.001", "soon", "0"}, {.chunk_size = kAutomaticChunks});
  int failed = 0;
  while (const auto call = chunked.next_call()) {
    if (call->outcome.succeeded()) continue;
    std::cout << "call " << call->index << ": " << describe(call->outcome.cause) << "\n";
    ++failed;
  }
  return sum == 499'500 && failed == 1 ? 0 : 1;
}
