// Asio: futures in its coroutines, and our coroutines on its executors.
#include <futured/asio.h>
#include <futured/async.h>

#include <asio.hpp>
#include <iostream>

using namespace futured::client;

namespace {

Coroutine<std::string> echo_both(Executor executor) {
  const std::vector<Future> words = {executor.submit("echo", "hello "), executor.submit("echo", "asio")};
  const std::vector<std::string> results = co_await gather(words);
  co_return results[0] + results[1];
}

asio::awaitable<void> run(asio::io_context& io, Executor executor, std::string& result) {
  std::cout << co_await async_get(executor.submit("sha256", "abc"), asio::use_awaitable) << "\n";
  result = co_await async_run(io.get_executor(), echo_both(executor), asio::use_awaitable);
  std::cout << result << "\n";
}

}  // namespace

int main() {
  asio::io_context io;  // outlives the client, whose threads may still let go of it
  const Client client = Client::connect();
  std::string result;
  asio::co_spawn(io, run(io, client.executor(), result), asio::detached);
  io.run();
  return result == "hello asio" ? 0 : 1;
}
