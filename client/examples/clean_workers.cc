// What a job leaves in its process, the next one finds, unless the pool says otherwise: here a thread-local counter.
// Needs the pools `reused`, `clean` and `recycled` of client/examples/futured.toml.
#include <futured/client.h>

#include <iostream>
#include <string>
#include <vector>

using namespace futured::client;

namespace {

std::string visits(const Client& client, const std::string& pool) {
  const Executor executor = client.executor({.pool = pool});
  const std::vector<Part> no_arguments;
  std::string seen;
  for (int job = 0; job < 4; ++job) seen += executor.submit("visits", no_arguments).result() + "\n";
  std::cout << pool << ":\n" << seen;
  return seen;
}

}  // namespace

int main() {
  const Client client = Client::connect();
  const std::string first = "visit 1, jobs before: 0\n";
  const std::string second = "visit 2, jobs before: 1\n";

  const bool is_reused = visits(client, "reused") != first + first + first + first;
  const bool is_clean = visits(client, "clean") == first + first + first + first;
  const bool is_recycled = visits(client, "recycled") == first + second + first + second;
  return is_reused && is_clean && is_recycled ? 0 : 1;
}
