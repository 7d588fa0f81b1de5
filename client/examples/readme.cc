#include <futured/client.h>

#include <iostream>

using namespace futured::client;

int main() {
  const Client client = Client::connect();  // the same daemon as fut's
  const Executor executor = client.executor();

  const Future hash = executor.submit("sha256", "some bytes");
  std::cout << "job " << hash.id() << ": " << hash.result() << "\n";

  Mapped results = executor.map("echo", {"one", "two", "three"});
  while (const auto result = results.next()) std::cout << *result << "\n";
}
