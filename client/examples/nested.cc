// Jobs that wait for jobs of their own, in a pool of one worker: who waits lends its place, so nothing starves; a
// recursion without an end is stopped with an error that says so; and two that wait for each other are told at once.
// Needs the pool `nested` of client/examples/futured.toml.
#include <futured/client.h>

#include <algorithm>
#include <iostream>
#include <string>

using namespace futured::client;

namespace {

Part json(const std::string& text) { return {.content_type = std::string(kJsonType), .bytes = text}; }

}  // namespace

int main() {
  const Client client = Client::connect();
  const Executor executor = client.executor({.pool = "nested"});
  const Future fib = executor.submit("fib", {json("7")});
  std::cout << "fib(7) = " << fib.result() << ", by jobs that wait for jobs in a pool of one\n";

  const Outcome endless = executor.submit("endless", std::vector<Part>{}).outcome();
  const std::string told = describe(endless.cause);  // of each job the cause of its child's
  std::cout << "without an end: " << told.substr(std::min(told.rfind("RESOURCE_EXHAUSTED"), told.size())) << "\n";

  const Future first = executor.submit("circle", std::vector<Part>{});
  const Outcome circle = first.outcome();
  std::cout << "each waits for the other: " << describe(circle.cause) << "\n";
  return fib.result() == "13" && told.find("16 jobs above") != std::string::npos && !circle.succeeded() ? 0 : 1;
}
