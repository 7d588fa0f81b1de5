// add_done_callback: each once, in order, never on a network thread.
#include <futured/client.h>

#include <iostream>
#include <latch>

using namespace futured::client;

int main() {
  const Client client = Client::connect();
  const Future future = client.executor().submit("sha256", "abc");
  std::latch called(2);
  future.add_done_callback([&](const Future& done) {
    std::cout << "first: " << done.result() << "\n";
    called.count_down();
  });
  future.add_done_callback([&](const Future&) {
    std::cout << "second\n";
    called.count_down();
  });
  called.wait();
  return 0;
}
