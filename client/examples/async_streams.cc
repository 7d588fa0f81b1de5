// Streams as async iterators: what a task emits while it runs, and futures as they end.
#include <futured/async.h>

#include <iostream>

using namespace futured::client;

namespace {

Coroutine<std::size_t> show_stream(Client client) {
  const auto number = [](const char* text) { return Part{.content_type = std::string(kJsonType), .bytes = text}; };
  const std::vector<Part> arguments = {number("5"), number("0.05")};
  AsyncOutput output(client, client.executor().submit("count", arguments).id(), {OutputKind::kEmitted});
  std::size_t bytes = 0;
  while (const auto piece = co_await output.next()) {
    std::cout << piece->bytes << std::flush;
    bytes += piece->bytes.size();
  }
  std::cout << "the job " << to_string(output.outcome().state) << "\n";
  co_return bytes;
}

Coroutine<std::string> order_of_ends(Executor executor) {
  Completions completions;
  for (const char* seconds : {"0.3", "0.1", "0.2"}) {
    completions.add(executor.submit(CommandLine{.argv = {"sh", "-c", "sleep $0; echo $0", seconds}}));
  }
  std::string order;
  while (const auto future = co_await completions.next()) order += future->result();
  co_return order;
}

}  // namespace

int main() {
  const Client client = Client::connect();
  RunLoop loop;
  const auto [bytes, order] = loop.run(gather(show_stream(client), order_of_ends(client.executor())));
  std::cout << order;
  return bytes == 10 && !order.empty() ? 0 : 1;
}
