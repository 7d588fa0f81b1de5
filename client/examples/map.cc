// map: ordered results with bounded look-ahead, so that even an endless input works.
#include <futured/client.h>

#include <iostream>
#include <optional>

using namespace futured::client;

int main() {
  const Client client = Client::connect();
  const Executor executor = client.executor();

  int next = 0;
  const auto endless = [&]() -> std::optional<std::string> { return std::to_string(next++); };
  Mapped mapped = executor.map("echo", endless, {.look_ahead = 100});
  long long sum = 0;
  for (int i = 0; i < 1'000; ++i) sum += std::stoll(*mapped.next());
  std::cout << "first thousand: " << sum << ", inputs drawn: " << next << "\n";
  return sum == 499'500 && next <= 1'100 ? 0 : 1;
}
