// A future outlives its client: another connection, or another process, takes it up by its number.
#include <futured/client.h>

#include <iostream>

using namespace std::chrono_literals;
using namespace futured::client;

int main() {
  std::uint64_t id = 0;
  {
    const Client first = Client::connect();
    id = first.executor({.follow = false}).submit("sha256", "abc").id();  // on disk from here on
  }
  const Client second = Client::connect();
  const Future future = second.future(id);
  std::cout << "job " << id << ": " << future.result(10s) << "\n";
  return future.done() ? 0 : 1;
}
