// A future: submit, result(timeout), exception, cancel, running, done.
#include <futured/client.h>

#include <iostream>

using namespace std::chrono_literals;
using namespace futured::client;

int main() {
  const Client client = Client::connect();
  const Executor executor = client.executor();

  const Future hash = executor.submit("sha256", "some bytes");
  std::cout << "job " << hash.id() << ": " << hash.result(10s) << "\n";

  const Future failing = executor.submit("fail", {Part{.content_type = std::string(kTextType), .bytes = "on purpose"}});
  try {
    static_cast<void>(failing.result());
  } catch (const JobFailed& error) {
    std::cout << error.what() << "\n";
  }

  const Future slow = executor.submit("sleep", {Part{.content_type = std::string(kJsonType), .bytes = "1000"}});
  try {
    static_cast<void>(slow.result(50ms));
  } catch (const WaitTimeout&) {
    std::cout << "still " << (slow.done() ? "done" : "going on") << " after 50 ms\n";
  }
  const bool stopped = slow.cancel();
  static_cast<void>(slow.exception());
  std::cout << "cancelled: " << std::boolalpha << (stopped && slow.cancelled()) << "\n";
  return stopped && slow.cancelled() ? 0 : 1;
}
