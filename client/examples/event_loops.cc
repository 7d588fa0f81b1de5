// Into the daemon's event loops: what each watches, its timers, how late it is, and what held it up.
#include <futured/client.h>

#include <cstdio>

using namespace futured::client;

int main() {
  const Client client = Client::connect();
  static_cast<void>(client.executor().submit("noop", "").parts());  // so that there is something to see

  std::uint64_t turns = 0;
  for (const LoopInfo& loop : client.debug_loops()) {
    std::printf("%-12s %8llu turns, %3u descriptors, %2u timers", loop.name.c_str(),
                static_cast<unsigned long long>(loop.turns), loop.descriptors, loop.timers);
    if (loop.lag_us) std::printf(", last turn %lld us late", static_cast<long long>(*loop.lag_us));
    std::printf("\n");
    for (const SlowCallbackInfo& slow : loop.slow_callbacks) {
      std::printf("  slow: %s, %lld us\n", slow.what.c_str(), static_cast<long long>(slow.took_us));
    }
    turns += loop.turns;
  }
  return turns > 0 ? 0 : 1;
}
