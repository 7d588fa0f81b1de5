// The result cache: computed against cached, what does not count, and forgetting it.
#include <futured/client.h>

#include <chrono>
#include <iostream>
#include <string>

using namespace futured::client;

namespace {

double timed(const Executor& executor, const std::string& argument, Outcome& outcome) {
  const auto begun = std::chrono::steady_clock::now();
  outcome = executor.submit("sha256", argument).outcome();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun).count();
}

}  // namespace

int main() {
  const Client client = Client::connect();
  client.clear_cache("sha256");
  JobOptions options;
  options.cache = true;
  options.caching.explain = true;
  const Executor executor = client.executor(options);

  const std::string argument(1'000'000, 'x');
  Outcome computed;
  Outcome cached;
  const double computed_ms = timed(executor, argument, computed);
  const double cached_ms = timed(executor, argument, cached);
  std::cout << "computed in " << computed_ms << " ms (" << computed.cache_note << ")\n";
  std::cout << "answered in " << cached_ms << " ms (" << cached.cache_note << ")\n";

  // A second part that says who asks does not count.
  options.caching.ignored_parts = {1};
  const Executor ignoring = client.executor(options);
  const auto ask = [&](const char* who) {
    return ignoring.submit("echo", {Part{.bytes = "question"}, Part{.bytes = who}}).outcome();
  };
  const Outcome alice = ask("alice");
  const Outcome bob = ask("bob");
  std::cout << "bob is told what alice was: " << bob.cache_note << "\n";

  const std::uint64_t removed = client.clear_cache("sha256");
  const Outcome again = executor.submit("sha256", argument).outcome();
  std::cout << "removed " << removed << ", then: " << again.cache_note << "\n";
  client.clear_cache("echo");
  const bool as_said = !computed.from_cache && cached.from_cache && bob.from_cache && !again.from_cache && removed == 1;
  return as_said && alice.succeeded() ? 0 : 1;
}
