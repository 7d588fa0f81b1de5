// Many futures at once: as_completed, and wait for the first.
#include <futured/client.h>

#include <iostream>
#include <vector>

using namespace std::chrono_literals;
using namespace futured::client;

int main() {
  const Client client = Client::connect();
  const Executor executor = client.executor();
  const auto sleep_for = [&](const char* seconds) {
    return executor.submit("sleep", {Part{.content_type = std::string(kJsonType), .bytes = seconds}});
  };

  const std::vector<Future> race = {sleep_for("0.3"), sleep_for("0.01")};
  const WaitResult first = wait(race, WaitFor::kFirstCompleted, 10s);
  std::cout << "first to end: job " << first.done.front().id() << "\n";

  std::vector<Future> futures;
  for (int i = 0; i < 10'000; ++i) futures.push_back(executor.submit("echo", std::to_string(i)));
  long long sum = 0;
  for (const Future& future : as_completed(futures, 60s)) sum += std::stoll(future.result());
  std::cout << "sum of 10,000 results: " << sum << "\n";
  return sum == 49'995'000 && first.done.front() == race[1] ? 0 : 1;
}
