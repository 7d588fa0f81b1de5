// A running task's stream: its chunks as they come, by iterator; its progress; and both again once it has ended.
#include <futured/client.h>

#include <iostream>

using namespace futured::client;

int main() {
  const Client client = Client::connect();
  const auto number = [](const char* text) { return Part{.content_type = std::string(kJsonType), .bytes = text}; };
  const Future counting = client.executor().submit("count", {number("5"), number("0.05")});

  std::string live;
  OutputStream stream = client.stream(counting.id());
  for (const OutputStream::Piece& piece : stream) {
    std::cout << piece.bytes << std::flush;
    live += piece.bytes;
  }
  std::cout << to_string(stream.outcome().state) << ", result " << counting.result() << "\n";

  // It is kept with the job: whoever comes later, or lost the connection, reads on from any byte.
  std::string rest;
  for (const OutputStream::Piece& piece : client.stream(counting.id(), OutputKind::kEmitted, 4)) rest += piece.bytes;
  std::cout << "from byte 4 on: " << rest;
  return live == "1\n2\n3\n4\n5\n" && rest == live.substr(4) ? 0 : 1;
}
